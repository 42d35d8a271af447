"""Damaged picture files, and the defects that every dataset shares."""

import io
from typing import Final

from PIL import Image

from h2d.synth.defects.base import Defect
from h2d.synth.layouts.base import Wish

_ORIENTATION: Final = 0x0112
_TURNED_LEFT: Final = 6


def truncated(data: bytes) -> bytes:
    """The first half of the file."""
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    """No bytes at all."""
    return b""


def absent(data: bytes) -> None:
    """No file."""
    return None


def web_page(data: bytes) -> bytes:
    """What a server sends instead of a picture that is gone."""
    return b"<!DOCTYPE html>\n<title>404 Not Found</title>\n<p>The requested picture was not found.</p>\n"


def exif_rotated(data: bytes) -> bytes:
    """The same pixels with a note that a viewer should turn them by a quarter."""
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURNED_LEFT
    return _encoded(Image.open(io.BytesIO(data)), exif=exif)


def cmyk(data: bytes) -> bytes:
    """A JPEG in printing colours."""
    return _encoded(Image.open(io.BytesIO(data)).convert("CMYK"))


def greyscale(data: bytes) -> bytes:
    """A JPEG with one channel."""
    return _encoded(Image.open(io.BytesIO(data)).convert("L"))


def _encoded(picture: Image.Image, exif: Image.Exif | None = None) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, **({"exif": exif} if exif else {}))
    return buffer.getvalue()


UNREADABLE: Final = (
    Defect(
        kind="truncated_picture",
        expect="Rejected when it is read: the file ends in the middle.",
        caught_by="read",
        wish=Wish(picture_damage=truncated),
    ),
    Defect(
        kind="empty_picture",
        expect="Rejected when it is read: the file has no bytes.",
        caught_by="read",
        wish=Wish(picture_damage=empty),
    ),
    Defect(
        kind="web_page_as_picture",
        expect="Rejected when it is read: a page of text under a picture's name.",
        caught_by="read",
        wish=Wish(picture_damage=web_page),
    ),
)

ODD_JPEGS: Final = (
    Defect(
        kind="exif_rotated",
        expect="Accepted as its pixels are stored, not turned: the labels are in stored pixels too.",
        caught_by="nothing",
        wish=Wish(picture_damage=exif_rotated),
    ),
    Defect(
        kind="cmyk_picture",
        expect="Accepted, its printing colours turned into red, green and blue.",
        caught_by="nothing",
        wish=Wish(picture_damage=cmyk),
    ),
    Defect(
        kind="greyscale_picture",
        expect="Accepted, its one channel taken for all three.",
        caught_by="nothing",
        wish=Wish(picture_damage=greyscale),
    ),
)

ODD_SCENES: Final = (
    Defect(
        kind="no_hand_in_view",
        expect="Rejected when no hand is found.",
        caught_by="pose",
        wish=Wish(hands_in_view=False),
    ),
    Defect(
        kind="two_people",
        expect="Accepted, or left out where one person is asked for: there are two.",
        caught_by="nothing",
        wish=Wish(num_people=2),
    ),
)
