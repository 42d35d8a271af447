"""Does what a detector calls a hand look like one? Recorded with the hand, so that later steps can choose.

The limits are our choice. On 25 hands of 21 photographs, all right by eye, the hand's wrist lay at most 0.21 hand
sizes from the body's wrist, no hand was larger than 0.68 shoulder widths or 0.53 torsos, the flattest palm (a hand seen
from its edge) was 0.089 hand sizes thick, and no confidence was below 0.92. On the same photographs turned, shrunk,
blurred, darkened and shifted, the 4 hands that Holistic put in a wrong place had confidences of 0.53 to 0.66, and 6 of
244 right ones were below 0.7. Two hands pressed together in prayer are 0.18 hand sizes apart, point by point.

A hand's size is the longer side of the box around its points. Sides are the person's own.
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Float32

from h2d.pose.layouts import ELBOWS, HIPS, PALM, SHOULDERS, WRIST, WRISTS, Side
from h2d.pose.points import extent_xywh, present

CHECKS: Final = {
    "incomplete": "some of the hand's points are missing",
    "unsure": "the model's confidence in the hand is below 0.7",
    "outside_picture": "more than half of the points lie outside the picture",
    "too_small": "the hand is smaller than 24 pixels",
    "too_large": "the hand is 1.2 times larger than the body's shoulders, torso and forearm",
    "collapsed": "the palm is thinner than 0.02 hand sizes",
    "wrist_apart": "the hand's wrist lies more than 0.6 hand sizes from the body's",
    "same_as_other": "both hands lie in one place, and this one is not the surer one",
    "other_size_stated": "the dataset's labels state another size of the picture",
}
"""What each name means, for reports."""

VISIBLE: Final = 0.5
"""A body's point counts from this confidence on."""

_MIN_CONFIDENCE = 0.7
_MIN_SIZE_PX = 24.0
_MAX_SIZE_TO_BODY = 1.2
_MIN_PALM_THICKNESS = 0.02
_MAX_WRIST_DISTANCE = 0.6
_SAME_PLACE = 0.12


def failed_checks(
    hand: Float32[np.ndarray, "21 3"],
    *,
    side: Side,
    body: Float32[np.ndarray, "133 3"],
    size_hw: tuple[int, int],
    other_hand: Float32[np.ndarray, "21 3"] | None,
) -> tuple[str, ...]:
    """The names of the checks that a hand fails, in the order of `CHECKS`; only its points that are there count.

    A check that needs a point of the body passes where that is not visible.
    """
    there = present(hand)
    assert there.any()
    size = hand_size(hand)
    failed = {
        "incomplete": not there.all(),
        "unsure": float(hand[there, 2].min()) < _MIN_CONFIDENCE,
        "outside_picture": share_outside(hand, size_hw) > 0.5,
        "too_small": size < _MIN_SIZE_PX,
        "too_large": size > _MAX_SIZE_TO_BODY * _body_size(body, side),
        "collapsed": _palm_thickness(hand) <= _MIN_PALM_THICKNESS * size,
        "wrist_apart": _distance(hand[WRIST], body[WRISTS[side]]) > _MAX_WRIST_DISTANCE * size,
        "same_as_other": other_hand is not None
        and same_place(hand, other_hand)
        and float(hand[there, 2].min()) <= float(other_hand[present(other_hand), 2].min()),
    }
    return tuple(name for name in CHECKS if failed.get(name))


def hand_size(hand: Float32[np.ndarray, "21 3"]) -> float:
    """The longer side of the box around the points, pixels."""
    return max(extent_xywh(hand)[2:])


def same_place(hand: Float32[np.ndarray, "21 3"], other: Float32[np.ndarray, "21 3"]) -> bool:
    """Whether two hands are one: their like points nearly coincide."""
    both = present(hand) & present(other)
    if not both.any():
        return False
    apart = float(np.linalg.norm(hand[both, :2] - other[both, :2], axis=1).mean())
    return apart < _SAME_PLACE * max(hand_size(hand), hand_size(other))


def share_outside(hand: Float32[np.ndarray, "n 3"], size_hw: tuple[int, int]) -> float:
    """How many of the points that are there lie outside the picture, 0..1."""
    height, width = size_hw
    hand = hand[present(hand)]
    inside = (hand[:, 0] >= 0) & (hand[:, 0] <= width) & (hand[:, 1] >= 0) & (hand[:, 1] <= height)
    return 1.0 - float(inside.mean())


def _palm_thickness(hand: Float32[np.ndarray, "21 3"]) -> float:
    """Standard deviation of the palm's points across their main direction, pixels: 0 where they lie on a line.

    Infinite with fewer than three points, which cannot tell.
    """
    palm = hand[list(PALM)]
    palm_xy = palm[present(palm), :2].astype(np.float64)
    if len(palm_xy) < 3:
        return math.inf
    return float(np.linalg.svd(palm_xy - palm_xy.mean(axis=0), compute_uv=False)[1]) / math.sqrt(len(palm_xy))


def _body_size(body: Float32[np.ndarray, "133 3"], side: Side) -> float:
    """The longest of the shoulders' width, the torso and the hand's forearm: one at least is seen from its side.

    Infinite when none of them is visible.
    """
    shoulders = [body[SHOULDERS["left"]], body[SHOULDERS["right"]]]
    hips = [body[HIPS["left"]], body[HIPS["right"]]]
    lengths = [
        _distance(*shoulders),
        min(_distance(shoulders[0], hips[0]), _distance(shoulders[1], hips[1])),
        _distance(body[ELBOWS[side]], body[WRISTS[side]]),
    ]
    return max([length for length in lengths if not math.isnan(length)], default=math.inf)


def _distance(point: Float32[np.ndarray, " 3"], other: Float32[np.ndarray, " 3"]) -> float:
    """Between two points in pixels; NaN, which exceeds no limit, when one of them is not visible."""
    if min(point[2], other[2]) < VISIBLE:
        return math.nan
    return float(np.linalg.norm(point[:2].astype(np.float64) - other[:2]))
