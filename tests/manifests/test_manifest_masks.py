import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h2d.errors import UserError
from h2d.manifests.masks import DEFAULT_DILATION, dilate, mask_steps, project_mask, read_mask
from h2d.manifests.rle import encode_rle


def square(size_hw, rows, columns) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_dilation_is_the_papers_square_and_the_default():
    dot = square((21, 21), (10, 11), (10, 11))
    assert DEFAULT_DILATION == 5
    np.testing.assert_array_equal(dilate(dot), square((21, 21), (8, 13), (8, 13)))
    np.testing.assert_array_equal(read_mask(encode_rle(dot)), dilate(dot))
    np.testing.assert_array_equal(dilate(dot, 3), square((21, 21), (9, 12), (9, 12)))


def test_dilation_stops_at_the_border():
    np.testing.assert_array_equal(dilate(square((9, 9), (0, 1), (8, 9))), square((9, 9), (0, 3), (6, 9)))


@pytest.mark.parametrize("size", [0, 1])
def test_no_dilation(size):
    dot = square((21, 21), (10, 11), (10, 11))
    np.testing.assert_array_equal(read_mask(encode_rle(dot), dilation=size), dot)


@pytest.mark.parametrize("size", [4, -1, -5])
def test_impossible_dilation(size):
    with pytest.raises(UserError, match=rf"mask dilation {size}: give an odd number"):
        dilate(np.zeros((3, 3), bool), size)


def test_projecting_one_to_one_is_a_copy():
    mask = square((64, 64), (10, 30), (5, 50))
    laid = project_mask(mask, (20.0, 30.0, 64.0, 64.0), 1.0, (120, 100))
    np.testing.assert_array_equal(laid, square((120, 100), (40, 60), (25, 70)))


@pytest.mark.parametrize(("box_px", "image_scale"), [(32.0, 1.0), (64.0, 0.5), (16.0, 2.0)])
def test_projecting_by_half(box_px, image_scale):
    mask = square((64, 64), (10, 30), (4, 50))
    laid = project_mask(mask, (40 / image_scale, 8 / image_scale, box_px, box_px), image_scale, (50, 90))
    np.testing.assert_array_equal(laid, square((50, 90), (13, 23), (42, 65)))


def test_projecting_to_three_times_the_size():
    mask = square((16, 16), (4, 10), (2, 12))
    laid = project_mask(mask, (6.0, 9.0, 48.0, 48.0), 1.0, (80, 80))
    expected = square((80, 80), (21, 39), (12, 42))
    assert (laid != expected).sum() <= 4  # Interpolation rounds the corners.
    np.testing.assert_array_equal(laid.any(axis=0), expected.any(axis=0))
    np.testing.assert_array_equal(laid.any(axis=1), expected.any(axis=1))


def test_what_lies_outside_falls_away():
    full = np.ones((64, 64), bool)
    np.testing.assert_array_equal(
        project_mask(full, (-32.0, -16.0, 64.0, 64.0), 1.0, (40, 50)), square((40, 50), (0, 40), (0, 32))
    )
    np.testing.assert_array_equal(
        project_mask(full, (40.0, 30.0, 32.0, 32.0), 1.0, (40, 50)), square((40, 50), (30, 40), (40, 50))
    )
    assert not project_mask(full, (60.0, 5.0, 32.0, 32.0), 1.0, (40, 50)).any()
    assert not project_mask(full, (-90.0, 5.0, 64.0, 64.0), 1.0, (40, 50)).any()


def test_an_empty_mask_stays_empty():
    assert not project_mask(np.zeros((64, 64), bool), (0.0, 0.0, 64.0, 64.0), 1.0, (40, 50)).any()


def test_half_covered_pixels_belong_to_it():
    mask = square((8, 8), (0, 8), (0, 5))
    laid = project_mask(mask, (0.0, 0.0, 4.0, 4.0), 1.0, (4, 4))
    np.testing.assert_array_equal(laid, square((4, 4), (0, 4), (0, 3)))
    less = project_mask(square((8, 8), (0, 7), (0, 5)), (0.0, 0.0, 4.0, 4.0), 1.0, (4, 4))
    np.testing.assert_array_equal(less[3], [True, True, False, False])


@given(st.floats(-40, 80), st.floats(-40, 80), st.floats(5, 150), st.sampled_from([0.25, 0.7, 1.0, 1.6]))
def test_area_is_kept(left, top, side, image_scale):
    """A disc well inside the picture keeps its area and its centre, whatever the scale."""
    rows, columns = np.ogrid[:64, :64]
    disc = (rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 24**2
    laid = project_mask(disc, (left + 60, top + 60, side, side), image_scale, (500, 500))
    scale = side * image_scale / 64
    radius = 24 * scale
    assert laid.sum() == pytest.approx(disc.sum() * scale**2, abs=4 + 3 * radius)
    if radius > 2:
        y, x = np.nonzero(laid)
        assert x.mean() + 0.5 == pytest.approx((left + 60 + side / 2) * image_scale, abs=0.5)
        assert y.mean() + 0.5 == pytest.approx((top + 60 + side / 2) * image_scale, abs=0.5)


@pytest.mark.parametrize("side", [40, 512])
def test_the_steps_show_mask_dilation_and_difference(side):
    picture = np.full((side, side, 3), 90, np.uint8)
    mask = square((side, side), (10, 20), (10, 20))
    before = picture.copy()
    steps = mask_steps(picture, mask)
    np.testing.assert_array_equal(picture, before)
    gap = (steps.shape[1] - 3 * side) // 2
    panels = [steps[:side, start : start + side] for start in (0, side + gap, 2 * (side + gap))]
    assert (panels[0] != 90).any(axis=2).sum() == 100
    assert (panels[1] != 90).any(axis=2).sum() == 196
    ring = panels[2].max(axis=2) > 200
    np.testing.assert_array_equal(ring, dilate(mask) & ~mask)
    assert (steps[side:] < 100).any()  # The captions.
