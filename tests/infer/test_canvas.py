"""Hands go back to where they were cut from, to the pixel; the paste keeps the rest."""

import cv2
import numpy as np
import pytest
from poses import person, spread_hand

from h2d.annotate.base import FoundHand
from h2d.annotate.crops import Crop, CropConfig, cut, plan_crops
from h2d.errors import UserError
from h2d.infer.canvas import HandPicture, compose, paste, resize_mask
from h2d.infer.framing import fit_pose, hand_crops, output_size
from h2d.pose.layouts import LEFT_HAND
from h2d.pose.pose import Pose


def smooth_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    picture = random.integers(0, 255, (height // 16, width // 16, 3)).astype(np.uint8)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("size", [96, 192, 384])
def test_a_hand_returns_to_where_it_was_cut(size):
    picture = smooth_picture(256, 320)
    hands = {"left": FoundHand(points=spread_hand(120, 200, 120), found_by="given")}
    (crop,) = plan_crops(hands, (256, 320), CropConfig(size=size))
    mask = np.ones((size, size), bool)
    canvas = compose([HandPicture(crop=crop, picture=cut(picture, crop), mask=mask)], (256, 320))
    left, top, side, _ = crop.box_xywh
    inside = np.zeros((256, 320), bool)
    inside[top : top + side, left : left + side] = True
    assert np.array_equal(canvas.mask, inside)
    error = np.abs(canvas.picture[inside].astype(int) - picture[inside].astype(int))
    assert error.mean() < (6 if size < side else 2)
    assert (canvas.picture[~inside] == 128).all()


def test_points_and_masks_travel_with_the_hand():
    """A disc drawn at a point of the crop lies at that point of the picture."""
    points = spread_hand(120, 200, 120)
    (crop,) = plan_crops({"left": FoundHand(points=points, found_by="given")}, (256, 320), CropConfig(size=512))
    moved = crop.points(points)
    for place in (0, 8, 20):
        mask = np.zeros((512, 512), np.uint8)
        cv2.circle(mask, (int(moved[place, 0]), int(moved[place, 1])), 20, 1, -1)
        hand = HandPicture(crop=crop, picture=np.zeros((512, 512, 3), np.uint8), mask=mask.astype(bool))
        rows, columns = np.nonzero(compose([hand], (256, 320)).mask)
        assert abs(columns.mean() + 0.5 - points[place, 0]) < 0.6
        assert abs(rows.mean() + 0.5 - points[place, 1]) < 0.6


def test_a_crop_beyond_the_edge_is_cut_off():
    crop = Crop(hands="left", box_xywh=(-16, 40, 32, 32), size=32)
    hand = HandPicture(crop=crop, picture=np.full((32, 32, 3), 9, np.uint8), mask=np.ones((32, 32), bool))
    canvas = compose([hand], (64, 64))
    assert canvas.mask.sum() == 16 * 24
    assert canvas.mask[40:, :16].all()
    far = Crop(hands="left", box_xywh=(100, 0, 32, 32), size=32)
    assert not compose([HandPicture(crop=far, picture=hand.picture, mask=hand.mask)], (64, 64)).mask.any()


def test_the_larger_hand_is_on_top():
    def hand(side, level):
        crop = Crop(hands="left", box_xywh=(0, 0, side, side), size=16)
        return HandPicture(crop=crop, picture=np.full((16, 16, 3), level, np.uint8), mask=np.ones((16, 16), bool))

    canvas = compose([hand(32, 200), hand(16, 50)], (64, 64))
    assert (canvas.picture[:16, :16] == 200).all()


def test_pastes():
    decoded, picture = np.full((64, 64, 3), 100, np.uint8), smooth_picture(64, 64)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    crop = Crop(hands="left", box_xywh=(0, 0, 64, 64), size=64)
    canvas = compose([HandPicture(crop=crop, picture=picture, mask=mask)], (64, 64))
    hard = paste(decoded, canvas)
    assert np.array_equal(hard[mask], picture[mask])
    assert (hard[~mask] == 100).all()
    soft = paste(decoded, canvas, how="feather")
    assert (soft[~mask] == 100).all()
    assert np.array_equal(soft[25:35, 25:35], picture[25:35, 25:35])
    assert not np.array_equal(soft[20:22, 20:40], picture[20:22, 20:40])
    assert paste(decoded, canvas, how="none") is decoded
    cloned = paste(decoded, canvas, how="poisson")
    assert (cloned[~mask] == 100).all()
    assert not np.array_equal(cloned[mask], hard[mask])


def test_masks_shrink_and_grow_by_half_covered_pixels():
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    assert resize_mask(mask, (32, 32)).sum() == 16 * 16
    assert resize_mask(mask, (128, 128)).sum() == pytest.approx(64 * 64, rel=0.05)


@pytest.mark.parametrize(
    ("pose", "wanted", "expected"),
    [
        ((512, 512), (None, None), (512, 512)),
        ((768, 512), (None, None), (768, 512)),
        ((1280, 720), (None, None), (896, 512)),
        ((100, 1000), (None, None), (512, 1024)),
        ((720, 1280), (512, None), (512, 896)),
        ((720, 1280), (None, 640), (384, 640)),
        ((720, 1280), (320, 256), (320, 256)),
    ],
)
def test_output_size(pose, wanted, expected):
    assert output_size(pose, wanted, short_px=512, multiple=64) == expected


def test_wrong_size_names_a_right_one():
    with pytest.raises(UserError, match="height = 500: choose a multiple of 64, such as 512"):
        output_size((512, 512), (500, None), short_px=512, multiple=64)
    with pytest.raises(UserError, match="size 300x500: its sides are multiples of 64: give --size 320x512"):
        output_size((512, 512), (500, 300), short_px=512, multiple=64)


def test_people_fit_without_stretching():
    pose = Pose(people=person(("left", 100, 200, 50))[None], width=1280, height=720)
    fitted = fit_pose(pose, (512, 512))
    scale = 512 / 1280
    expected = pose.hand(0, "left")[:, :2] * scale + (0, (512 - 720 * scale) / 2)
    np.testing.assert_allclose(fitted.hand(0, "left")[:, :2], expected, rtol=1e-5)
    assert not fitted.has_hand(0, "right")
    assert fitted.size_hw == (512, 512)


def test_crops_of_everybody_and_what_is_said():
    apart = person(("left", 60, 200, 60), ("right", 440, 200, 60))
    together = person(("left", 200, 400, 60), ("right", 240, 400, 60))
    poor = person(("left", 300, 300, 60), ("right", 900, 300, 60))
    poor[LEFT_HAND][3:] = (np.nan, np.nan, 0)
    tiny = person(("left", 250, 100, 20))
    pose = Pose(people=np.stack([apart, together, poor, tiny]), width=512, height=512)
    crops, notes = hand_crops(pose, CropConfig(size=128))
    assert [(crop.person, crop.crop.hands) for crop in crops] == [(0, "left"), (0, "right"), (1, "both"), (3, "left")]
    assert set(crops[2].points) == {"left", "right"}
    for crop in crops:
        for points in crop.points.values():
            assert ((points[:, :2] >= 0) & (points[:, :2] <= 128)).all()
    assert len(notes) == 3
    assert "person 2: the left hand has 3 of 21 points" in notes[0]
    assert "person 2: the right hand lies outside the picture" in notes[1]
    assert notes[2].startswith("person 3: the left hand")
