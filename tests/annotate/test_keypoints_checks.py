import numpy as np
import pytest

from h2d.annotate.keypoints.checks import CHECKS, failed_checks, same_place
from h2d.pose.layouts import ELBOWS, FINGERS, HIPS, NUM_POINTS, SHOULDERS, WRISTS
from h2d.pose.points import missing_points

SIZE_HW = (1000, 1000)
HAND_PX = 100


def plain_hand(wrist_xy=(300.0, 500.0)):
    """An open hand, fingers up, 100 pixels long."""
    hand = np.zeros((21, 3), np.float32)
    for column, finger in enumerate(FINGERS.values()):
        for row, point in enumerate(finger):
            hand[point, :2] = (column - 2) * 15, -40 - 20 * row
    hand[:, :2] += wrist_xy
    hand[:, 2] = 0.99
    return hand


def plain_body(left_wrist_xy=(300.0, 500.0)):
    """Shoulders 200 wide, torso 300 long, forearm 150 long."""
    body = missing_points(NUM_POINTS)
    body[SHOULDERS["left"]], body[SHOULDERS["right"]] = (500, 300, 1), (300, 300, 1)
    body[HIPS["left"]], body[HIPS["right"]] = (480, 600, 1), (320, 600, 1)
    body[WRISTS["left"]] = *left_wrist_xy, 1
    body[ELBOWS["left"]] = left_wrist_xy[0], left_wrist_xy[1] + 150, 1
    return body


def failed(hand, *, side="left", body=None, size_hw=SIZE_HW, other=None):
    body = plain_body() if body is None else body
    return failed_checks(hand, side=side, body=body, size_hw=size_hw, other_hand=other)


def grown(hand, factor):
    """The same hand, `factor` times as large about its wrist."""
    hand = hand.copy()
    hand[:, :2] = hand[0, :2] + (hand[:, :2] - hand[0, :2]) * factor
    return hand


def test_a_plain_hand_fails_nothing_with_and_without_a_body():
    assert failed(plain_hand()) == ()
    assert failed(plain_hand(), body=missing_points(NUM_POINTS)) == ()
    assert failed(plain_hand(), other=plain_hand((600, 500))) == ()


@pytest.mark.parametrize(("confidence", "expected"), [(0.71, ()), (0.69, ("unsure",))])
def test_unsure(confidence, expected):
    hand = plain_hand()
    hand[:, 2] = confidence
    assert failed(hand) == expected


@pytest.mark.parametrize(("width", "expected"), [(1000, ()), (305, ()), (295, ("outside_picture",))])
def test_outside_picture_is_more_than_half_of_the_points(width, expected):
    assert failed(plain_hand(), size_hw=(1000, width)) == expected


@pytest.mark.parametrize(("factor", "expected"), [(0.25, ()), (0.23, ("too_small",))])
def test_too_small_is_below_24_pixels(factor, expected):
    assert failed(grown(plain_hand(), factor), body=missing_points(NUM_POINTS)) == expected


@pytest.mark.parametrize(("factor", "expected"), [(3.5, ()), (3.7, ("too_large",))])
def test_too_large_is_measured_by_the_longest_part_of_the_body(factor, expected):
    assert failed(grown(plain_hand(), factor)) == expected


def test_a_person_seen_from_the_side_has_no_too_large_hands():
    body = plain_body()
    body[SHOULDERS["right"], :2] = body[SHOULDERS["left"], :2]
    assert failed(plain_hand(), body=body) == ()
    body[list(HIPS.values())] = missing_points(2)
    assert failed(grown(plain_hand(), 1.7), body=body) == ()
    assert failed(grown(plain_hand(), 1.9), body=body) == ("too_large",)


def test_collapsed_is_a_palm_on_a_line():
    hand = plain_hand()
    hand[:, 0] = hand[0, 0] + (hand[:, 0] - hand[0, 0]) * 0.01
    assert failed(hand) == ("collapsed",)
    hand[:, :2] = 300
    assert "collapsed" in failed(hand)


@pytest.mark.parametrize(("apart", "expected"), [(0, ()), (59, ()), (61, ("wrist_apart",))])
def test_wrist_apart_is_measured_in_hand_sizes_on_its_own_side(apart, expected):
    body = plain_body((300.0 - apart, 500.0))
    assert failed(plain_hand(), body=body) == expected
    assert failed(plain_hand(), side="right", body=body) == ()


def test_an_unseen_wrist_says_nothing():
    body = plain_body((900.0, 900.0))
    body[WRISTS["left"], 2] = 0.4
    assert failed(plain_hand(), body=body) == ()


@pytest.mark.parametrize(("apart", "same"), [(0, True), (11, True), (13, False), (200, False)])
def test_same_place_is_symmetric(apart, same):
    hand, other = plain_hand(), plain_hand((300.0 + apart, 500.0))
    assert same_place(hand, other) == same_place(other, hand) == same


def test_of_two_hands_in_one_place_the_less_sure_one_fails():
    sure, other = plain_hand(), plain_hand()
    other[:, 2] = 0.9
    assert failed(sure, other=other) == ()
    assert failed(other, other=sure) == ("same_as_other",)
    assert failed(sure, other=sure.copy()) == ("same_as_other",)


def test_every_check_is_described():
    assert all(CHECKS.values())
