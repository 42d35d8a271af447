import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2d.annotate.base import FoundHand
from h2d.annotate.crops import UNCROPPED, Crop, CropConfig, cut, plan_crops
from h2d.config import validate_config
from h2d.errors import UserError
from h2d.pose.layouts import SIDES
from h2d.pose.points import extent_xywh, moved

CONFIG = CropConfig()
positions = st.floats(-40, 800)
extents = st.floats(8, 500)
boxes = st.tuples(positions, positions, extents, extents)
sizes = st.tuples(st.integers(64, 700), st.integers(64, 900))


def hand(box, *checks):
    """A hand whose points fill the box (left, top, width, height)."""
    x, y, width, height = box
    points = np.random.default_rng(0).uniform(0, 1, (21, 3)).astype(np.float32)
    points[:2, :2] = [[0, 0], [1, 1]]
    points[:, :2] = points[:, :2] * [width, height] + [x, y]
    points[:, 2] = 1
    return FoundHand(points=points, found_by="holistic", checks=checks)


def visible_box(points, size_hw):
    """Left, top, right, bottom of what is in the picture."""
    x, y, width, height = extent_xywh(points)
    limits = np.array([size_hw[1], size_hw[0]])
    return np.clip([x, y], 0, limits), np.clip([x + width, y + height], 0, limits)


@settings(max_examples=60, deadline=None)
@given(left=boxes, right=boxes, size_hw=sizes)
def test_crops_are_squares_that_hold_their_hands_inside_the_picture_where_they_fit(left, right, size_hw):
    hands = {"left": hand(left), "right": hand(right)}
    for crop in plan_crops(hands, size_hw, CONFIG):
        x, y, side, same = crop.box_xywh
        assert side == same
        seen = [visible_box(hands[name].points, size_hw) for name in crop.sides]
        low, high = np.min([box[0] for box in seen], axis=0), np.max([box[1] for box in seen], axis=0)
        assert (np.array([x, y]) <= low).all()
        assert (high <= np.array([x, y]) + side).all()
        beyond = x < 0 or y < 0 or x + side > size_hw[1] or y + side > size_hw[0]
        assert beyond == (side > min(size_hw))
        if beyond:
            assert side == np.max(np.ceil(high) - np.floor(low)), "larger than the picture only as far as needed"


@settings(max_examples=60, deadline=None)
@given(left=boxes, right=boxes, size_hw=sizes)
def test_sharing_a_crop_does_not_depend_on_which_hand_is_which(left, right, size_hw):
    crops = plan_crops({"left": hand(left), "right": hand(right)}, size_hw, CONFIG)
    swapped = plan_crops({"right": hand(left), "left": hand(right)}, size_hw, CONFIG)
    assert {crop.box_xywh for crop in crops} == {crop.box_xywh for crop in swapped}
    assert [crop.hands for crop in crops] == [crop.hands for crop in swapped]


@pytest.mark.parametrize(("gap", "names"), [(-10, ["both"]), (14, ["both"]), (16, ["left", "right"])])
def test_hands_share_a_crop_when_their_boxes_grown_by_15_percent_meet(gap, names):
    hands = {"right": hand((100, 200, 100, 80)), "left": hand((200 + gap, 200, 100, 80))}
    crops = plan_crops(hands, (1000, 1000), CONFIG)
    assert [crop.hands for crop in crops] == names
    assert [crop.sides for crop in crops] == ([SIDES] if names == ["both"] else [("left",), ("right",)])


def test_a_crop_is_half_larger_than_the_hand_around_its_middle():
    (crop,) = plan_crops({"left": hand((400, 300, 100, 60))}, (1000, 1000), CONFIG)
    assert crop.box_xywh == (375, 255, 150, 150)


def test_a_crop_at_the_edge_is_moved_inside_and_a_tiny_hand_gets_surroundings():
    (edge,) = plan_crops({"left": hand((0, 900, 100, 120))}, (1000, 1000), CONFIG)
    assert edge.box_xywh == (0, 820, 180, 180)
    (tiny,) = plan_crops({"left": hand((500, 500, 10, 10))}, (1000, 1000), CONFIG)
    assert tiny.box_xywh[2:] == (64, 64)


@pytest.mark.parametrize("check", sorted(UNCROPPED))
def test_an_implausible_hand_gets_no_crop_and_shares_none(check):
    hands = {"left": hand((100, 100, 100, 100), check), "right": hand((120, 120, 90, 90), "too_large")}
    assert [crop.hands for crop in plan_crops(hands, (500, 500), CONFIG)] == ["right"]
    assert plan_crops({}, (500, 500), CONFIG) == []


@settings(max_examples=50, deadline=None)
@given(left=st.integers(-200, 500), top=st.integers(-200, 500), side=st.integers(1, 900))
def test_points_move_into_the_crop_and_back(left, top, side):
    crop = Crop(hands="left", box_xywh=(left, top, side, side), size=512)
    points = hand((left, top, side, side)).points
    points[3] = np.nan, np.nan, 0
    inside = crop.points(points)
    present = np.arange(21) != 3
    assert (inside[present, :2] > -0.1).all()
    assert (inside[present, :2] < 512.1).all()
    assert np.isnan(inside[3, :2]).all()
    back = moved(moved(inside, scale=side / 512), shift=(left, top))
    np.testing.assert_allclose(back, points, atol=1e-2)


@pytest.mark.parametrize("side", [100, 400, 512, 700, 1000])
def test_cutting_keeps_what_is_seen_where_the_points_say(side):
    picture = np.zeros((1000, 1200, 3), np.uint8)
    at = np.array([[300.0, 250.0]])
    picture[240:260, 290:310] = 255
    crop = Crop(hands="left", box_xywh=(280, 230, side, side), size=512)
    cropped = cut(picture, crop)
    assert cropped.shape == (512, 512, 3)
    rows, columns = np.nonzero(cropped[..., 0] > 127)
    centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    expected = crop.points(np.c_[at, 1].astype(np.float32))[0, :2]
    np.testing.assert_allclose(centre, expected, atol=0.6)


def test_outside_the_picture_its_edge_is_repeated():
    picture = np.zeros((100, 400, 3), np.uint8)
    picture[0], picture[-1] = 50, 200
    cropped = cut(picture, Crop(hands="both", box_xywh=(20, -100, 300, 300), size=300))
    assert (cropped[:100] == 50).all()
    assert (cropped[200:] == 200).all()
    assert (cropped[102:198] == 0).all()


def test_a_crop_of_its_own_size_is_the_picture_itself():
    picture = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        cut(picture, Crop(hands="left", box_xywh=(30, 40, 512, 512), size=512)), picture[40:552, 30:542]
    )


@pytest.mark.parametrize(
    ("field", "value"), [("scale", 0.9), ("jpeg_quality", 101), ("meet_margin", -0.1), ("size", 0)]
)
def test_wrong_options_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=field):
        validate_config(CropConfig, {field: value}, where="options")
