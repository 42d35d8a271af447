"""What a folder holds: its visible entries, and which of them are pictures by their name."""

import os
from collections.abc import Sequence
from typing import Final, Literal

from h2d.errors import UserError
from h2d.manifests.io import Address, Entry, location

PICTURE_SUFFIXES: Final = frozenset({"jpeg", "jpg", "jp2", "png", "tiff", "tif", "jfif", "bmp", "webp", "heic"})
"""Without the dot, in lower case: HaGRID's own list, and `tif`. What cannot be decoded is rejected later, by name."""

_MOST: Final = 200


def visible_entries(folder: str) -> Sequence[os.DirEntry[str] | Entry]:
    """The entries of a folder that are not hidden, in no order; raises `UserError` when it cannot be listed."""
    try:
        place = location(folder)
        if isinstance(place, Address):
            return [entry for entry in place.entries() if not entry.name.startswith(".")]
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot list this folder: {error.strerror}") from None


def kind_of(entry: os.DirEntry[str] | Entry) -> Literal["file", "folder", "broken link", "other"]:
    """What the entry is, symbolic links followed."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # a link to itself, or into a folder that may not be entered
        return "broken link"
    return "broken link" if entry.is_symlink() else "other"


def picture_stem(name: str) -> str | None:
    """The file name without its extension, or None when the extension is not a picture's."""
    stem, _, suffix = name.rpartition(".")
    return stem if stem and suffix.lower() in PICTURE_SUFFIXES else None


def printable(name: str) -> str:
    """The name with bytes that are not UTF-8 spelt out, so that it can be written to a report."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def reason(error: Exception) -> str:
    """An error of a file's reader in part of a line, whatever of the file it repeats."""
    words = " ".join(printable(str(error)).split())
    return f"{type(error).__name__}: {words[:_MOST]}{'...' if len(words) > _MOST else ''}"
