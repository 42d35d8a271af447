"""Frechet and kernel distance: torchmetrics' numbers, what blur does to them, and names that never promise too much."""

import json
import warnings

import cv2
import numpy as np
import pytest
import torch

from h2d.errors import UserError
from h2d.eval.feature_distance import FrechetDistance, KernelDistance
from h2d.eval.features import PictureFeatures, foreground
from h2d.eval.image_quality import QualityConventions, quality_measures
from h2d.eval.inception import random_inception
from h2d.eval.intervals import with_interval
from h2d.eval.measured import NO_SPREAD, Undefined

TRAINED = {"features": "inception-v3-fid", "weights": "published", "resize": "tensorflow"}


def scenes(count: int, *, seed: int = 0) -> list[np.ndarray]:
    """Bright shapes on dark noise."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        picture = rng.integers(0, 60, (96, 96, 3), dtype=np.uint8)
        for _ in range(6):
            x, y, radius = (int(number) for number in rng.integers((10, 10, 4), (86, 86, 20)))
            cv2.circle(picture, (x, y), radius, [int(level) for level in rng.integers(90, 256, 3)], -1)
        made.append(picture)
    return made


def features_of(rows: np.ndarray, identity=TRAINED) -> PictureFeatures:
    return PictureFeatures(by_width={rows.shape[1]: rows.astype(np.float32)}, identity=identity)


def normal(count: int, *, seed: int, width: int = 64, shift: float = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, width)).astype(np.float32)


def test_both_distances_are_those_of_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    network = random_inception((64,))
    real, made = scenes(6), [cv2.GaussianBlur(picture, (0, 0), 2) for picture in scenes(6, seed=1)]

    class TheirInput(torch.nn.Module):
        num_features = 64

        def forward(self, batch):
            return torch.from_numpy(
                network.features([picture.permute(1, 2, 0).numpy() for picture in batch]).by_width[64]
            )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics says that it keeps features in memory
        frechet = FrechetInceptionDistance(TheirInput(), input_img_size=(3, 96, 96))
        kernel = KernelInceptionDistance(TheirInput(), subsets=2, subset_size=6)
    for metric in (frechet, kernel):
        metric.update(torch.from_numpy(np.stack(real)).permute(0, 3, 1, 2), real=True)
        metric.update(torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2), real=False)
    measures = quality_measures(network.features(real), network.features(made), QualityConventions(subsets=2))
    ours = [measure.measured() for measure in measures.values()]
    assert ours[0].value == pytest.approx(float(frechet.compute()), rel=1e-6)
    mean, _ = kernel.compute()
    assert ours[1].value == pytest.approx(float(mean), rel=1e-4)  # theirs in float32
    assert ours[1].spread is None


def test_the_distance_of_normal_laws_is_the_formula():
    rng = np.random.default_rng(0)
    real, made = rng.normal(0, 1, (200_000, 3)), rng.normal(0, 1, (200_000, 3)) * [1, 2, 3] + [0, 1, 0]
    distance = FrechetDistance(real=real.astype(np.float32), made=made.astype(np.float32)).on()
    assert distance == pytest.approx(1 + (2 - 1) ** 2 + (3 - 1) ** 2, rel=0.02)


@pytest.mark.parametrize("count", [3, 40, 500])
def test_a_set_is_nothing_from_itself_with_few_pictures_and_many(count):
    rows = normal(count, seed=0) * 100
    assert FrechetDistance(real=rows, made=rows).on() == pytest.approx(0, abs=1e-2)
    assert FrechetDistance(real=rows, made=rows[::-1].copy()).on() == pytest.approx(0, abs=1e-2)


def test_blur_raises_both_distances():
    network = random_inception((64,))
    real = network.features(scenes(8))
    frechet, kernel = [], []
    for strength in (0, 1, 4):
        made = [cv2.GaussianBlur(picture, (0, 0), strength) if strength else picture for picture in scenes(8)]
        values = [measure.measured().value for measure in quality_measures(real, network.features(made)).values()]
        frechet.append(values[0])
        kernel.append(values[1])
    assert frechet == sorted(frechet)
    assert kernel == sorted(kernel)
    assert frechet[0] == pytest.approx(0, abs=1e-4)
    assert frechet[2] > 2 * frechet[1] > 0


def test_kernel_distance_is_unbiased():
    values = [
        KernelDistance(real=normal(30, seed=seed), made=normal(30, seed=1000 + seed), subsets=3).on()
        for seed in range(60)
    ]
    error = np.std(values) / np.sqrt(60)
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0


def test_random_features_never_pass_for_fid():
    random = {**TRAINED, "features": "random-features", "weights": "seed 0"}
    measures = quality_measures(features_of(normal(80, seed=0), random), features_of(normal(80, seed=1), random))
    assert list(measures) == ["random_features_frechet_64", "random_features_kernel_64"]
    text = json.dumps([[name, measure.measured().as_plain()] for name, measure in measures.items()])
    assert text.count("random-features") >= 4
    assert "fid" not in text.lower()
    assert "kid" not in text.lower()


def test_trained_features_are_fid_and_kid_with_all_that_changes_them():
    measures = quality_measures(features_of(normal(80, seed=0)), features_of(normal(80, seed=1)))
    assert list(measures) == ["fid_64", "kid_64"]
    fid, kid = (measure.measured() for measure in measures.values())
    assert fid.name == "FID 64"
    assert fid.conventions == {
        **TRAINED, "width": 64, "region": "whole", "paired": True, "real_pictures": 80,
    }  # fmt: skip
    assert (kid.conventions["subsets"], kid.conventions["subset_size"]) == (100, 80)
    assert kid.notes == ("subsets of 80 instead of 1000 pictures: there are no more", NO_SPREAD)
    assert not fid.notes
    assert not fid.higher_is_better
    few = quality_measures(features_of(normal(9, seed=0)), features_of(normal(9, seed=1)))
    assert "9 pictures do not fill 64 dimensions" in few["fid_64"].measured().notes[0]


def test_foregrounds_have_names_of_their_own():
    conventions = QualityConventions(region="foreground by grabcut, fill 0")
    measures = quality_measures(features_of(normal(9, seed=0)), features_of(normal(9, seed=1)), conventions)
    assert list(measures) == ["fid_64_foreground", "kid_64_foreground"]
    assert measures["fid_64_foreground"].name == "FID 64, foreground"
    assert measures["kid_64_foreground"].conventions["region"] == "foreground by grabcut, fill 0"


def test_subsets_are_of_the_size_that_was_asked_for_and_spread():
    real, made = features_of(normal(200, seed=0)), features_of(normal(200, seed=1, shift=0.2))
    small = quality_measures(real, made, QualityConventions(subset_size=20))["kid_64"].measured()
    large = quality_measures(real, made, QualityConventions(subset_size=150))["kid_64"].measured()
    assert small.spread > 2 * large.spread > 0
    assert small.conventions["subset_size"] == 20
    assert not small.notes
    assert large.notes == ("subsets of 150 of 200 pictures share most of them: their spread is too small",)
    same = quality_measures(real, made, QualityConventions(subset_size=20))["kid_64"].measured()
    assert same.value == small.value
    other = quality_measures(real, made, QualityConventions(subset_size=20, seed=1))["kid_64"].measured()
    assert other.value != small.value


@pytest.mark.parametrize(("count", "subsets"), [(8, 100), (8, 1), (40, 1)])
def test_one_subset_has_no_spread_and_says_so(count, subsets):
    """Of eight pictures every subset is the same eight: their spread would be 0 however far apart the sets are."""
    conventions = QualityConventions(subsets=subsets, subset_size=8)
    sets = features_of(normal(count, seed=0)), features_of(normal(count, seed=1))
    kid = quality_measures(*sets, conventions)["kid_64"].measured()
    assert kid.spread is None
    assert kid.notes[-1] == NO_SPREAD


def test_sets_that_are_not_equally_many_still_have_a_spread():
    distance = KernelDistance(real=normal(40, seed=0), made=normal(8, seed=1), subset_size=8, paired=False)
    assert len(set(distance.over_subsets())) == 100


def test_one_picture_is_no_distance_and_says_why():
    for measure in quality_measures(features_of(normal(1, seed=0)), features_of(normal(1, seed=1))).values():
        measured = measure.measured()
        assert measured.value is None
        assert measured.reason == "1 picture: a distance between sets needs two at least in each"


def test_a_part_of_the_list_is_measured_as_if_it_were_all():
    real, made = normal(60, seed=0), normal(60, seed=1)
    counts = np.repeat([1, 0], 30)
    whole = quality_measures(features_of(real), features_of(made))
    part = quality_measures(features_of(real[:30]), features_of(made[:30]))
    for name, measure in whole.items():
        assert measure.measured(counts).value == pytest.approx(part[name].measured().value, rel=1e-6)
    twice = FrechetDistance(real=np.repeat(real[:30], 2, axis=0), made=np.repeat(made[:30], 2, axis=0))
    assert whole["fid_64"].statistic.on(2 * counts) == pytest.approx(twice.on(), rel=1e-6)


def test_only_frechet_has_a_bootstrap_interval():
    measures = quality_measures(features_of(normal(50, seed=0, width=64)), features_of(normal(50, seed=1)))
    rng = np.random.default_rng(0)
    fid = with_interval(measures["fid_64"], rng=rng, resamples=20, method="centred")
    assert fid.interval.low < fid.value < fid.interval.high
    kid = with_interval(measures["kid_64"], rng=rng, resamples=20)
    assert kid.interval is None
    assert "repeated pictures bias a kernel distance" in kid.notes[-1]
    with pytest.raises(Undefined, match="repeated pictures"):
        measures["kid_64"].statistic.on(np.full(50, 2))


def test_sets_that_do_not_belong_together_are_refused_in_one_line():
    real = features_of(normal(9, seed=0))
    for made, line in (
        (features_of(normal(8, seed=1)), "8 generated pictures for 9 real ones"),
        (features_of(normal(9, seed=1), {**TRAINED, "resize": "antialias"}), "compute both the same way"),
        (features_of(normal(9, seed=1, width=192)), "no common width"),
    ):
        with pytest.raises(UserError, match=line) as caught:
            quality_measures(real, made)
        assert "\n" not in str(caught.value)
    unpaired = quality_measures(real, features_of(normal(8, seed=1)), paired=False)["fid_64"].measured()
    assert unpaired.value > 0
    assert unpaired.conventions["real_pictures"] == 9


def test_foregrounds_keep_the_person_and_nothing_else():
    picture = scenes(1)[0]
    mask = np.zeros((96, 96), bool)
    mask[20:40, 30:70] = True
    alone = foreground(picture, mask, fill=128)
    assert (alone[mask] == picture[mask]).all()
    assert (alone[~mask] == 128).all()
    assert alone.dtype == np.uint8
    with pytest.raises(UserError, match="a mask of 50 x 40 for a picture of 96 x 96"):
        foreground(picture, np.zeros((40, 50), bool))
    with pytest.raises(UserError, match="fill is 300"):
        foreground(picture, mask, fill=300)
