"""Using stored masks: the paper's dilation when they are read, its picture, and laying a crop's mask into the picture.

Axis legend: h height, w width.
"""

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.errors import UserError
from h2d.manifests.rle import decode_rle

DEFAULT_DILATION: Final = 5
"""The paper's: a square of 5 x 5 pixels, once, against ragged edges and specks."""

_TINT: Final = (255, 64, 160)
_RING: Final = (64, 255, 96)


def read_mask(rle: Mapping[str, Any], *, dilation: int = DEFAULT_DILATION) -> Bool[np.ndarray, "h w"]:
    """Decode a stored mask and dilate it; `dilation=0` gives what the segmenter drew. Raises `UserError` if damaged."""
    return dilate(decode_rle(rle), dilation)


def dilate(mask: Bool[np.ndarray, "h w"], size: int = DEFAULT_DILATION) -> Bool[np.ndarray, "h w"]:
    """Grow the mask by a square of `size` x `size` pixels; 0 and 1 leave it as it is. Raises `UserError` if even."""
    if size < 0 or (size > 0 and size % 2 == 0):
        raise UserError(f"mask dilation {size}: give an odd number of pixels, or 0 for none")
    if size <= 1:
        return mask
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:  # as COCO's masks are; OpenCV would copy it twice
        return dilate(mask.T, size).T
    grown = cv2.dilate(mask.view(np.uint8), np.ones((size, size), np.uint8))
    return np.asarray(grown, np.uint8).view(bool)


def project_mask(
    mask: Bool[np.ndarray, "h w"],
    crop_box_xywh: tuple[float, float, float, float],
    image_scale: float,
    size_hw: tuple[int, int],
) -> Bool[np.ndarray, "h2 w2"]:
    """Lay a crop's mask into the working picture of `size_hw`; what lies outside it falls away.

    `crop_box_xywh` is in source pixels, `image_scale` is working / source. Pixel edges coincide. A pixel belongs to the
    result when the mask covers at least half of it, by area when shrinking and by linear interpolation when growing.
    """
    result = np.zeros(size_hw, bool)
    if not mask.any():
        return result
    left, top, width, height = (side * image_scale for side in crop_box_xywh)
    scale_x, scale_y = width / mask.shape[1], height / mask.shape[0]
    rows, columns = _span(mask.any(axis=1)), _span(mask.any(axis=0))
    left, top = left + columns.start * scale_x, top + rows.start * scale_y
    part = mask[rows, columns].astype(np.float32)
    target_rows = _reached(top, top + part.shape[0] * scale_y, size_hw[0])
    target_columns = _reached(left, left + part.shape[1] * scale_x, size_hw[1])
    size = target_rows.stop - target_rows.start, target_columns.stop - target_columns.start
    if 0 in size:
        return result
    left, top = left - target_columns.start, top - target_rows.start
    if scale_x < 1 and scale_y < 1:
        covered = _overlaps(part.shape[0], top, scale_y, size[0]) @ part
        covered = covered @ _overlaps(part.shape[1], left, scale_x, size[1]).T
    else:
        # cv2 counts from pixels' centres, we from their edges.
        shift_x, shift_y = left + 0.5 * scale_x - 0.5, top + 0.5 * scale_y - 0.5
        to_target = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
        covered = np.asarray(cv2.warpAffine(part, to_target, size[::-1], flags=cv2.INTER_LINEAR), np.float32)
    result[target_rows, target_columns] = covered >= 0.5 - 1e-4
    return result


def mask_steps(
    picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], *, dilation: int = DEFAULT_DILATION
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The paper's figure 3: the picture with the mask, with the dilated mask, and what the dilation added."""
    grown = dilate(mask, dilation)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    added = np.asarray(grey // 2, np.uint8)
    added[grown & ~mask] = _RING
    panels = [
        ("mask", _tinted(picture, mask)),
        (f"dilated {dilation} x {dilation}" if dilation > 1 else "not dilated", _tinted(picture, grown)),
        ("difference", added),
    ]
    gap = np.full((1, max(2, picture.shape[1] // 64), 3), 255, np.uint8)
    titled = [_with_caption(panel, caption) for caption, panel in panels]
    gaps = np.broadcast_to(gap, (titled[0].shape[0], *gap.shape[1:]))
    return np.concatenate([titled[0], gaps, titled[1], gaps, titled[2]], axis=1)


def _span(marks: Bool[np.ndarray, " n"]) -> slice:
    """From the first mark to the last; there must be one."""
    places = np.flatnonzero(marks)
    return slice(int(places[0]), int(places[-1]) + 1)


def _reached(start: float, stop: float, size: int) -> slice:
    """The pixels of an axis that the interval touches, those that interpolation reaches included."""
    first = min(size, max(0, int(np.floor(start)) - 1))
    return slice(first, max(first, min(size, int(np.ceil(stop)) + 1)))


def _overlaps(num_from: int, offset: float, scale: float, num_to: int) -> Float32[np.ndarray, "num_to num_from"]:
    """How much of each target pixel each source pixel covers, along one axis."""
    start = offset + scale * np.arange(num_from)
    place = np.arange(num_to)[:, None]
    shared = np.minimum(place + 1, start + scale) - np.maximum(place, start)
    return np.asarray(np.clip(shared, 0, None), np.float32)


def _tinted(picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    tinted = picture.copy()
    tinted[mask] = (0.5 * picture[mask] + 0.5 * np.array(_TINT)).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tinted, contours, -1, _TINT, 1)
    return tinted


def _with_caption(panel: UInt8[np.ndarray, "h w 3"], caption: str) -> UInt8[np.ndarray, "h2 w 3"]:
    from PIL import Image, ImageDraw, ImageFont

    width = panel.shape[1]
    letters = max(10, width // 24)
    strip = Image.new("RGB", (width, 2 * letters), "white")
    font = ImageFont.load_default(letters)
    ImageDraw.Draw(strip).text((width / 2, letters), caption, fill="black", font=font, anchor="mm")
    return np.concatenate([panel, np.asarray(strip)], axis=0)
