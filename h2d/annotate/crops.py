"""The square hand crops that a hand generator is trained on, cut from the original's pixels.

Both hands share one crop when their boxes meet, else each hand has its own, as in the paper. A crop lies inside the
picture where it fits; points of a hand beyond the picture's edge may then lie beyond the crop's edge as well.
Axis legend: h w picture size, s crop size, n points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from h2d.annotate.base import FoundHand
from h2d.config import config
from h2d.images import resize
from h2d.pose.layouts import SIDES, Side
from h2d.pose.points import extent_xywh, moved

Hands: TypeAlias = Literal["left", "right", "both"]

UNCROPPED = frozenset({"outside_picture", "collapsed", "same_as_other"})
"""A hand that fails one of these checks shows nothing to learn from, or the same as the other hand."""


@config
class CropConfig:
    """How hands are cut out."""

    size: int = 512
    """Side of the finished crop, pixels."""
    scale: float = 1.5
    """Side of the square in the picture, in longer sides of the box around the keypoints. Our choice."""
    meet_margin: float = 0.15
    """Boxes meet when they touch after each has grown by this share of its width and height. Our choice."""
    min_side_px: int = 64
    """A smaller square is grown to this side, so that no hand is blown up more than eight times. Our choice."""
    jpeg_quality: int = 95

    def __post_init__(self) -> None:
        for name, least in (("size", 8), ("scale", 1), ("meet_margin", 0), ("min_side_px", 1), ("jpeg_quality", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.jpeg_quality > 100:
            raise ValueError(f"jpeg_quality must be at most 100, got {self.jpeg_quality}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """A square of whole pixels of the picture, and what it becomes."""

    hands: Hands
    """Whose crop it is; a part of the other hand may be seen in it, and is no part of it."""
    box_xywh: tuple[int, int, int, int]
    """In pixels of the picture. Reaches beyond it only when the hands are farther apart than its shorter side."""
    size: int
    """Side of the finished crop, pixels."""

    @property
    def sides(self) -> tuple[Side, ...]:
        """The hands as sides, left first."""
        return SIDES if self.hands == "both" else (self.hands,)

    def points(self, points: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
        """Move points from pixels of the picture to pixels of the finished crop."""
        left, top, side, _ = self.box_xywh
        return moved(points, shift=(-left, -top), scale=self.size / side)


def plan_crops(hands: Mapping[Side, FoundHand], size_hw: tuple[int, int], config: CropConfig) -> list[Crop]:
    """The crops of a picture of `size_hw`, left first: none, one or two."""
    boxes = {
        side: extent_xywh(hands[side].points)
        for side in SIDES
        if side in hands and not UNCROPPED.intersection(hands[side].checks)
    }
    if len(boxes) == len(SIDES) and _meet(boxes["left"], boxes["right"], config.meet_margin):
        return [Crop(hands="both", box_xywh=_square(_union(*boxes.values()), size_hw, config), size=config.size)]
    return [Crop(hands=side, box_xywh=_square(box, size_hw, config), size=config.size) for side, box in boxes.items()]


def cut(picture: UInt8[np.ndarray, "h w 3"], crop: Crop) -> UInt8[np.ndarray, "s s 3"]:
    """Cut and resize; what lies beyond the picture repeats its edge."""
    height, width = picture.shape[:2]
    left, top, side, _ = crop.box_xywh
    right, bottom = left + side, top + side
    part = picture[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if any(beyond):
        part = np.asarray(cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    return resize(part, (crop.size, crop.size))


_Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width, height."""


def _meet(box: _Box, other: _Box, margin: float) -> bool:
    """Whether two boxes touch after each has grown about its centre."""
    apart = (abs((box[axis] + box[axis + 2] / 2) - (other[axis] + other[axis + 2] / 2)) for axis in (0, 1))
    reach = ((box[axis] + other[axis]) * (1 + margin) / 2 for axis in (2, 3))
    return all(distance <= limit for distance, limit in zip(apart, reach, strict=True))


def _union(box: _Box, other: _Box) -> _Box:
    left, top = min(box[0], other[0]), min(box[1], other[1])
    right, bottom = max(box[0] + box[2], other[0] + other[2]), max(box[1] + box[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def _square(box: _Box, size_hw: tuple[int, int], config: CropConfig) -> tuple[int, int, int, int]:
    """The square around a box: about the part of it in the picture, moved into the picture as far as it fits."""
    limits = size_hw[1], size_hw[0]
    seen = [
        (min(max(floor(box[axis]), 0), limit), min(max(ceil(box[axis] + box[axis + 2]), 0), limit))
        for axis, limit in enumerate(limits)
    ]
    needed = max(high - low for low, high in seen)
    wanted = max(round(config.scale * max(box[2:])), needed, config.min_side_px)
    side = min(wanted, max(min(limits), needed))
    left, top = (
        min(max(round((low + high - side) / 2), min(0, limit - side)), max(0, limit - side))
        for (low, high), limit in zip(seen, limits, strict=True)
    )
    return left, top, side, side
