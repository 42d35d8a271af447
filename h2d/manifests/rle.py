"""Masks as COCO's compressed run lengths: a mapping of `size` [height, width] and `counts`, an ASCII string.

Any COCO tool reads them. Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from h2d.errors import UserError


def encode_rle(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """Encode a mask; no mask is too small, and an empty one stays empty."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": encoded["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """Decode a mask; raises `UserError` when the run lengths are damaged."""
    return decode_joined([rle])


def decode_joined(rles: Sequence[Mapping[str, Any]]) -> Bool[np.ndarray, "h w"]:
    """Decode masks of one picture into one that has the pixels of all; raises `UserError` when one is damaged.

    They are joined as run lengths, which are far fewer than pixels.
    """
    from pycocotools import mask as coco

    checked = [_checked(rle) for rle in rles]
    sizes = {tuple(rle["size"]) for rle in checked}
    if len(sizes) > 1:
        raise UserError(f"damaged masks: one picture's have the sizes {sorted(sizes)}: prepare it again")
    decoded = coco.decode(coco.merge(checked) if len(checked) > 1 else checked[0])
    return np.asarray(decoded, np.uint8).view(bool)


def _checked(rle: Mapping[str, Any]) -> dict[str, Any]:
    """As pycocotools takes it."""
    height, width = _checked_size(rle)
    counts = rle["counts"]
    total = _total_of_runs(counts)
    if total != height * width:
        raise UserError(
            f"damaged mask: its runs cover {total} pixels, but its size is {height} x {width}: prepare it again"
        )
    return {"size": [height, width], "counts": counts.encode("ascii")}


def _checked_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    size, counts = rle.get("size"), rle.get("counts")
    whole = size is not None and len(size) == 2 and all(int(side) > 0 for side in size)
    if size is None or not whole or not isinstance(counts, str) or not counts:
        raise UserError(f"damaged mask: size {size!r}, counts of type {type(counts).__name__}: prepare it again")
    return int(size[0]), int(size[1])


def _total_of_runs(counts: str) -> int:
    """The pixels that compressed counts cover: pycocotools reads and writes past its buffers when the sum is wrong.

    Each count is little-endian in groups of five bits, a sixth saying that more follow, 48 added to make a character;
    from the fourth on, a count is a difference from the one two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise UserError(f"damaged mask: {character!r} is no character of COCO run lengths: prepare it again")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise UserError("damaged mask: a negative run length: prepare it again")
        runs.append(value)
        value = shift = 0
    if shift:
        raise UserError("damaged mask: its run lengths are cut off: prepare it again")
    return sum(runs)
