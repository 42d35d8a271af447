"""Which of InterHand2.6M's pictures are there: its camera folders listed, and compared with the labels.

Axis legend: n entries.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from h2d.pipelines.sources.base import Finding
from h2d.pipelines.sources.interhand_labels import Entries
from h2d.pipelines.sources.listing import kind_of, picture_stem, printable, visible_entries


def find_pictures(
    entries: Entries, pictures: Path, split: str, root: Path
) -> Generator[Finding, None, Int64[np.ndarray, " n"]]:
    """Look for every entry's picture, a folder at a time; returns their sizes in bytes, -1 for one that is not there.

    Yields what does not match on the way: with the labels of 30 pictures a second beside 5 of them, millions.
    """
    sizes = np.full(len(entries.frame), -1, np.int64)
    order = np.argsort(np.asarray(entries.place), kind="stable").astype(np.int32)
    counts = np.bincount(np.asarray(entries.place, np.int32), minlength=len(entries.places))
    known: set[str] = set()
    first = 0
    for number, place in enumerate(entries.places):
        rows = order[first : first + counts[number]].tolist()
        first += counts[number]
        known.add(place.below)
        there = _files(pictures / place.below)
        if there is None:
            yield Finding(kind="folder_without_pictures", split=split, name=joined(split, place.below))
            continue
        frames: set[int] = set()
        for row in rows:
            name, frame = entries.name(row), entries.frame[row]
            size_bytes = there.pop(name, None)
            if frame in frames:
                yield Finding(kind="duplicate_entry", split=split, name=joined(split, place.below, name))
            elif size_bytes is None:
                yield Finding(kind="entry_without_picture", split=split, name=joined(split, place.below, name))
            else:
                sizes[row] = size_bytes
            frames.add(frame)
        if place.below:
            for name in there:
                yield _unlisted(root, pictures / place.below / name, split)
    for folder in _camera_folders(pictures):
        if folder.relative_to(pictures).as_posix() not in known:
            for name in _files(folder) or ():
                yield _unlisted(root, folder / name, split)
    return sizes


def joined(*parts: str) -> str:
    """A path out of its parts, empty ones left out."""
    return "/".join(part for part in parts if part)


def _unlisted(root: Path, file: Path, split: str) -> Finding:
    return Finding(kind="picture_without_entry", split=split, name=printable(file.relative_to(root).as_posix()))


def _files(folder: Path) -> dict[str, int] | None:
    """The sizes of a folder's pictures by name; None when there is no such folder."""
    if not folder.is_dir():
        return None
    return {
        entry.name: entry.stat().st_size
        for entry in visible_entries(str(folder))
        if picture_stem(entry.name) and kind_of(entry) == "file"
    }


def _camera_folders(pictures: Path) -> Iterator[Path]:
    """The folders at the depth of a camera's, as `Capture0/0000_neutral_relaxed/cam400002`."""
    folders = [pictures]
    for _ in range(3):
        folders = [
            folder / entry.name
            for folder in folders
            for entry in sorted(visible_entries(str(folder)), key=lambda entry: entry.name)
            if kind_of(entry) == "folder"
        ]
    yield from folders
