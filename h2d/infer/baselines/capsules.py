"""A hand's depth drawn from its 21 points: capsules along its bones, seen from the front.

It stands in for the mesh that HandRefiner fits. The points say nothing of depth, so all bones lie in one plane, and
which of two crossing fingers is in front is not known: the thicker part wins. Axis legend: h w picture size.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.pose.layouts import FINGERS, KNUCKLES, WRIST
from h2d.pose.points import present
from h2d.pose.pose import Pose

FARTHEST: Final = 0.2
"""Brightness of the farthest point of a hand, of the nearest 1: HandRefiner's range."""

MASK_PADDING_PX: Final = 30
MASK_PADDING: Final = 0.15
"""Around the hand's box: the larger of the two, as HandRefiner has it."""

_FINGER: Final = (0.105, 0.095, 0.09, 0.08)
"""Radii at a finger's joints, base to tip, in lengths of the palm. Our choice, as a grown hand has them."""
_HEEL: Final = 0.22
"""Radius of the palm's end at the wrist."""
_THICKNESS: Final = 0.12
"""No part stands out farther: a palm is flat."""
_RAYS: Final = 4
"""Capsules from the wrist between two knuckles, so that the palm has no holes."""


def draw_hands(pose: Pose) -> tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The depth of everybody's hands, brighter is nearer and 0 is nothing, and the boxes to paint anew."""
    depth, boxes = np.zeros(pose.size_hw, np.uint8), np.zeros(pose.size_hw, bool)
    for person, side in pose.hands():
        relief = hand_relief(pose.hand(person, side), pose.size_hw)
        depth = np.maximum(depth, _brightness(relief))
        boxes |= box_around(relief > 0)
    return depth, boxes


def hand_relief(hand: Float32[np.ndarray, "21 3"], size_hw: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """How far each pixel of a hand stands out of its plane, in pixels; 0 where there is no hand."""
    height, width = size_hw
    relief = np.zeros(size_hw, np.float32)
    for start, stop, radius_start, radius_stop in _capsules(hand):
        reach = max(radius_start, radius_stop) + 1
        low = np.floor(np.minimum(start, stop) - reach).astype(int).clip(0, (width, height))
        high = np.ceil(np.maximum(start, stop) + reach).astype(int).clip(0, (width, height))
        if (high <= low).any():
            continue
        rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]]
        places = np.stack((columns, rows), axis=-1) + 0.5
        along = stop - start
        share = ((places - start) @ along / max(float(along @ along), 1e-6)).clip(0, 1)
        off = ((places - start - share[..., None] * along) ** 2).sum(axis=-1)
        radius = radius_start + share * (radius_stop - radius_start)
        drawn = np.sqrt(np.maximum(radius**2 - off, 0)).astype(np.float32)
        window = relief[low[1] : high[1], low[0] : high[0]]
        np.maximum(window, drawn, out=window)
    return np.minimum(relief, np.float32(_THICKNESS * _palm_px(hand[:, :2].astype(np.float64), present(hand))))


def box_around(shown: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The padded box of what is shown; nothing where nothing is."""
    box = np.zeros(shown.shape, bool)
    rows, columns = np.nonzero(shown)
    if len(rows):
        pads = [max(int((at.max() - at.min() + 1) * MASK_PADDING), MASK_PADDING_PX) for at in (rows, columns)]
        top, left = max(rows.min() - pads[0], 0), max(columns.min() - pads[1], 0)
        box[top : rows.max() + pads[0] + 1, left : columns.max() + pads[1] + 1] = True
    return box


def _brightness(relief: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    shown = relief > 0
    if not shown.any():
        return np.zeros(relief.shape, np.uint8)
    low, high = relief[shown].min(), relief[shown].max()
    share = (relief - low) / max(float(high - low), 1e-6)
    return np.where(shown, (FARTHEST + (1 - FARTHEST) * share) * 255, 0).astype(np.uint8)


def _capsules(hand: Float32[np.ndarray, "21 3"]) -> Iterator[tuple[np.ndarray, np.ndarray, float, float]]:
    """Both ends and their radii, in pixels, of every bone whose points are there."""
    there, xy = present(hand), hand[:, :2].astype(np.float64)
    palm_px = _palm_px(xy, there)
    for finger in FINGERS.values():
        for place, (start, stop) in enumerate(pairwise(finger)):
            if there[start] and there[stop]:
                yield xy[start], xy[stop], _FINGER[place] * palm_px, _FINGER[place + 1] * palm_px
    if not there[WRIST]:
        return
    thumb = FINGERS["thumb"][0]
    if there[thumb]:
        yield xy[WRIST], xy[thumb], _HEEL * palm_px, _FINGER[0] * palm_px
    for first, second in zip((thumb, *KNUCKLES), KNUCKLES, strict=False):
        if there[first] and there[second]:
            for share in np.linspace(0, 1, _RAYS):
                yield xy[WRIST], xy[first] + share * (xy[second] - xy[first]), _HEEL * palm_px, _FINGER[0] * palm_px


def _palm_px(xy: np.ndarray, there: np.ndarray) -> float:
    """The palm's length: that of what is seen of it, or of a finger, which is as long; of several the longest."""
    lengths = [
        float(np.linalg.norm(xy[knuckle] - xy[WRIST])) for knuckle in KNUCKLES if there[knuckle] and there[WRIST]
    ]
    for finger in FINGERS.values():
        joints = xy[[joint for joint in finger if there[joint]]]
        lengths.append(float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum()))
    return max(lengths)
