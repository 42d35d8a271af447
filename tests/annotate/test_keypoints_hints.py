import numpy as np
import pytest

from h2d.annotate.base import FoundHand
from h2d.annotate.keypoints.graphs import LooseHand
from h2d.annotate.keypoints.hints import believed, box_hints, cut_regions, is_covered, wrist_hint
from h2d.pose.layouts import ELBOWS, FINGERS, NUM_POINTS, SHOULDERS, WRISTS
from h2d.pose.points import missing_points

SIZE_HW = (400, 400)
REGION = (50.0, 40.0, 200.0, 200.0)


def loose_hand(side="left", *, wrist_xy=(0.5, 0.8), size=0.4, sure=0.95):
    """An open hand, fingers up, in fractions of the region."""
    points = np.zeros((21, 3), np.float32)
    for column, finger in enumerate(FINGERS.values()):
        for row, point in enumerate(finger):
            points[point, :2] = (column - 2) * 0.15, -0.4 - 0.2 * row
    points[:, :2] = points[:, :2] * size + wrist_xy
    points[:, 2] = sure
    return LooseHand(points=points, side=side)


def in_picture(loose):
    """The same hand as `believed` places it."""
    points = loose.points.copy()
    points[:, :2] = points[:, :2] * REGION[2:] + REGION[:2]
    return points


def body_with_wrists(**wrists_xy):
    body = missing_points(NUM_POINTS)
    for side, wrist_xy in wrists_xy.items():
        body[WRISTS[side]] = *wrist_xy, 0.9
    return body


def ask(answers, hint, *, body=None, hands=None):
    body = missing_points(NUM_POINTS) if body is None else body
    return believed(answers, hint, region_xywh=REGION, body=body, hands=hands or {}, size_hw=SIZE_HW)


@pytest.fixture
def hint():
    """A box of the dataset about the loose hand: (50 + 100, 40 + 160) is its wrist."""
    (hint,) = box_hints(np.array([[120, 118, 60, 82]], np.float32))
    return hint


def test_a_hand_where_the_box_says_is_believed_in_pixels_of_the_picture(hint):
    side, hand = ask([loose_hand("right")], hint)
    assert (side, hand.found_by) == ("right", "hands")
    np.testing.assert_allclose(hand.points, in_picture(loose_hand()), atol=1e-3)


@pytest.mark.parametrize(
    "answer",
    [
        loose_hand(wrist_xy=(0.1, 0.8)),  # elsewhere
        loose_hand(size=1.1),  # far larger than the box
        loose_hand(size=0.1),  # far smaller
        loose_hand(sure=0.6),  # cannot tell left from right
    ],
)
def test_other_answers_are_not_believed(hint, answer):
    assert ask([answer], hint) is None
    assert ask([answer, loose_hand()], hint) is not None


def test_the_nearest_wrist_of_the_body_decides_the_side_if_it_is_near(hint):
    near, far = (160.0, 205.0), (390.0, 390.0)
    assert ask([loose_hand("right")], hint, body=body_with_wrists(left=near, right=far))[0] == "left"
    assert ask([loose_hand("right")], hint, body=body_with_wrists(left=far))[0] == "right"
    assert ask([loose_hand("right")], hint)[0] == "right"


def test_a_side_or_place_already_taken_is_never_overwritten(hint):
    elsewhere = loose_hand(wrist_xy=(0.1, 0.3))
    assert (
        ask([loose_hand("left")], hint, hands={"left": FoundHand(points=in_picture(elsewhere), found_by="holistic")})
        is None
    )
    same = FoundHand(points=in_picture(loose_hand()), found_by="holistic")
    assert ask([loose_hand("left")], hint, hands={"right": same}) is None


def test_a_hand_apart_from_the_wrist_is_believed_for_a_box_alone(hint):
    body = body_with_wrists(left=(350.0, 350.0))
    assert ask([loose_hand("left")], hint, body=body)[0] == "left"
    body[ELBOWS["left"]] = 350, 390, 0.9
    at_wrist = wrist_hint("left", body, min_visibility=0.5, size_hw=SIZE_HW)
    assert ask([loose_hand("left")], at_wrist, body=body) is None


def test_the_wrist_hints_beyond_itself_along_the_forearm():
    body = body_with_wrists(left=(200.0, 200.0))
    body[ELBOWS["left"]] = 200, 300, 0.9
    body[SHOULDERS["left"]], body[SHOULDERS["right"]] = (200, 100, 1), (100, 100, 1)
    hint = wrist_hint("left", body, min_visibility=0.5, size_hw=SIZE_HW)
    assert hint.centre_xy == (200, 165)
    assert hint.sides_px == pytest.approx((175.0,))
    assert hint.side == "left"


@pytest.mark.parametrize(
    ("wrist", "elbow"),
    [
        ((200, 200, 0.4), (200, 300, 1)),  # not visible
        ((200, 401, 0.9), (200, 300, 1)),  # outside
        ((200, 380, 0.9), (200, 300, 1)),  # the hand would be outside
        ((200, 200, 0.9), (np.nan, np.nan, 0)),  # no direction
    ],
)
def test_some_wrists_hint_at_nothing(wrist, elbow):
    body = missing_points(NUM_POINTS)
    body[WRISTS["right"]], body[ELBOWS["right"]] = wrist, elbow
    body[SHOULDERS["left"]], body[SHOULDERS["right"]] = (200, 100, 1), (100, 100, 1)
    assert wrist_hint("right", body, min_visibility=0.5, size_hw=SIZE_HW) is None


def test_a_box_is_covered_by_a_hand_in_it():
    hand = FoundHand(points=in_picture(loose_hand()), found_by="holistic")
    assert is_covered((120, 118, 60, 82), {"left": hand})
    assert not is_covered((300, 118, 60, 82), {"left": hand})
    assert not is_covered((120, 118, 60, 82), {})


def test_regions_are_clipped_to_the_picture_and_say_where_they_lie():
    picture = np.arange(400, dtype=np.uint8)[None, :, None].repeat(400, axis=0).repeat(3, axis=2)
    (hint,) = box_hints(np.array([[360, 100, 20, 40], [50, 50, 0, 10]], np.float32))
    (small, small_box), (large, large_box) = cut_regions(picture, hint)
    assert small_box == (320, 70, 80, 100)
    assert large_box == (290, 40, 110, 160)
    assert small.shape == (100, 80, 3)
    assert large[0, 0, 0] == 290 % 256


def test_a_region_too_small_to_show_anything_is_left_out():
    (hint,) = box_hints(np.array([[0, 0, 8, 8]], np.float32))
    assert [region.shape[:2] for region, _ in cut_regions(np.zeros((400, 400, 3), np.uint8), hint)] == []
