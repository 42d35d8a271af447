"""Links that lead out of the dataset: what a stranger's archive links to is not read, unless the user says so.

A picture that is in truth a file of this machine's, linked to from within a dataset, would go into a manifest that is
then shared. Links within the dataset are followed, and so is its folder itself when it is one.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from h2d.manifests.io import Location
from h2d.pipelines.sources.base import Finding, PartedSource, Record, Source

LEADS_OUT: Final = "link_leads_out"
"""The kind of finding that a picture becomes, or a folder, that lies elsewhere."""
REMEDY: Final = ": links lead out of it: give --follow-links if they are your own"
"""What to say when therefore nothing is left."""


class Bounds:
    """Folders that no link may lead out of; a store has no links, so any address lies within."""

    def __init__(self, folders: Sequence[Location]) -> None:
        self._real = [os.path.realpath(each).rstrip(os.sep) + os.sep for each in folders if isinstance(each, Path)]
        self._holds: dict[str, bool] = {}
        """Of folders that were asked for."""

    def hold(self, path: str) -> bool:
        """Whether the file or folder lies within, links followed."""
        if not self._real:
            return True
        if os.path.islink(path):  # noqa: PTH114  # a million times: paths would triple the time
            return self._is_within(os.path.realpath(path))
        folder = path.rpartition("/")[0]
        if folder not in self._holds:
            self._holds[folder] = self._is_within(os.path.realpath(folder))
        return self._holds[folder]

    def _is_within(self, real: str) -> bool:
        return any(f"{real}{os.sep}".startswith(folder) for folder in self._real)


def within_bounds(items: Iterable[Record | Finding], source: Source) -> Iterator[Record | Finding]:
    """A source's items; a record becomes a finding whose picture, mask, mesh or poses a link takes from elsewhere."""
    if source.follow_links or not isinstance(source.root, Path):
        yield from items
        return
    root = f"{source.root}/"
    images = source.images if isinstance(source, PartedSource) else None
    bounds = Bounds([source.root, *([] if images is None else [images])])
    for item in items:
        if isinstance(item, Record) and not all(map(bounds.hold, _paths(item, root))):
            yield Finding(kind=LEADS_OUT, split=item.split, name=item.path)
        else:
            yield item


def _paths(record: Record, root: str) -> Iterator[str]:
    for path in (record.path, record.mask_path, record.pose_path, *record.meshes.values()):
        if path:
            yield path if path.startswith("/") else root + path
