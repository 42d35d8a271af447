"""Lines and dots at parts of a pixel, smooth, into a picture: for pictures that people look at.

Points are x, y in pixels, the centre of the first pixel at 0.5. Axis legend: h height, w width.
"""

from typing import Final, TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue, 0..255."""

INK: Final[Colour] = (15, 18, 28)
"""Of the edges that make strokes stand out on any picture."""
_SHIFT: Final = 4
"""OpenCV takes points as integers with so many binary places after the point."""


def line(
    picture: UInt8[np.ndarray, "h w 3"], start: np.ndarray, end: np.ndarray, colour: Colour, width_px: float
) -> None:
    """Draw a line, at least one pixel wide."""
    cv2.line(picture, _fixed(start), _fixed(end), colour, max(1, round(width_px)), cv2.LINE_AA, _SHIFT)


def dot(picture: UInt8[np.ndarray, "h w 3"], centre: np.ndarray, radius_px: float, colour: Colour) -> None:
    """Draw a filled disc."""
    radius = max(1, round(radius_px * 2**_SHIFT))
    cv2.circle(picture, _fixed(centre), radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """OpenCV's fixed-point coordinates, where the centre of the first pixel is 0, not 0.5."""
    limit = 2**20
    x, y = np.clip((point[:2].astype(np.float64) - 0.5) * 2**_SHIFT, -limit, limit)
    return round(float(x)), round(float(y))
