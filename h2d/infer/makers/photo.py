"""A hand out of a photograph, turned, scaled and moved to the pose's wrist and size; mirrored for the other side.

The fingers stay as they are in the photograph. Axis legend: h w size of the photograph, s crop size, n points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from h2d.annotate.base import FoundHand
from h2d.annotate.crops import CropConfig, cut, plan_crops
from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.annotate.masks.prompts import hand_length
from h2d.errors import UserError
from h2d.images import DecodeError, load_upright_rgb
from h2d.infer.canvas import FILL_LEVELS
from h2d.infer.hands import DrawnHand, HandRequest
from h2d.infer.makers.cut_out import segmented
from h2d.infer.options import SampleOptions
from h2d.pose.layouts import Side
from h2d.pose.points import present

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline

CROP_PX: Final = 768
"""Of the photograph's hand before it is fitted: our choice."""

MANY: Final = 0.15
"""A mean distance of the fitted points from the pose's above it, in hand lengths, is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandPhoto:
    """A hand cut out of a photograph; everything in pixels of its crop."""

    picture: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    points: Float32[np.ndarray, "21 3"]
    side: Side


class PhotoMaker:
    """The same hand for every request."""

    repeats = True

    def __init__(self, pipe: "TwoStagePipeline", options: SampleOptions) -> None:
        assert options.hand_photo is not None
        self._photo = load_photo(options.hand_photo, options.segmenter)

    def draw(self, requests: Sequence[HandRequest], seeds: Sequence[tuple[int, ...]]) -> list[DrawnHand]:
        """Every crop's hands, one after the other; no seed changes them."""
        return [fitted(self._photo, request) for request in requests]


@lru_cache(maxsize=4)
def load_photo(path: Path, segmenter: str) -> HandPhoto:
    """The largest hand of a photograph; raises `UserError` when none is found or can be cut out."""
    try:
        picture = load_upright_rgb(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}: give a photograph of a hand") from None
    except DecodeError as error:
        raise UserError(f"{path}: {error}: give a JPEG or PNG") from None
    side, hand = _largest_hand(picture, path)
    (crop,) = plan_crops({side: hand}, (picture.shape[0], picture.shape[1]), CropConfig(size=CROP_PX))
    square, points = cut(picture, crop), crop.points(hand.points)
    mask = segmented([(square, {side: points})], segmenter)[0] > 0
    if not mask.any():
        raise UserError(f"{path}: its hand cannot be cut out by {segmenter}: give one before a plain background")
    return HandPhoto(picture=square, mask=mask, points=points, side=side)


def fitted(photo: HandPhoto, request: HandRequest) -> DrawnHand:
    """The photograph's hand at the place of each hand of a crop."""
    size = request.place.crop.size
    picture = np.full((size, size, 3), FILL_LEVELS["grey"], np.uint8)
    mask = np.zeros((size, size), np.float32)
    points: dict[Side, Float32[np.ndarray, "21 3"]] = {}
    far: list[str] = []
    for side, wanted in request.place.points.items():
        own = photo if side == photo.side else mirrored(photo)
        turn = similarity(own.points, wanted)
        shrunk, turn = _without_aliasing(own, turn)
        warped = cv2.warpAffine(shrunk.picture, turn, (size, size), flags=cv2.INTER_LINEAR)
        share = cv2.warpAffine(shrunk.mask.astype(np.float32), turn, (size, size), flags=cv2.INTER_LINEAR)
        kept = share >= 0.5
        picture[kept] = warped[kept]
        mask = np.maximum(mask, np.asarray(share, np.float32))
        placed = shrunk.points.copy()
        placed[:, :2] = placed[:, :2] @ turn[:, :2].T + turn[:, 2]
        points[side] = placed
        away = float(np.nanmean(np.hypot(*(placed - wanted)[:, :2].T))) / max(hand_length(wanted), 1e-6)
        if away > MANY:
            far.append(f"{side} hand: the photograph's fingers are {away:.0%} of a hand's length from the pose's")
    return DrawnHand(picture=picture, mask=mask, points=points, remark="; ".join(far) or None)


def similarity(points: Float32[np.ndarray, "n 3"], wanted: Float32[np.ndarray, "n 3"]) -> Float64[np.ndarray, "2 3"]:
    """The turn, scale and shift that bring points nearest to others, in the sense of least squares."""
    both = present(points) & present(wanted)
    source, target = points[both, :2].astype(np.float64), wanted[both, :2].astype(np.float64)
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    # As complex numbers a turn and a scale are one factor.
    before = (source - from_centre) @ np.array([1, 1j])
    after = (target - to_centre) @ np.array([1, 1j])
    factor = np.vdot(before, after) / max(np.vdot(before, before).real, 1e-12)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, to_centre - linear @ from_centre])


def mirrored(photo: HandPhoto) -> HandPhoto:
    """The other hand."""
    points = photo.points.copy()
    points[:, 0] = photo.picture.shape[1] - points[:, 0]
    return HandPhoto(
        picture=np.ascontiguousarray(photo.picture[:, ::-1]),
        mask=np.ascontiguousarray(photo.mask[:, ::-1]),
        points=points,
        side="left" if photo.side == "right" else "right",
    )


def _without_aliasing(
    photo: HandPhoto, turn: Float64[np.ndarray, "2 3"]
) -> tuple[HandPhoto, Float64[np.ndarray, "2 3"]]:
    """The photograph shrunk by area to about its size in the crop, and what is left to do."""
    scale = float(np.hypot(turn[0, 0], turn[1, 0]))
    if scale >= 1:
        return photo, turn
    height, width = photo.mask.shape
    small_hw = max(1, round(height * scale)), max(1, round(width * scale))
    ratio = np.array([small_hw[1] / width, small_hw[0] / height])
    points = photo.points.copy()
    points[:, :2] *= ratio
    small = HandPhoto(
        picture=np.asarray(cv2.resize(photo.picture, small_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8),
        mask=np.asarray(cv2.resize(photo.mask.astype(np.float32), small_hw[::-1], interpolation=cv2.INTER_AREA) >= 0.5),
        points=points,
        side=photo.side,
    )
    rest = turn.copy()
    rest[:, :2] /= ratio
    return small, rest


def _largest_hand(picture: UInt8[np.ndarray, "h w 3"], path: Path) -> tuple[Side, FoundHand]:
    detector = HolisticDetector()
    detector.identity()  # says what to install where MediaPipe is missing
    detector.setup()
    try:
        height, width = picture.shape[:2]
        found = detector.detect(picture, np.array([[0, 0, width, height]], np.float32)).hands
    finally:
        detector.close()
    if not found:
        raise UserError(f"{path}: no hand was found: give a photograph in which the whole hand is seen")
    return max(found.items(), key=lambda item: hand_length(item[1].points))
