"""Masks as COCO's compressed run lengths: a mapping of `size` [height, width] and `counts`, an ASCII string.

Any COCO tool reads them. Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Int64

from h2d.errors import UserError

_LONGEST_COUNT: Final = 8
"""Characters: 40 bits are more pixels than a picture may have."""


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

    The result lies column by column, as the runs do.
    """
    sizes = [_size_of(rle) for rle in rles]
    if len(set(sizes)) > 1:
        raise UserError(f"damaged masks: one picture's have the sizes {sorted(set(sizes))}: prepare it again")
    height, width = sizes[0]
    joined = _pixels(rles[0]["counts"], height, width)
    for rle in rles[1:]:
        joined |= _pixels(rle["counts"], height, width)
    return joined.reshape(width, height).T


def _size_of(rle: Mapping[str, Any]) -> tuple[int, int]:
    size, counts = rle.get("size"), rle.get("counts")
    whole = size is not None and len(size) == 2 and all(int(side) > 0 for side in size)
    if size is None or not whole or not isinstance(counts, str) or not counts:
        raise UserError(f"damaged mask: size {size!r}, counts of type {type(counts).__name__}: prepare it again")
    return int(size[0]), int(size[1])


def _pixels(counts: str, height: int, width: int) -> Bool[np.ndarray, " n"]:
    """Column by column; the runs are outside the mask and inside it in turn."""
    runs = _runs(counts)
    total = int(runs.sum())
    if total != height * width:
        raise UserError(
            f"damaged mask: its runs cover {total} pixels, but its size is {height} x {width}: prepare it again"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def _runs(counts: str) -> Int64[np.ndarray, " n"]:
    """The lengths that compressed counts hold; raises `UserError` where they are none.

    Each count is little-endian in groups of five bits, a sixth saying that more follow, 48 added to make a character;
    from the fourth on, a count is a difference from the one two before. pycocotools reads damaged ones past its
    buffers.
    """
    groups = np.frombuffer(counts.encode(), np.uint8) - np.uint8(48)
    if (groups >= 64).any():
        wrong = next(character for character in counts if not 48 <= ord(character) < 112)
        raise UserError(f"damaged mask: {wrong!r} is no character of COCO run lengths: prepare it again")
    last = np.flatnonzero(groups < 32)
    if not len(last) or last[-1] != len(groups) - 1:
        raise UserError("damaged mask: its run lengths are cut off: prepare it again")
    lengths = np.diff(last, prepend=-1)
    if lengths.max() > _LONGEST_COUNT:
        raise UserError("damaged mask: a run longer than any picture: prepare it again")
    first = last + 1 - lengths
    place = np.arange(len(groups)) - np.repeat(first, lengths)
    runs = np.add.reduceat((groups & 31).astype(np.int64) << 5 * place, first)
    runs -= (groups[last] & 16 > 0).astype(np.int64) << 5 * lengths  # the highest bit is the sign
    for turn in (1, 2):
        runs[turn::2] = np.cumsum(runs[turn::2])
    if (runs < 0).any():
        raise UserError("damaged mask: a negative run length: prepare it again")
    return runs
