"""AP and AR of OKS equal pycocotools' to 1e-9, on real and on random people; the traps around them stay shut."""

import json
from pathlib import Path

import numpy as np
import pytest
from coco_oracle import coco_stats

from h2d.eval.average_precision import AveragePrecision, AverageRecall, detection_rate, mean_oks
from h2d.eval.matching import ALL_AREAS, match
from h2d.eval.measured import Undefined
from h2d.eval.oks import SIGMAS_133, SIGMAS_HANDS, Found, Truth, similarities

COCO_WHOLEBODY = Path(__file__).parents[2] / ".." / "shared" / "data" / "coco-wholebody"
PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
HAND_PARTS = ("lefthand_kpts", "righthand_kpts")
AREAS = {"": ALL_AREAS, "_medium": (32.0**2, 96.0**2), "_large": (96.0**2, 1e10)}


def ours(truth: Truth, found: Found, sigmas, num_pictures: int) -> dict[str, float]:
    """The ten numbers, -1 where there is none."""
    stats = {}
    for size, area_range in AREAS.items():
        matches = match(truth, found, sigmas, num_pictures=num_pictures, area_range=area_range)
        for name, kind in (("ap", AveragePrecision), ("ar", AverageRecall)):
            for level in (None, 0.5, 0.75) if not size else (None,):
                key = f"{name}{size}" if level is None else f"{name}_{level * 100:.0f}"
                try:
                    stats[key] = kind(matches=matches, threshold=level).on()
                except Undefined:
                    stats[key] = -1.0
    return stats


def assert_equal(truth: Truth, found: Found, sigmas, num_pictures: int) -> None:
    expected = coco_stats(truth, found, sigmas, num_pictures)
    got = ours(truth, found, sigmas, num_pictures)
    assert got == pytest.approx(expected, abs=1e-9), (got, expected)


