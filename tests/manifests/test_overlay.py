import numpy as np
import pytest

from h2d.images import decode_rgb
from h2d.manifests.overlay import (
    SIDE_COLOURS,
    draw_body,
    draw_crop,
    draw_hand,
    draw_picture,
    draw_sheet,
    draw_steps,
    tint_mask,
)
from h2d.manifests.store import Manifest
from h2d.pose.points import missing_points

GREY = np.full((120, 160, 3), 90, np.uint8)


def hand(x, y, size):
    points = missing_points()
    points[:, 0] = x + np.linspace(0, size, 21)
    points[:, 1] = y + np.tile([0, size, size / 2], 7)
    points[:, 2] = 1
    return points.astype(np.float32)


def test_drawing_leaves_the_picture_and_draws_where_the_hand_is():
    drawn = draw_hand(GREY, hand(60, 40, 30), "left")
    assert (GREY == 90).all()
    changed = np.argwhere((drawn != GREY).any(axis=2))
    assert changed[:, 0].min() >= 30
    assert changed[:, 0].max() <= 80
    assert changed[:, 1].min() >= 40
    assert changed[:, 1].max() <= 100


def test_left_and_right_are_told_apart():
    points = hand(60, 40, 30)
    left, right = draw_hand(GREY, points, "left"), draw_hand(GREY, points, "right")
    for side, drawn in (("left", left), ("right", right)):
        assert (drawn == SIDE_COLOURS[side]).all(axis=2).any()
    assert (left != right).any()


def test_missing_points_draw_nothing():
    np.testing.assert_array_equal(draw_hand(GREY, missing_points(), "left"), GREY)
    np.testing.assert_array_equal(draw_body(GREY, missing_points(133)), GREY)
    far = hand(1e7, 1e7, 5)
    np.testing.assert_array_equal(draw_hand(GREY, far, "right"), GREY)


def test_mask_is_tinted_inside_and_untouched_far_outside():
    mask = np.zeros(GREY.shape[:2], bool)
    mask[40:80, 60:100] = True
    tinted = tint_mask(GREY, mask, SIDE_COLOURS["left"])
    expected = np.rint(90 * 0.62 + np.float32(SIDE_COLOURS["left"]) * 0.38)
    assert np.abs(tinted[60, 80].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(tinted[:35], GREY[:35])
    np.testing.assert_array_equal(tint_mask(GREY, np.zeros_like(mask), (0, 0, 0)), GREY)


@pytest.mark.parametrize("long_side", [None, 200, 500])
def test_rows_are_drawn_at_the_size_asked_for(good_manifest, long_side):
    manifest = Manifest(good_manifest)
    row = manifest.row("call/0000")
    drawn = draw_picture(row, long_side=long_side)
    assert max(drawn.shape[:2]) == (long_side or 320)
    crop = manifest.hands_of(row["id"])[0]
    assert draw_crop(crop, long_side=long_side).shape[:2] == (long_side or 128,) * 2


def test_a_window_shows_the_same_place(good_manifest):
    row = Manifest(good_manifest).row("call/0000")
    window = draw_picture(row, window_xywh=(100, 50, 100, 120))
    whole = draw_picture(row)[50:170, 100:200]
    assert window.shape == whole.shape
    assert np.abs(window.astype(int) - whole).mean() < 3


def test_sheet_and_steps(good_manifest):
    manifest = Manifest(good_manifest)
    row = manifest.row("call/0000")
    crops = manifest.hands_of(row["id"])
    sheet = draw_sheet(row, crops)
    assert sheet.shape[0] == 1200
    assert sheet.shape[1] > draw_sheet(row, []).shape[1] == 900
    steps = draw_steps(crops)
    assert steps.shape[1] > 3 * 128
    side = decode_rgb(crops[0]["image"]["bytes"]).shape[0]
    assert steps.shape[0] > 2 * side
