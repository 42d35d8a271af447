import numpy as np
import pytest

from h2d.annotate.keypoints.precomputed import PrecomputedDetector
from h2d.pose.layouts import HANDS, WRISTS
from h2d.pose.points import present

PICTURE = np.zeros((300, 200, 3), np.uint8)
NO_BOXES = np.zeros((0, 4), np.float32)


def hand(x=60.0, y=200.0, valid=21):
    points = np.ones((21, 3), np.float32)
    for point in range(1, 21):
        finger, step = divmod(point - 1, 4)
        points[point, :2] = (finger - 2) * 12, -30 - 14 * step
    points[0, :2] = 0
    points[:, :2] += x, y
    points[valid:] = np.nan, np.nan, 0
    return points


def detect(given, **options):
    return PrecomputedDetector(**options).detect(PICTURE, NO_BOXES, given)


def test_given_hands_come_back_bit_equal_on_their_sides():
    given = {"left": hand(140), "right": hand(60)}
    found = detect(given)
    assert found.num_persons == 1
    for side, points in given.items():
        np.testing.assert_array_equal(found.hands[side].points, points)
        np.testing.assert_array_equal(found.body[HANDS[side]], points)
        np.testing.assert_array_equal(found.body[WRISTS[side]], points[0])
        assert (found.hands[side].found_by, found.hands[side].checks) == ("precomputed", ())
    assert present(found.body).sum() == 44


def test_a_hand_with_missing_points_says_so_and_one_with_almost_none_is_none():
    found = detect({"left": hand(valid=8), "right": hand(valid=2)})
    assert {side: found.checks for side, found in found.hands.items()} == {"left": ("incomplete",)}
    assert set(detect({"right": hand(valid=2)}, min_points=2).hands) == {"right"}


def test_nothing_given_is_nobody():
    found = detect({})
    assert (found.num_persons, found.hands, present(found.body).any()) == (0, {}, False)


@pytest.mark.parametrize(("x", "shown"), [(60, True), (195, True), (230, False)])
def test_a_hand_mostly_outside_the_picture_is_not_shown(x, shown):
    found = detect({"right": hand(x)})
    assert (set(found.hands), found.num_persons) == (({"right"}, 1) if shown else (set(), 0))


def test_missing_points_take_no_part_in_the_checks():
    half_outside = hand()
    half_outside[8:] = np.nan, np.nan, 0
    half_outside[:4, 0] += 400
    assert set(detect({"left": half_outside}).hands) == {"left"}
    half_outside[4, 0] += 400
    assert not detect({"left": half_outside}).hands
    assert detect({"left": hand(valid=9), "right": hand(valid=12)}).hands["left"].checks[-1] == "same_as_other"
