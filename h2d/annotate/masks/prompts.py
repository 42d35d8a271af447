"""What a hand's keypoints say of where its mask must lie: boxes, positive and negative points, the wrist.

Everything is in pixels of the crop, a pixel's centre at +0.5. Axis legend: h height, w width, n points, k candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.pose.layouts import FINGERS, HAND_BONES, KNUCKLES, WRIST, Side
from h2d.pose.points import extent_xywh, present

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""

MIDDLE_KNUCKLE = FINGERS["middle"][0]
PALM_LENGTH = 0.53
"""Wrist to middle knuckle, in hand lengths (wrist to the tip of the middle finger)."""
KNUCKLES_WIDTH = 0.36
"""Knuckle of the index to that of the little finger, in hand lengths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandPrompt:
    """What a promptable segmenter is asked for one hand."""

    box_xyxy: Box
    points: Float32[np.ndarray, "n 2"]
    labels: Bool[np.ndarray, " n"]
    """True: on the hand. False: on the other hand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """What the segmenter offers for one hand, and how sure it is of each mask."""

    masks: Bool[np.ndarray, "k h w"]
    iou: Float32[np.ndarray, " k"]
    """Its own prediction of each mask's intersection over union; about 0..1."""


def hand_prompts(
    hands: Mapping[Side, Float32[np.ndarray, "21 3"]], *, margin: float, size_hw: tuple[int, int]
) -> dict[Side, HandPrompt]:
    """One prompt per hand that has a point in the crop: its grown box, its points, the other's outside it."""
    visible = {side: points[inside(points, size_hw)] for side, points in hands.items()}
    prompts: dict[Side, HandPrompt] = {}
    for side, points in visible.items():
        if not len(points):
            continue
        box = grown_box(points, margin, size_hw)
        others = [other[~_in_box(other, box)] for name, other in visible.items() if name != side]
        negatives = np.concatenate([np.zeros((0, 3), np.float32), *others])
        prompts[side] = HandPrompt(
            box_xyxy=box,
            points=np.concatenate([points, negatives])[:, :2],
            labels=np.arange(len(points) + len(negatives)) < len(points),
        )
    return prompts


def size_of(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[int, int]:
    """Height and width of a picture."""
    return picture.shape[0], picture.shape[1]


def inside(points: Float32[np.ndarray, "n 3"], size_hw: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    """Which points are there and lie in the crop."""
    height, width = size_hw
    there = present(points)
    x, y = np.where(there, points[:, 0], -1), np.where(there, points[:, 1], -1)
    return there & (x >= 0) & (x < width) & (y >= 0) & (y < height)


def grown_box(points: Float32[np.ndarray, "n 3"], margin: float, size_hw: tuple[int, int]) -> Box:
    """The box of the points, each side moved out by `margin` of its longer side, clipped to the crop.

    The longer side, so that a hand seen edge-on, whose points are nearly on a line, gets a box it fits in (our choice).
    """
    left, top, width, height = extent_xywh(points)
    extra = margin * max(width, height)
    return (
        max(0.0, left - extra),
        max(0.0, top - extra),
        min(float(size_hw[1]), left + width + extra),
        min(float(size_hw[0]), top + height + extra),
    )


def box_slices(box: Box) -> tuple[slice, slice]:
    """Rows and columns of the pixels that the box touches."""
    left, top, right, bottom = box
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def hand_length(points: Float32[np.ndarray, "21 3"]) -> float:
    """Wrist to the tip of the stretched middle finger, in pixels; 0 when too few points are there.

    The largest of what the fingers' bones, the palm's length and the knuckles' width say: a hand that is turned away
    or clenched is foreshortened in some of them, never enlarged.
    """
    there = present(points)
    xy = points[:, :2].astype(np.float64)

    def distance(start: int, end: int) -> float:
        return float(np.hypot(*(xy[end] - xy[start]))) if there[start] and there[end] else 0.0

    bones = {end: distance(start, end) for start, end in HAND_BONES}
    fingers = [sum(bones[joint] for joint in joints) for name, joints in FINGERS.items() if name != "thumb"]
    palm = distance(WRIST, MIDDLE_KNUCKLE) / PALM_LENGTH
    knuckles = distance(KNUCKLES[0], KNUCKLES[-1]) / KNUCKLES_WIDTH
    return max(*fingers, palm, knuckles)


def beyond_wrist(
    points: Float32[np.ndarray, "21 3"], distance: float, size_hw: tuple[int, int]
) -> Bool[np.ndarray, "h w"] | None:
    """Which pixels lie at least `distance` hand lengths behind the wrist, seen from the knuckles.

    None if it cannot be told. The line is perpendicular to the one from the wrist to the middle knuckle. It gives way
    to points of the hand that lie behind the wrist, as those of a hand hanging over towards the camera do.
    """
    there = present(points)
    length = hand_length(points)
    if not (there[WRIST] and there[MIDDLE_KNUCKLE]):
        return None
    wrist = points[WRIST, :2].astype(np.float64)
    towards_arm = wrist - points[MIDDLE_KNUCKLE, :2]
    if np.hypot(*towards_arm) < 0.15 * length:
        return None  # The palm points at the camera: the direction would be noise.
    towards_arm = towards_arm / np.hypot(*towards_arm)
    rearmost = float(np.max((points[there, :2] - wrist) @ towards_arm))
    line = max(distance * length, rearmost + 0.08 * length if rearmost > 0.02 * length else 0.0)
    x, y = np.arange(size_hw[1]) + 0.5 - wrist[0], np.arange(size_hw[0]) + 0.5 - wrist[1]
    return np.asarray(x[None, :] * towards_arm[0] + y[:, None] * towards_arm[1] >= line)


def _in_box(points: Float32[np.ndarray, "n 3"], box: Box) -> Bool[np.ndarray, " n"]:
    left, top, right, bottom = box
    x, y = points[:, 0], points[:, 1]
    return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
