"""Any folder of pictures, for people with their own data."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from h2d.config import config
from h2d.errors import UserError
from h2d.manifests.io import Entry, GivenLocation, location
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.links import LEADS_OUT, REMEDY, Bounds, within_bounds
from h2d.pipelines.sources.listing import kind_of, picture_stem, printable, visible_entries

_SPLITS: Final = ("train", "val", "test")


@config
class FolderSource:
    """Lists every picture below a folder; the id is its path without the extension.

    The extension stays in the id where two pictures would otherwise share it (`a.jpg`, `a.png`). Hidden files and
    folders are skipped; other files that are not pictures are findings. A folder that can be reached by two ways, as
    through a symbolic link, is listed once, by the way without links; one outside is not entered.
    """

    name: ClassVar[str] = "folder"

    root: GivenLocation
    recursive: bool = True
    split: str = "train"
    """The split that every picture goes to: "train", "val" or "test"."""
    follow_links: bool = False
    """Whether to read what links lead to out of the dataset's folder: only when the links are your own."""

    def __post_init__(self) -> None:
        """Refuse a split that the manifest does not know."""
        if self.split not in _SPLITS:
            raise UserError(f"split = {self.split!r}: choose one of {', '.join(_SPLITS)}")

    def describe(self) -> str:
        """One line with the number of pictures; raises `UserError` when there is none."""
        where = "this folder or below it" if self.recursive else "this folder (its subfolders are left out)"
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder: give the one that holds your pictures")
        items = within_bounds(self.records(), self)
        kinds = Counter("" if isinstance(item, Record) else item.kind for item in items)
        num_pictures = kinds[""]
        if not num_pictures and LEADS_OUT in kinds:
            raise UserError(f"{self.root}: no picture in {where}{REMEDY}")
        if not num_pictures:
            raise UserError(f"{self.root}: no picture in {where}: give one that holds .jpg, .png or other pictures")
        return f"{num_pictures} picture{'s' if num_pictures > 1 else ''} in {where}, split {self.split}"

    def options(self) -> Mapping[str, Any]:
        """The choices as given."""
        return {"recursive": self.recursive, "split": self.split}

    def records(self) -> Iterator[Record | Finding]:
        """Every picture, folder by folder, and a finding for every other file."""
        seen: set[tuple[int, int] | str] = set()
        bounds = Bounds([] if self.follow_links else [self.root])
        folders, links = [("", str(self.root))], list[tuple[str, str]]()
        while folders or links:
            below, path = folders.pop() if folders else links.pop()
            identity = _identity(path)
            if identity in seen:
                yield Finding(kind="folder_listed_already", split=self.split, name=printable(below))
                continue
            seen.add(identity)
            entries = sorted(visible_entries(path), key=lambda entry: entry.name, reverse=True)
            if self.recursive:
                for entry in (entry for entry in entries if kind_of(entry) == "folder"):
                    if bounds.hold(entry.path):
                        (links if entry.is_symlink() else folders).append((f"{below}{entry.name}/", entry.path))
                    else:
                        yield Finding(kind=LEADS_OUT, split=self.split, name=printable(f"{below}{entry.name}/"))
            yield from self._files(below, [entry for entry in reversed(entries) if kind_of(entry) != "folder"])

    def _files(self, below: str, entries: list["os.DirEntry[str] | Entry"]) -> Iterator[Record | Finding]:
        names = {entry.name for entry in entries}
        same_stem = Counter(picture_stem(name) for name in names)
        for entry in entries:
            stem = picture_stem(entry.name)
            path = below + entry.name
            kind = kind_of(entry)
            if kind == "broken link":
                yield Finding(kind="broken_link", split=self.split, name=printable(path))
            elif stem is None or kind != "file":
                yield Finding(kind="not_a_picture", split=self.split, name=printable(path))
            elif printable(path) != path:
                yield Finding(kind="name_not_utf8", split=self.split, name=printable(path))
            else:
                is_shared = same_stem[stem] > 1 or stem in names
                yield Record(
                    id=f"folder/{path if is_shared else below + stem}",
                    split=self.split,
                    path=path,
                    size_bytes=entry.stat().st_size,
                )


def _identity(folder: str) -> tuple[int, int] | str:
    """The same for every way to a folder."""
    place = location(folder)
    if isinstance(place, Path):
        status = place.stat()
        return status.st_dev, status.st_ino
    return folder
