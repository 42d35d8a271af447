"""Features of pictures, whoever computed them, and pictures of nothing but the person.

Axis legend: n pictures, c channels, h w pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.errors import UserError

RANDOM: Final = "random-features"
"""What features of a network without trained weights are called, wherever they appear."""

WIDTHS: Final = (64, 192, 768, 2048)
"""Channels of InceptionV3's layers that are compared; the paper takes 192."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PictureFeatures:
    """One row a picture for each width, in the order of the list."""

    by_width: Mapping[int, Float32[np.ndarray, "n c"]]
    identity: Mapping[str, Any]
    """What computed them, JSON-ready: `features`, `weights`, `resize`. Two sets compare only where it is equal."""

    def __post_init__(self) -> None:
        assert len({len(rows) for rows in self.by_width.values()}) == 1
        assert all(rows.shape[1] == width for width, rows in self.by_width.items())

    @property
    def num_pictures(self) -> int:
        """How many."""
        return len(next(iter(self.by_width.values())))


def foreground(
    picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "rows columns"], *, fill: int = 0
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with everything outside the mask in one grey level, 0..255: what the paper's foreground figures see.

    The paper names no colour; 0 is our choice, and 128 is the middle of what Inception sees. Raises `UserError` where
    the mask is of another size.
    """
    if mask.shape != picture.shape[:2]:
        (height, width), (rows, columns) = picture.shape[:2], mask.shape
        raise UserError(f"a mask of {columns} x {rows} for a picture of {width} x {height}: segment this very picture")
    if not 0 <= fill <= 255:
        raise UserError(f"fill is {fill}: give a grey level from 0 to 255")
    return np.where(mask[..., None], picture, np.uint8(fill))
