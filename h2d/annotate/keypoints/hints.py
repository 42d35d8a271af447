"""Where a hand must be that Holistic has not found, and whether an answer from there is believed.

Regions and limits are our choice. On 21 photographs Hands found every one of 25 visible hands in a square of 2.5 times
the box, or of 2.5 expected hand lengths at the wrist, missed some at 2 and below, and saw none at 16 hidden ones;
enlarging the region first changed nothing.
Everything is in pixels of the picture. Axis legend: n boxes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

from h2d.annotate.base import FoundHand
from h2d.annotate.keypoints.checks import VISIBLE, failed_checks, hand_size, same_place
from h2d.annotate.keypoints.graphs import LooseHand
from h2d.pose.layouts import ELBOWS, SHOULDERS, SIDES, WRIST, WRISTS, Side
from h2d.pose.points import moved

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width, height."""

MIN_REGION_PX: Final = 24
"""A smaller region shows nothing."""

_BOX_REGIONS = (2.5, 4.0)
"""Sides of the squares to look at, in longer sides of the dataset's box; the second when the first shows nothing."""
_WRIST_REGION = 2.5
"""Side of the square to look at, in expected hand lengths."""
_FOREARM_TO_HAND = 0.7
_SHOULDERS_TO_HAND = 0.45
_PALM_BEYOND_WRIST = 0.35
"""How far beyond the wrist the middle of the hand lies, in forearms."""
_NEAR_WRIST = 1.0
"""A body's wrist within this many hand sizes of a loose hand's decides its side."""
_SIZE_TO_BOX = (1 / 3, 2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """A place that must show a hand."""

    centre_xy: tuple[float, float]
    sides_px: tuple[float, ...]
    """Of the squares to look at, in this order."""
    box_xywh: Box | None = None
    """The dataset's box, where that is what hints."""
    side: Side | None = None
    """The side, where the body's wrist hints."""


def box_hints(boxes_xywh: Float32[np.ndarray, "n 4"]) -> list[Hint]:
    """One hint per box of the dataset that has an area."""
    hints = []
    for x, y, width, height in boxes_xywh.tolist():
        if width > 0 and height > 0:
            sides = tuple(factor * max(width, height) for factor in _BOX_REGIONS)
            centre = (x + width / 2, y + height / 2)
            hints.append(Hint(centre_xy=centre, sides_px=sides, box_xywh=(x, y, width, height)))
    return hints


def wrist_hint(
    side: Side, body: Float32[np.ndarray, "133 3"], *, min_visibility: float, size_hw: tuple[int, int]
) -> Hint | None:
    """Beyond the body's wrist, along the forearm; None unless it is visible and the hand should be in the picture."""
    wrist, elbow = body[WRISTS[side]].astype(np.float64), body[ELBOWS[side]].astype(np.float64)
    if not (wrist[2] >= min_visibility and np.isfinite(elbow).all()):
        return None
    forearm = wrist[:2] - elbow[:2]
    shoulders = body[SHOULDERS["left"], :2] - body[SHOULDERS["right"], :2]
    lengths = (_FOREARM_TO_HAND * np.linalg.norm(forearm), _SHOULDERS_TO_HAND * np.linalg.norm(shoulders))
    hand_px = float(np.nanmax(lengths))
    x, y = (wrist[:2] + _PALM_BEYOND_WRIST * forearm).tolist()
    if not (_inside(float(wrist[0]), float(wrist[1]), size_hw) and _inside(x, y, size_hw)):
        return None
    return Hint(centre_xy=(x, y), sides_px=(_WRIST_REGION * hand_px,), side=side)


def is_covered(box_xywh: Box, hands: Mapping[Side, FoundHand]) -> bool:
    """Whether half the points of a found hand lie in the box, grown by a quarter."""
    return any(_share_inside(hand.points, box_xywh, grown=1.25) >= 0.5 for hand in hands.values())


def cut_regions(picture: UInt8[np.ndarray, "h w 3"], hint: Hint) -> Iterator[tuple[UInt8[np.ndarray, "h2 w2 3"], Box]]:
    """The parts of the picture to look at, each with where it lies; too small ones are left out."""
    height, width = picture.shape[:2]
    for side_px in hint.sides_px:
        left, right = (round(min(max(hint.centre_xy[0] + sign * side_px / 2, 0), width)) for sign in (-1, 1))
        top, bottom = (round(min(max(hint.centre_xy[1] + sign * side_px / 2, 0), height)) for sign in (-1, 1))
        if min(right - left, bottom - top) >= MIN_REGION_PX:
            box = (float(left), float(top), float(right - left), float(bottom - top))
            yield picture[top:bottom, left:right], box


def believed(
    answers: Sequence[LooseHand],
    hint: Hint,
    *,
    region_xywh: Box,
    body: Float32[np.ndarray, "133 3"],
    hands: Mapping[Side, FoundHand],
    size_hw: tuple[int, int],
) -> tuple[Side, FoundHand] | None:
    """The first answer that is where the hint says, of a side not taken yet, and plausible; None when there is none.

    A small hand is believed too. Where the dataset itself says that there is a hand, it may lie apart from the body's
    wrist, which may be wrong or another person's.
    """
    forgiven = {"too_small"} if hint.box_xywh is None else {"too_small", "wrist_apart"}
    left, top, width, height = region_xywh
    for answer in answers:
        points = moved(answer.points * np.array([width, height, 1], np.float32), shift=(left, top))
        side = hint.side or _side_of(points, answer.side, body)
        if side in hands or any(same_place(points, hand.points) for hand in hands.values()):
            continue
        if hint.box_xywh is not None and not _fits_box(points, hint.box_xywh):
            continue
        checks = failed_checks(points, side=side, body=body, size_hw=size_hw, other_hand=None)
        if not set(checks) - forgiven:
            return side, FoundHand(points=points, found_by="hands")
    return None


def _side_of(points: Float32[np.ndarray, "21 3"], guess: Side, body: Float32[np.ndarray, "133 3"]) -> Side:
    """The side of the nearest visible wrist of the body, if one is near; else the model's guess."""
    near: dict[Side, float] = {}
    for side in SIDES:
        wrist = body[WRISTS[side]]
        if wrist[2] >= VISIBLE:
            near[side] = float(np.linalg.norm(wrist[:2] - points[WRIST, :2]))
    nearest = min(near, key=lambda side: near[side], default=guess)
    return nearest if near.get(nearest, np.inf) <= _NEAR_WRIST * hand_size(points) else guess


def _fits_box(points: Float32[np.ndarray, "21 3"], box_xywh: Box) -> bool:
    relative = hand_size(points) / max(box_xywh[2:])
    return _SIZE_TO_BOX[0] <= relative <= _SIZE_TO_BOX[1] and _share_inside(points, box_xywh, grown=1.5) >= 0.5


def _share_inside(points: Float32[np.ndarray, "21 3"], box_xywh: Box, *, grown: float) -> float:
    """The share of the points in a box grown about its centre."""
    x, y, width, height = box_xywh
    from_centre = np.abs(points[:, :2] - np.array([x + width / 2, y + height / 2]))
    return float((from_centre <= np.array([width, height]) * (grown / 2)).all(axis=1).mean())


def _inside(x: float, y: float, size_hw: tuple[int, int]) -> bool:
    return 0 <= x <= size_hw[1] and 0 <= y <= size_hw[0]