def random_people(seed: int, *, num_pictures: int = 40, most: int = 4, num_points: int = 133):
    """Missing points, people with none, groups, several and equal scores, empty pictures, areas of all sizes."""
    rng = np.random.default_rng(seed)
    true_picture = np.repeat(np.arange(num_pictures), rng.integers(0, most + 1, num_pictures))
    side = rng.uniform(20, 250, len(true_picture))
    corner = rng.uniform(0, 400, (len(true_picture), 2))
    xy = corner[:, None] + rng.uniform(0, 1, (len(true_picture), num_points, 2)) * side[:, None, None]
    labelled = rng.random((len(true_picture), num_points)) < rng.uniform(0.2, 1, (len(true_picture), 1))
    labelled[rng.random(len(true_picture)) < 0.1] = False
    truth = Truth(
        picture=true_picture,
        xy=xy,
        labelled=labelled,
        area=side**2 * 0.7,
        box_xywh=np.column_stack([corner, side, side]),
        crowd=rng.random(len(true_picture)) < 0.1,
    )
    seen = rng.permutation(np.repeat(np.arange(len(true_picture)), rng.integers(0, 3, len(true_picture))))
    noise = rng.normal(0, 1, (len(seen), num_points, 2)) * rng.exponential(0.03, len(seen))[:, None, None]
    points = xy[seen] + noise * side[seen, None, None]
    points[rng.random((len(seen), num_points)) < 0.05] = 0
    stray = rng.uniform(0, 500, (num_pictures // 2, num_points, 2))
    picture = np.concatenate([true_picture[seen], rng.integers(0, num_pictures, len(stray))])
    order = np.argsort(picture, kind="stable")
    found = Found(
        picture=picture[order],
        xy=np.concatenate([points, stray])[order],
        scores=rng.integers(1, 6, len(order)) / 5 if seed % 2 else rng.random(len(order)),
    )
    return truth, found


@pytest.mark.parametrize("seed", range(12))
def test_random_people_give_pycocotools_numbers(seed):
    truth, found = random_people(seed, num_points=(133, 42)[seed % 2])
    assert_equal(truth, found, SIGMAS_133 if seed % 2 == 0 else SIGMAS_HANDS, 40)


def test_more_than_twenty_detections_and_more_pictures_than_a_portion():
    truth, found = random_people(3, num_pictures=600, most=2, num_points=42)
    crowded = Found(
        picture=np.sort(np.concatenate([found.picture, np.full(30, 7)])),
        xy=np.insert(found.xy, np.searchsorted(found.picture, np.full(30, 8)), found.xy[:30], axis=0),
        scores=np.random.default_rng(0).random(len(found.picture) + 30),
    )
    assert_equal(truth, crowded, SIGMAS_HANDS, 600)


def test_equal_people_are_taken_from_the_last_as_pycocotools_does():
    xy = np.random.default_rng(0).uniform(0, 99, (1, 42, 2)).repeat(3, axis=0)
    truth = Truth(
        picture=np.zeros(3, np.int64),
        xy=xy,
        labelled=np.ones((3, 42), bool),
        area=np.full(3, 5000.0),
        box_xywh=np.zeros((3, 4)),
        crowd=np.array([False, True, False]),
    )
    found = Found(picture=np.zeros(3, np.int64), xy=xy, scores=np.ones(3))
    assert_equal(truth, found, SIGMAS_HANDS, 1)


@pytest.mark.skipif(not COCO_WHOLEBODY.is_dir(), reason="the sample of COCO-WholeBody is not here")
@pytest.mark.parametrize("parts", [PARTS, HAND_PARTS, ("lefthand_kpts",)], ids=["133", "42", "21"])
def test_real_people_give_pycocotools_numbers(parts):
    people = json.loads((COCO_WHOLEBODY / "example_gt.json").read_text())
    answers = json.loads((COCO_WHOLEBODY / "example_pred.json").read_text())
    numbers = {image["id"]: row for row, image in enumerate(sorted(people["images"], key=lambda image: image["id"]))}
    true = sorted(people["annotations"], key=lambda note: numbers[note["image_id"]])
    seen = sorted(answers, key=lambda note: numbers[note["image_id"]])
    points = np.array([[number for part in parts for number in note[part]] for note in true], float)
    points = points.reshape(len(true), -1, 3)
    truth = Truth(
        picture=np.array([numbers[note["image_id"]] for note in true]),
        xy=points[..., :2],
        labelled=points[..., 2] > 0,
        area=np.array([note["area"] for note in true], float),
        box_xywh=np.array([note["bbox"] for note in true], float),
        crowd=np.array([note["iscrowd"] for note in true], bool),
    )
    xy = np.array([[number for part in parts for number in note[part]] for note in seen], float)
    xy = xy.reshape(len(seen), -1, 3)
    found = Found(
        picture=np.array([numbers[note["image_id"]] for note in seen]),
        xy=xy[..., :2],
        scores=np.array([note["score"] for note in seen]),
    )
    sigmas = {133: SIGMAS_133, 42: SIGMAS_HANDS, 21: SIGMAS_HANDS[:21]}[xy.shape[1]]
    assert_equal(truth, found, sigmas, len(numbers))
    assert 0 < ours(truth, found, sigmas, len(numbers))["ap"] < 1


def test_an_oks_that_just_reaches_the_threshold_counts():
    """Half of the points are right, half are nowhere near: OKS 0.5."""
    whole = one_each(np.zeros(1))
    labelled = np.arange(133)[None] < 132
    truth = Truth(picture=whole.picture, xy=whole.xy, labelled=labelled, area=whole.area, box_xywh=whole.box_xywh)
    xy = truth.xy.copy()
    xy[0, :66] += 1e5
    found = Found(picture=truth.picture, xy=xy, scores=np.ones(1))
    assert ours(truth, found, SIGMAS_133, 1)["ap_50"] == pytest.approx(1)
    assert_equal(truth, found, SIGMAS_133, 1)


def test_identifiers_from_zero_would_spoil_pycocotools_but_are_no_part_of_ours():
    truth = one_each(np.zeros(3))
    found = perfect(truth)
    assert coco_stats(truth, found, SIGMAS_133, 3, first_id=1)["ap"] == 1
    assert coco_stats(truth, found, SIGMAS_133, 3, first_id=0)["ap"] < 0.7
    assert ours(truth, found, SIGMAS_133, 3)["ap"] == 1


def test_the_score_decides_what_wrong_detections_cost():
    """60 of 100 right: wrong ones that are as sure as the right ones lower AP, those that are less sure do not."""
    wrong = np.random.default_rng(1).permutation(100) < 40
    truth = one_each(wrong * 200.0)
    found = perfect(one_each(np.zeros(100)))
    equal = ours(truth, found, SIGMAS_133, 100)
    informed = ours(truth, with_scores(found, np.where(wrong, 0.5, 0.9)), SIGMAS_133, 100)
    unsaid = ours(truth, only(found, ~wrong), SIGMAS_133, 100)
    assert equal["ap"] < 0.45
    assert informed["ap"] == pytest.approx(0.604, abs=0.002)
    assert unsaid["ap"] == informed["ap"]
    assert equal["ar"] == informed["ar"] == unsaid["ar"] == pytest.approx(0.6)


def test_with_one_score_ap_depends_on_the_order_unless_ties_are_taken_together():
    wrong = np.arange(100) < 40
    listed, together = [], []
    for order in (np.arange(100), np.arange(100)[::-1]):
        matches = match(one_each(wrong[order] * 200.0), perfect(one_each(np.zeros(100))), SIGMAS_133, num_pictures=100)
        listed.append(AveragePrecision(matches=matches).on())
        together.append(AveragePrecision(matches=matches, ties="together").on())
    assert listed[1] - listed[0] > 0.2
    assert together[0] == together[1] == pytest.approx(0.6 * 61 / 101)


def test_ties_taken_together_are_one_step_of_the_curve():
    """Four sure ones, half of them right, then four less sure, three right."""
    right = np.array([True, False, False, True, False, True, True, True])
    found = with_scores(perfect(one_each(np.zeros(8))), np.repeat([0.9, 0.4], 4))
    matches = match(one_each(~right * 500.0), found, SIGMAS_133, num_pictures=8)
    # Precision 2 / 4 at recall 2 / 8, then 5 / 8 at recall 5 / 8: the envelope is 5 / 8 up to there.
    assert AveragePrecision(matches=matches, ties="together").on() == pytest.approx(63 / 101 * 5 / 8)
    sure_are_right = with_scores(found, np.where(np.arange(8) % 4 == 0, 0.4, 0.9) * right + 0.1)
    matches = match(one_each(~right * 500.0), sure_are_right, SIGMAS_133, num_pictures=8)
    assert AveragePrecision(matches=matches, ties="together").on() == pytest.approx(63 / 101)


def test_ap_is_of_all_pictures_and_no_mean_of_batches():
    truth, found = random_people(5, num_pictures=40)
    batches = []
    for start in range(0, 40, 10):
        part = (truth.picture >= start) & (truth.picture < start + 10)
        rows = (found.picture >= start) & (found.picture < start + 10)
        piece = Truth(
            picture=truth.picture[part] - start,
            xy=truth.xy[part],
            labelled=truth.labelled[part],
            area=truth.area[part],
            box_xywh=truth.box_xywh[part],
            crowd=truth.crowd[part],
        )
        answers = Found(picture=found.picture[rows] - start, xy=found.xy[rows], scores=found.scores[rows])
        batches.append(ours(piece, answers, SIGMAS_133, 10)["ap"])
    whole = ours(truth, found, SIGMAS_133, 40)["ap"]
    assert abs(whole - np.mean(batches)) > 0.005
    assert abs(whole - batches[-1]) > 0.005


def test_both_axes_count_alike():
    truth, found = random_people(7, num_points=42)
    turned = Truth(
        picture=truth.picture,
        xy=truth.xy[..., ::-1],
        labelled=truth.labelled,
        area=truth.area,
        box_xywh=truth.box_xywh[:, [1, 0, 3, 2]],
        crowd=truth.crowd,
    )
    there = ours(truth, found, SIGMAS_HANDS, 40)
    again = ours(turned, Found(picture=found.picture, xy=found.xy[..., ::-1], scores=found.scores), SIGMAS_HANDS, 40)
    assert again == pytest.approx(there, abs=1e-12)


@pytest.mark.parametrize(("area", "expected"), [(100 * 120, 0.543), (350 * 150, 0.863), (300 * 450, 0.944)])
def test_six_pixels_cost_what_the_area_makes_of_them(area, expected):
    xy = np.random.default_rng(0).uniform(0, 100, (1, 21, 2))
    truth = Truth(
        picture=np.zeros(1, np.int64),
        xy=xy,
        labelled=np.ones((1, 21), bool),
        area=np.array([float(area)]),
        box_xywh=np.zeros((1, 4)),
    )
    found = Found(picture=np.zeros(1, np.int64), xy=xy + np.array([6, 0]), scores=np.ones(1))
    pair = np.zeros(1, np.int64), np.zeros(1, np.int64)
    assert similarities(truth, found, pair, SIGMAS_HANDS[:21])[0] == pytest.approx(expected, abs=0.001)


def test_counts_take_pictures_several_times_or_not_at_all():
    truth, found = random_people(8, num_pictures=30)
    matches = match(truth, found, SIGMAS_133, num_pictures=30)
    counts = np.random.default_rng(0).integers(0, 4, 30)
    again = repeated(truth, found, counts)
    for kind in (AveragePrecision, AverageRecall):
        repeats = match(*again, SIGMAS_133, num_pictures=int(counts.sum()))
        assert kind(matches=matches).on(counts) == pytest.approx(kind(matches=repeats).on(), abs=1e-12)
    for rate in (mean_oks, detection_rate):
        assert rate(matches).on(counts) == pytest.approx(rate(repeats).on(), abs=1e-12)


def test_nobody_to_find_is_no_number():
    empty = one_each(np.zeros(0))
    matches = match(empty, perfect(one_each(np.zeros(3))), SIGMAS_133, num_pictures=3)
    for statistic in (AveragePrecision(matches=matches), AverageRecall(matches=matches), mean_oks(matches)):
        with pytest.raises(Undefined, match="no true person"):
            statistic.on()


def test_nobody_found_is_zero():
    matches = match(
        one_each(np.zeros(3)), only(perfect(one_each(np.zeros(3))), np.zeros(3, bool)), SIGMAS_133, num_pictures=3
    )
    for statistic in (AveragePrecision(matches=matches), AverageRecall(matches=matches), mean_oks(matches)):
        assert statistic.on() == 0
    assert detection_rate(matches).on() == 0


def one_each(shift_px) -> Truth:
    """One person a picture, all the same but for the shift."""
    xy = np.random.default_rng(0).uniform(0, 300, (1, 133, 2)) + np.asarray(shift_px, float)[:, None, None]
    count = len(xy)
    return Truth(
        picture=np.arange(count),
        xy=xy,
        labelled=np.ones((count, 133), bool),
        area=np.full(count, 9e4),
        box_xywh=np.tile([0.0, 0, 300, 300], (count, 1)),
    )


def perfect(truth: Truth) -> Found:
    return Found(picture=truth.picture, xy=truth.xy, scores=np.ones(len(truth.picture)))


def with_scores(found: Found, scores) -> Found:
    return Found(picture=found.picture, xy=found.xy, scores=scores)


def only(found: Found, rows) -> Found:
    return Found(picture=found.picture[rows], xy=found.xy[rows], scores=found.scores[rows])


def repeated(truth: Truth, found: Found, counts) -> tuple[Truth, Found]:
    """A list in which each picture stands so many times, one after another."""
    old = np.repeat(np.arange(len(counts)), counts)
    true = [np.flatnonzero(truth.picture == picture) for picture in old]
    seen = [np.flatnonzero(found.picture == picture) for picture in old]
    rows, answers = np.concatenate(true), np.concatenate(seen)
    return (
        Truth(
            picture=np.repeat(np.arange(len(old)), [len(part) for part in true]),
            xy=truth.xy[rows],
            labelled=truth.labelled[rows],
            area=truth.area[rows],
            box_xywh=truth.box_xywh[rows],
            crowd=truth.crowd[rows],
        ),
        Found(
            picture=np.repeat(np.arange(len(old)), [len(part) for part in seen]),
            xy=found.xy[answers],
            scores=found.scores[answers],
        ),
    )
