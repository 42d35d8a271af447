"""The canvas of stage 2: hands put where they were cut from, and put back at the end (III-C).

A crop is a square of whole pixels of the picture, so a hand's way back is one resize and one shift, the inverse of
`h2d.annotate.crops.cut`. Axis legend: h w picture size, s crop size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from h2d.annotate.crops import Crop
from h2d.images import resize
from h2d.infer.blending.base import Box
from h2d.models.outpainter import Fill

Paste: TypeAlias = Literal["hard", "feather", "poisson", "none"]
"""How the hand's pixels get back into the decoded picture. `hard` is the paper's; `off` leaves the decoder's."""

FILL_LEVELS: Final[dict[Fill, int]] = {"grey": 128, "black": 0, "white": 255}


@dataclass(frozen=True, kw_only=True, slots=True)
class HandPicture:
    """A hand in its crop, as stage 1 makes it."""

    crop: Crop
    picture: UInt8[np.ndarray, "s s 3"]
    mask: Bool[np.ndarray, "s s"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """What stage 2 starts from."""

    picture: UInt8[np.ndarray, "h w 3"]
    """The hands on the fill: I_c."""
    mask: Bool[np.ndarray, "h w"]
    """Where the hands are: m_c."""
    crops: UInt8[np.ndarray, "h w 3"]
    """The same with the whole crops, their background included; for the blend `bbox`."""
    boxes: tuple[Box, ...]
    """The squares of the crops."""


def compose(hands: Sequence[HandPicture], size_hw: tuple[int, int], *, fill: Fill = "grey") -> Canvas:
    """Lay the hands onto the fill. Where they meet the larger one is on top: it is nearer (our choice)."""
    picture = np.full((*size_hw, 3), FILL_LEVELS[fill], np.uint8)
    crops = picture.copy()
    mask = np.zeros(size_hw, bool)
    for hand in sorted(hands, key=lambda hand: hand.crop.box_xywh[2]):
        placed = _inside(hand.crop.box_xywh, size_hw)
        if placed is None:
            continue
        target, source = placed
        side = hand.crop.box_xywh[2]
        small = resize(hand.picture, (side, side))[source]
        kept = resize_mask(hand.mask, (side, side))[source]
        picture[target][kept] = small[kept]
        crops[target] = small
        mask[target] |= kept
    return Canvas(picture=picture, mask=mask, crops=crops, boxes=tuple(hand.crop.box_xywh for hand in hands))


def paste(
    decoded: UInt8[np.ndarray, "h w 3"], canvas: Canvas, *, how: Paste = "hard", feather_px: float = 3.0
) -> UInt8[np.ndarray, "h w 3"]:
    """I = m_c I_c + (1 - m_c) D(x_0); `feather` mixes over the hand's rim. Outside every pixel stays the decoder's."""
    if how == "none" or not canvas.mask.any():
        return decoded
    if how == "poisson":
        return _cloned(decoded, canvas)
    if how == "hard":
        result = decoded.copy()
        result[canvas.mask] = canvas.picture[canvas.mask]
        return result
    depth = cv2.distanceTransform(canvas.mask.astype(np.uint8), cv2.DIST_L2, 5)
    weight = np.clip(depth / max(feather_px, 1e-6), 0, 1)[..., None]
    return np.asarray(np.rint(weight * canvas.picture + (1 - weight) * decoded), np.uint8)


def resize_mask(mask: Bool[np.ndarray, "h w"], size_hw: tuple[int, int]) -> Bool[np.ndarray, "h2 w2"]:
    """A pixel belongs to the mask when the mask covers half of it."""
    if mask.shape == size_hw:
        return mask
    shrinking = size_hw[0] <= mask.shape[0]
    covered = cv2.resize(
        mask.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    return np.asarray(covered >= 0.5)


_Window: TypeAlias = tuple[slice, slice]


def _inside(box_xywh: Box, size_hw: tuple[int, int]) -> tuple[_Window, _Window] | None:
    """The part of a box in the picture, by the picture's rows and columns and by its own; None if there is none."""
    left, top, width, height = box_xywh
    rows = slice(max(top, 0), min(top + height, size_hw[0]))
    columns = slice(max(left, 0), min(left + width, size_hw[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    own = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    return (rows, columns), own


def _cloned(decoded: UInt8[np.ndarray, "h w 3"], canvas: Canvas) -> UInt8[np.ndarray, "h w 3"]:
    """Poisson editing: the hand's gradients, the surroundings' colours at its rim."""
    rows, columns = np.nonzero(canvas.mask)
    middle = int((columns.min() + columns.max()) // 2), int((rows.min() + rows.max()) // 2)
    mask = canvas.mask.astype(np.uint8) * 255
    return np.asarray(cv2.seamlessClone(canvas.picture, decoded, mask, middle, cv2.NORMAL_CLONE), np.uint8)
