"""Pictures in and out: files and bytes to RGB arrays and back.

Everywhere in files and tables a picture is RGB uint8, height x width x 3, 0..255, in the orientation in which its
pixels are stored: EXIF rotation is not applied, because the datasets' labels are in stored pixels (our choice).
Axis legend: h height, w width.
"""

import io
import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

MAX_PIXELS = 200_000_000
"""Larger pictures are refused rather than risking the machine's memory."""

_FRAMES: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEGMENTS: Final = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
"""JPEG's markers of frame headers, and of what may stand before: tables, restart intervals, comments, applications'."""
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}
"""What brings the pixels of each EXIF orientation upright."""


class DecodeError(ValueError):
    """A picture that cannot be read: empty, truncated, of another format, or too large."""


def decode_rgb(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an encoded picture; raises `DecodeError` when it is damaged or not a picture."""
    if not data:
        raise DecodeError("the file is empty")
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-4096:]:
        raise DecodeError("the JPEG is truncated: its end marker is missing")
    refuse_bomb(data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise DecodeError(f"OpenCV refuses it: {error.err}") from None
    if picture is None:
        raise DecodeError("not a picture that can be decoded")
    _refuse_size(*picture.shape[:2])
    return np.asarray(picture, np.uint8)


def refuse_bomb(data: bytes) -> None:
    """Raise `DecodeError` when the header states too many pixels: a few kilobytes may unpack to gigabytes."""
    if stated := _jpeg_size(data):  # Pillow would take as long for the header as decoding does for a tenth of a picture
        _refuse_size(*stated)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow has a limit of its own, and much to say about damaged headers
            with Image.open(io.BytesIO(data)) as header:
                width, height = header.size
    except Image.DecompressionBombError as error:
        raise DecodeError(f"the pixels exceed the limit of {MAX_PIXELS}: {error}") from None
    except Exception:  # noqa: BLE001  # on damaged headers Pillow raises anything; whether it is a picture OpenCV says
        return
    _refuse_size(height, width)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The (height, width) in a JPEG's frame header; None where the segments before it are not plain ones."""
    place = 2
    while data[:2] == b"\xff\xd8" and place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, place)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return height, width
        if marker not in _SEGMENTS:
            return None
        place += 2 + length
    return None


def _refuse_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DecodeError(f"{width} x {height} pixels exceed the limit of {MAX_PIXELS}")


def load_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a picture file; raises `DecodeError` or `OSError`."""
    return decode_rgb(path.read_bytes())


def load_on_white(path: Path) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
    """Decode a picture file with white behind what is transparent, and say whether anything is.

    `decode_rgb` gives the colours that are stored, shown or not. Raises `DecodeError` or `OSError`.
    """
    data = path.read_bytes()
    picture = decode_rgb(data)
    shown = _with_transparency(data)
    if shown is None or shown.getchannel("A").getextrema() == (255, 255):
        return picture, False
    white = Image.new("RGBA", shown.size, "white")
    return np.asarray(Image.alpha_composite(white, shown).convert("RGB")), True


def _with_transparency(data: bytes) -> Image.Image | None:
    """The picture with its transparency, None where it has none that can be read."""
    try:
        with Image.open(io.BytesIO(data)) as stored:
            return stored.convert("RGBA") if stored.has_transparency_data else None
    except Exception:  # noqa: BLE001  # as in `refuse_bomb`: a picture that OpenCV has read is one
        return None


def load_upright_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a photograph as viewers show it, its EXIF rotation applied; raises `DecodeError` or `OSError`.

    For what a user hands over; datasets' labels are in stored pixels (`load_rgb`).
    """
    data = path.read_bytes()
    picture = decode_rgb(data)
    upright = _UPRIGHT.get(_orientation(data))
    return picture if upright is None else np.ascontiguousarray(upright(picture))


def _orientation(data: bytes) -> int:
    """EXIF's number, 1 where the picture states none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as header:
                return int(header.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  # as in `refuse_bomb`: a picture that OpenCV has read is one, whatever its header
        return 1


def encode_jpeg(picture: UInt8[np.ndarray, "h w 3"], *, quality: int = 95) -> bytes:
    """Encode as JPEG with 4:2:0 chroma."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def encode_png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Encode as PNG."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def fit_long_side(height: int, width: int, limit: int) -> tuple[int, int]:
    """The (height, width) with the same shape whose long side is at most `limit`; never larger than given."""
    scale = min(1.0, limit / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(picture: UInt8[np.ndarray, "h w *c"], size_hw: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 *c"]:
    """Resize by area when shrinking, bicubic when growing; pixel edges coincide, so points scale by the plain ratio."""
    height, width = size_hw
    if (height, width) == picture.shape[:2]:
        return picture
    shrinking = height <= picture.shape[0] and width <= picture.shape[1]
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def joined(pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], *, axis: int, gap_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures of one width below each other (axis 0), or of one height in a row (axis 1), with a white gap between."""
    height, width = pictures[0].shape[:2]
    gap = np.full((gap_px, width, 3) if axis == 0 else (height, gap_px, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.asarray(np.concatenate(parts, axis=axis), np.uint8)
