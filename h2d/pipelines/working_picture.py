"""The working picture: what is kept of an original, so that originals are read once.

A JPEG that is small enough is kept byte for byte. A larger one is reduced by a whole factor: averaging whole blocks
is exact, twenty times cheaper than a fractional area resize, and makes every coordinate an exact multiple.
Axis legend: h w size of the original, h2 w2 size of the working picture.
"""

import io
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from h2d.config import config
from h2d.images import DecodeError, encode_jpeg

_EXIF_ORIENTATION: Final = 0x0112


@config
class PictureConfig:
    """How much of the original is kept."""

    long_side: int = 1024
    """Pixels at most; the input size of SAM. Our choice."""
    jpeg_quality: int = 95
    """Of working pictures that are encoded again."""

    def __post_init__(self) -> None:
        if self.long_side < 64:
            raise ValueError(f"long_side must be at least 64, got {self.long_side}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality must be 1 to 100, got {self.jpeg_quality}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkingPicture:
    """The encoded working picture."""

    data: bytes
    size_hw: tuple[int, int]
    scale: float
    """Working size / source size: 1, 1/2, 1/3 ..."""


def working_picture(original: bytes, picture: UInt8[np.ndarray, "h w 3"], settings: PictureConfig) -> WorkingPicture:
    """Reduce a decoded original and encode it, or keep its own bytes when nothing would change.

    Raises `DecodeError` for a strip that is too narrow to be reduced.
    """
    height, width = picture.shape[:2]
    factor = -(-max(height, width) // settings.long_side)
    if factor == 1 and _shows_as_stored(original):
        return WorkingPicture(data=original, size_hw=(height, width), scale=1.0)
    if min(height, width) < factor:
        raise DecodeError(f"{width} x {height} pixels: so narrow that nothing is left of it at {settings.long_side}")
    small = _reduced(picture, factor)
    data = encode_jpeg(small, quality=settings.jpeg_quality)
    return WorkingPicture(data=data, size_hw=(small.shape[0], small.shape[1]), scale=1 / factor)


def _reduced(picture: UInt8[np.ndarray, "h w 3"], factor: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Average blocks of `factor` x `factor`; the rows and columns that fill no whole block are left out."""
    if factor == 1:
        return picture
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    whole = picture[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _shows_as_stored(original: bytes) -> bool:
    """Whether every viewer shows this file's pixels as we decode them: an RGB JPEG without EXIF rotation."""
    if original[:2] != b"\xff\xd8":
        return False
    try:
        with Image.open(io.BytesIO(original)) as header:
            return header.mode == "RGB" and bool(header.getexif().get(_EXIF_ORIENTATION, 1) == 1)
    except Exception:  # noqa: BLE001  # OpenCV decoded it; where Pillow cannot read its header, it is encoded again
        return False
