"""Which fingers are stretched out, by a rule on the 21 points of a hand in the picture. Axis legend: n hands.

A finger is out where its tip is farther from the wrist than its middle joint, and it runs straight: the way from
knuckle to tip is at least 0.85 of the way along its bones. The thumb is out where it runs straight (0.9) and its tip is
farther from the middle finger's knuckle than the joint before it, by 0.05 of the palm's length: so a thumb that lies
along a flat hand counts, one that is laid across the palm or pinches does not. The rule is ours, and knows no depth: it
fails where fingers point at the camera, but compares a pose and its picture by the same measure.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from h2d.eval.poses import is_there
from h2d.pose.layouts import FINGERS, WRIST

OUT: Final = 1
BENT: Final = 0
UNKNOWN: Final = -1
"""A point that decides it is missing."""

STRAIGHT_FINGER: Final = 0.85
STRAIGHT_THUMB: Final = 0.9
THUMB_BEYOND: Final = 0.05
"""Of the palm's length, wrist to the middle finger's knuckle."""

_MIDDLE_KNUCKLE: Final = FINGERS["middle"][0]


def finger_states(hands: Float32[np.ndarray, "n 21 3"]) -> Int64[np.ndarray, "n 5"]:
    """`OUT`, `BENT` or `UNKNOWN` for thumb, index, middle, ring and little finger of each hand."""
    there = is_there(hands)
    xy = np.where(there[..., None], hands[..., :2], 0).astype(np.float64)
    states = np.full((len(hands), 5), UNKNOWN, np.int64)
    for number, (name, joints) in enumerate(FINGERS.items()):
        decided_by = (*joints, WRIST, *([_MIDDLE_KNUCKLE] if name == "thumb" else []))
        known = there[:, list(decided_by)].all(axis=1)
        out = _thumb_out(xy, joints) if name == "thumb" else _finger_out(xy, joints)
        states[known, number] = np.where(out[known], OUT, BENT)
    return states


def finger_counts(hands: Float32[np.ndarray, "n 21 3"]) -> Int64[np.ndarray, " n"]:
    """How many fingers each hand has out, 0 to 5; -1 where one of them is unknown."""
    states = finger_states(hands)
    return np.where((states == UNKNOWN).any(axis=1), -1, (states == OUT).sum(axis=1))


def _finger_out(xy: Float64[np.ndarray, "n 21 2"], joints: tuple[int, int, int, int]) -> Bool[np.ndarray, " n"]:
    _, middle, _, tip = joints
    farther = _distance(xy, tip, WRIST) > _distance(xy, middle, WRIST)
    return np.asarray(farther & (_straightness(xy, joints) >= STRAIGHT_FINGER))


def _thumb_out(xy: Float64[np.ndarray, "n 21 2"], joints: tuple[int, int, int, int]) -> Bool[np.ndarray, " n"]:
    _, _, before, tip = joints
    beyond = _distance(xy, tip, _MIDDLE_KNUCKLE) - _distance(xy, before, _MIDDLE_KNUCKLE)
    palm = _distance(xy, WRIST, _MIDDLE_KNUCKLE)
    return np.asarray((beyond > THUMB_BEYOND * palm) & (_straightness(xy, joints) >= STRAIGHT_THUMB))


def _straightness(xy: Float64[np.ndarray, "n 21 2"], joints: tuple[int, int, int, int]) -> Float64[np.ndarray, " n"]:
    along = sum(_distance(xy, joint, after) for joint, after in pairwise(joints))
    return np.asarray(_distance(xy, joints[0], joints[3]) / np.maximum(along, 1e-9))


def _distance(xy: Float64[np.ndarray, "n 21 2"], point: int, other: int) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.linalg.norm(xy[:, point] - xy[:, other], axis=1))
