"""The miniature's keypoint network: places from maps of logits, missing points, and whole pictures of any shape."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from h2d.annotate.keypoints import network as reader
from h2d.annotate.keypoints.miniature import MiniatureDetector
from h2d.errors import UserError
from h2d.images import decode_rgb
from h2d.manifests.store import Manifest
from h2d.pose.layouts import LEFT_HAND, NUM_POINTS, RIGHT_HAND
from h2d.synth.generate import generate

SIZES = reader.ReaderSizes(channels=(16, 16, 16, 16))


def maps_of(points: torch.Tensor, *, height: float = 12.0) -> torch.Tensor:
    """Logits of a network that is sure of these points."""
    middle = (torch.arange(reader.NUM_CELLS) + 0.5) * reader.CELL_PX
    across = (middle - points[..., 0, None]) ** 2
    down = (middle - points[..., 1, None]) ** 2
    spread = 2 * (reader.SPREAD_CELLS * reader.CELL_PX) ** 2
    return height - (across[:, :, None] + down[..., None]) / spread


def points(seed: int = 0, *, margin: float = 6.0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    places = random.uniform(margin, reader.PICTURE_PX - margin, (2, NUM_POINTS, 2))
    return torch.from_numpy(np.concatenate([places, np.ones((2, NUM_POINTS, 1))], axis=2).astype(np.float32))


def test_places_between_cells_are_read_to_a_quarter_of_a_pixel():
    true = points()
    read = reader.points_of(maps_of(true))
    assert (read - true)[..., :2].abs().max() < 0.25
    assert read[..., 2].min() > 0.9


def test_a_point_at_the_edge_is_read_there():
    true = points()
    true[0, 0, :2] = torch.tensor([0.3, 127.6])
    read = reader.points_of(maps_of(true))[0, 0]
    assert (read[:2] - true[0, 0, :2]).abs().max() < 1.5


def test_no_logit_above_nowhere_is_no_confidence():
    assert reader.points_of(torch.full((1, NUM_POINTS, 64, 64), -20.0))[..., 2].max() < 1e-4


def test_the_loss_is_least_at_the_true_places_and_wants_missing_points_nowhere():
    true = points()
    true[0, 5] = 0
    true[1, 7, 0] = reader.PICTURE_PX + 3  # beyond the edge
    right = maps_of(true)
    right[0, 5] = right[1, 7] = -20
    moved = maps_of(true + torch.tensor([4.0, 0, 0]))
    best, worse = reader.losses_of(right, true), reader.losses_of(moved, true)
    assert (best < worse).all()
    assert best[0, 5] < 1e-3
    assert best[1, 7] < 1e-3
    assert worse[0, 5] > 5, "a heap where there is no point costs as much as it is high"


def test_the_logits_have_a_map_a_point():
    network = reader.new_reader(SIZES)
    assert reader.logits_of(network, torch.zeros(2, 3, 128, 128)).shape == (2, NUM_POINTS, 64, 64)


@pytest.fixture
def sure(monkeypatch):
    """A detector whose network sees every point at a tenth of the picture's height and a fifth of its width."""
    true = torch.ones(1, NUM_POINTS, 3)
    true[..., 0], true[..., 1] = 128 / 5, 128 / 10
    maps = maps_of(true)
    monkeypatch.setattr("h2d.annotate.keypoints.miniature.logits_of", lambda network, image: maps)
    monkeypatch.setattr("h2d.annotate.keypoints.miniature.load_reader", lambda folder: object())
    return maps


def opened(**options) -> MiniatureDetector:
    detector = MiniatureDetector(**options)
    detector.setup()
    return detector


@pytest.mark.parametrize("size_hw", [(400, 400), (200, 400), (400, 100), (64, 64)])
def test_points_are_in_pixels_of_the_picture(sure, size_hw):
    found = opened().detect(np.zeros((*size_hw, 3), np.uint8), np.zeros((0, 4), np.float32))
    side = max(size_hw)
    assert found.num_persons == 1
    np.testing.assert_allclose(found.body[:, 0], side / 5, atol=side / 200)
    np.testing.assert_allclose(found.body[:, 1], side / 10, atol=side / 200)
    np.testing.assert_array_equal(found.hands["left"].points, found.body[LEFT_HAND])


def test_a_hand_is_found_whole_or_not_at_all(sure):
    sure[:, RIGHT_HAND] = -20
    sure[:, LEFT_HAND.start : LEFT_HAND.start + 9] = -20
    sure[:, 3] = -20
    found = opened().detect(np.zeros((128, 128, 3), np.uint8), np.zeros((0, 4), np.float32))
    assert set(found.hands) == {"left"}, "twelve points of 21 are more than half of the confidence"
    assert np.isfinite(found.body[LEFT_HAND]).all()
    assert np.isnan(found.body[RIGHT_HAND, :2]).all()
    assert np.isnan(found.body[3, :2]).all()
    assert found.body[3, 2] == 0


def test_nobody_is_found_where_nothing_is_sure(sure):
    sure[:] = -20
    found = opened().detect(np.zeros((128, 128, 3), np.uint8), np.zeros((0, 4), np.float32))
    assert found.num_persons == 0
    assert not found.hands


def test_weights_that_are_none_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no keypoint network"):
        MiniatureDetector(weights=tmp_path).identity()
    with pytest.raises(UserError, match="no keypoint network"):
        opened(weights=tmp_path)
    other = reader.new_reader(SIZES)
    other.conv_out = torch.nn.Conv2d(16, 7, 3, padding=1)
    other.register_to_config(out_channels=7)
    other.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="reads no keypoints"):
        opened(weights=tmp_path)


def test_the_identity_follows_the_weights(tmp_path):
    names = []
    for seed in range(2):
        torch.manual_seed(seed)
        reader.new_reader(SIZES).save_pretrained(tmp_path / str(seed))
        names.append(MiniatureDetector(weights=tmp_path / str(seed)).identity())
    assert names[0] != names[1]
    first = MiniatureDetector(weights=tmp_path / "0")
    assert replace(first, min_confidence=0.3).identity() != first.identity()


def test_a_confidence_of_none_is_refused():
    with pytest.raises(ValueError, match="min_confidence"):
        MiniatureDetector(min_confidence=0)


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> list[dict]:
    """Four drawn people whom nobody has learnt from."""
    root = tmp_path_factory.mktemp("people") / "set"
    generate("manifest", root, count=4, seed=77, size_px=256, flavour="near", workers=1)
    return Manifest(root).table("images", ["id", "image", "body"]).to_pylist()


def test_the_network_that_comes_with_h2d_reads_drawn_people(people):
    detector = opened()
    apart, hands, found = [], 0, 0
    for row in people:
        picture = decode_rgb(row["image"]["bytes"])
        true = np.array(row["body"], np.float32).reshape(NUM_POINTS, 3)
        read = detector.detect(picture, np.zeros((0, 4), np.float32)).body
        for part in (LEFT_HAND, RIGHT_HAND):
            if (true[part, 2] > 0).all():
                hands += 1
                if np.isfinite(read[part]).all():
                    found += 1
                    apart.append(np.linalg.norm(read[part, :2] - true[part, :2], axis=1))
    assert hands >= 4
    assert found >= 0.75 * hands
    assert np.median(np.concatenate(apart)) < 256 * 0.015
