"""Hand masks that the dataset brings: its file for the whole source picture, cut to each view.

Axis legend: h height, w width.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from h2d.annotate.base import HandMask, HandView
from h2d.annotate.masks.cleanup import recall
from h2d.annotate.masks.prompts import size_of
from h2d.config import config
from h2d.images import DecodeError, refuse_bomb
from h2d.manifests.io import Location
from h2d.manifests.masks import project_mask
from h2d.pose.layouts import HAND_BONES, Side
from h2d.pose.points import present


class MaskSizeError(ValueError):
    """A mask that is not as large as its picture."""


@config
class GivenSegmenter:
    """Reads masks instead of drawing them; they are taken as they are, without cleaning or refusal."""

    batch_size: int = 1
    """Views are worked on one by one."""

    def identity(self) -> Mapping[str, Any]:
        """It has no choices."""
        return {"name": "given"}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def segment(self, views: Sequence[HandView]) -> list[dict[Side, HandMask]]:
        """One answer per view, in order; raises an error that names the file when one cannot be used.

        That is `DecodeError` when it cannot be read, `MaskSizeError` when it is not as large as its picture.
        """
        return [_segment_view(view) for view in views]


def read_given_mask(file: Location) -> Bool[np.ndarray, "h w"]:
    """Where the mask file shows a hand; raises `DecodeError` when it is damaged or not a picture.

    That is where any colour is above 0; in a black picture with a cut-out alpha channel, where that is.
    """
    # Not `load_rgb`: a mask may have one channel, an alpha channel, or 16 bits.
    encoded = file.read_bytes()
    refuse_bomb(encoded)
    data = np.frombuffer(encoded, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if pixels is None:
        raise DecodeError(f"{file}: the mask cannot be decoded")
    if pixels.ndim == 2:
        return np.asarray(pixels > 0)
    colours, has_alpha = pixels[..., :3], pixels.shape[2] == 4
    if not has_alpha:
        return np.asarray(colours.any(axis=2))
    opaque = pixels[..., 3] > 0
    only_alpha = not colours.any() and not opaque.all()
    return np.asarray(opaque if only_alpha else opaque & colours.any(axis=2))


def cut_mask(
    mask: Bool[np.ndarray, "h w"], box_xywh: tuple[float, float, float, float], size_hw: tuple[int, int]
) -> Bool[np.ndarray, "h2 w2"]:
    """The square box of a source picture's mask, in pixels of a crop of `size_hw`; nothing outside the picture."""
    left, top, width, _ = box_xywh
    scale = size_hw[1] / width
    # One pixel more on each side, for the interpolation.
    columns = slice(max(0, math.floor(left) - 1), max(0, math.ceil(left + width) + 1))
    rows = slice(max(0, math.floor(top) - 1), max(0, math.ceil(top + size_hw[0] / scale) + 1))
    part = mask[rows, columns]
    if not part.any():
        return np.zeros(size_hw, bool)
    return project_mask(part, (columns.start - left, rows.start - top, part.shape[1], part.shape[0]), scale, size_hw)


def nearer_hand(
    hands: Mapping[Side, Float32[np.ndarray, "21 3"]], size_hw: tuple[int, int]
) -> dict[Side, Bool[np.ndarray, "h w"]]:
    """Which pixels are nearer to this hand's skeleton than to the other's; all of them if it is the only one."""
    distances = {side: _distance_to_skeleton(points, size_hw) for side, points in hands.items()}
    nearest = np.min(list(distances.values()), axis=0)
    taken = np.zeros(size_hw, bool)
    shares: dict[Side, Bool[np.ndarray, "h w"]] = {}
    for side, distance in distances.items():
        shares[side] = np.asarray((distance == nearest) & ~taken)
        taken |= shares[side]
    return shares


def _segment_view(view: HandView) -> dict[Side, HandMask]:
    size_hw = size_of(view.picture)
    if view.given_mask is None or not view.given_mask.is_file():
        problem = f"no mask file {view.given_mask.name}" if view.given_mask else "the dataset names no mask file"
        return {side: HandMask(mask=None, quality=0.0, problem=problem) for side in view.hands}
    whole = read_given_mask(view.given_mask)
    if view.source_size_hw not in (None, whole.shape):
        sizes = (f"{size[1]} x {size[0]}" for size in (whole.shape, view.source_size_hw or ()))
        raise MaskSizeError(f"{view.given_mask}: the mask and its picture differ in size: {' and '.join(sizes)} pixels")
    mask = cut_mask(whole, view.crop_box_xywh, size_hw)
    shares = nearer_hand({**view.hands, **view.others}, size_hw)
    return {side: _judged(mask & shares[side], points) for side, points in view.hands.items()}


def _judged(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"]) -> HandMask:
    if not mask.any():
        return HandMask(mask=None, quality=0.0, problem="the given mask is empty here")
    return HandMask(mask=mask, quality=recall(mask, points))


def _distance_to_skeleton(points: Float32[np.ndarray, "21 3"], size_hw: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    height, width = size_hw
    there = present(points)
    # Drawn on a canvas with a border of its own size, so that bones outside the crop count as well.
    canvas = np.ones((3 * height, 3 * width), np.uint8)
    bones = [(start, end) for start, end in HAND_BONES if there[start] and there[end]]
    for start, end in bones:
        first, last = (np.floor(points[joint, :2] + [width, height]).astype(int) for joint in (start, end))
        cv2.line(canvas, first.tolist(), last.tolist(), (0,))
    if not bones:
        return np.full(size_hw, np.inf, np.float32)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[height : 2 * height, width : 2 * width], np.float32)
