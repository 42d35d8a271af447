"""LAION-Human: a million links to pictures of people, with body poses, as HumanSD hands it out.

The pictures are downloaded by whoever uses it, and many links are dead; what is mapped and not there is a finding.
"""

import os
import stat
from collections.abc import Container, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import ijson
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int64

from h2d.config import config
from h2d.errors import UserError
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.links import Bounds
from h2d.pipelines.sources.listing import kind_of, picture_stem, printable, visible_entries

MAPPING_FILE: Final = "mapping_file_training.json"
_PLACES: Final = (
    "",
    "Aesthetics_Human",
    "Laion/Aesthetics_Human",
    "datasets/Laion/Aesthetics_Human",
    "humansd_data/datasets/Laion/Aesthetics_Human",
)
"""Where the folder with the mapping may lie below the root that a user gives."""
_SPLIT: Final = "train"
_KEYS_PER_SHARD: Final = 10_000
_PATHS: Final = ("img_path", "pose_path")


@config
class LaionHumanSource:
    """Reads the mapping file entry by entry, and looks for each entry's picture and pose file.

    The paths of the mapping begin with folders that differ between copies: leading parts are left out until the rest is
    there. A picture is also looked for in the shard that its key belongs to, and in shard 00000, because the dataset's
    own pages name both. The dataset has one split, "train".
    """

    name: ClassVar[str] = "laion-human"

    root: Path
    mapping: Path | None = None
    """The mapping file, if it is not `mapping_file_training.json` in the dataset's folder."""
    follow_links: bool = False
    """Whether to read what links lead to out of the dataset's folder: only when the links are your own."""

    def describe(self) -> str:
        """One line on the folder, the mapping file and the lists of links."""
        lists = self._link_lists
        listed = f"{len(self._linked):,} links in {len(lists)} lists" if lists else "without lists of links"
        return f"LAION-Human ({self._mapping.name}, {listed}), split {_SPLIT}"

    def options(self) -> Mapping[str, Any]:
        """The choices as given."""
        return {"mapping": None if self.mapping is None else self.mapping.name}

    def records(self) -> Iterator[Record | Finding]:
        """Every entry whose picture and pose file are there, then every picture that no entry names."""
        names: set[str] = set()
        claimed: set[str] = set()
        for name, entry in self._entries():
            if name in names:
                yield Finding(kind="duplicate_entry", split=_SPLIT, name=printable(name))
                continue
            names.add(name)
            if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in _PATHS):
                yield Finding(kind="malformed_entry", split=_SPLIT, name=printable(name))
                continue
            picture = self._located(entry["img_path"])
            if picture is not None:
                claimed.add(picture.path)
            yield self._one(name, entry, picture)
        yield from self._unclaimed(claimed)

    @cached_property
    def _folder(self) -> Path:
        """The folder that holds pictures, poses and the mapping."""
        for place in _PLACES:
            folder = self.root / place
            if (folder / MAPPING_FILE).is_file() or (self.mapping is not None and (folder / "images").is_dir()):
                return folder
        raise UserError(
            f"{self.root}: no {MAPPING_FILE} here or in {', '.join(place for place in _PLACES if place)}: "
            "give the folder of LAION-Human with --root, or the mapping file with --mapping"
        )

    @cached_property
    def _mapping(self) -> Path:
        file = self.mapping or self._folder / MAPPING_FILE
        if not file.is_file():
            raise UserError(f"{file}: no such file: give the mapping file with --mapping")
        return file

    @cached_property
    def _link_lists(self) -> list[Path]:
        return sorted((self._folder / "images").glob("*.parquet"))

    @cached_property
    def _linked(self) -> Int64[np.ndarray, " n"]:
        """The keys that have a link, in order; of the lists nothing but `url` and `key` is read."""
        keys = [np.zeros(0, np.int64)]
        for file in self._link_lists:
            try:
                table = pq.read_table(file, columns=["url", "key"])
                linked = pc.filter(table["key"], pc.is_valid(table["url"]))
                keys.append(pc.cast(linked, pa.int64()).to_numpy())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, OSError) as error:
                why = " ".join(str(error).split())
                raise UserError(f"{file}: no list of links with url and key ({why}): download it again") from None
        return np.unique(np.concatenate(keys))

    def _entries(self) -> Iterator[tuple[str, Any]]:
        try:
            with self._mapping.open("rb") as file:
                yield from ijson.kvitems(file, "")
        except ijson.JSONError as error:
            why = " ".join(str(error).split())
            raise UserError(f"{self._mapping}: not valid JSON ({why}): download the mapping again") from None

    def _one(self, name: str, entry: Mapping[str, Any], picture: "_File | None") -> Record | Finding:
        if picture is None:
            kind = "picture_not_downloaded" if self._is_linked(entry["img_path"]) else "entry_without_picture"
            return Finding(kind=kind, split=_SPLIT, name=printable(name))
        poses = self._located(entry["pose_path"])
        if poses is None:
            return Finding(kind="entry_without_pose", split=_SPLIT, name=printable(name))
        prompt = entry.get("prompt")
        return Record(
            id=f"laion-human/{printable(name)}",
            split=_SPLIT,
            path=picture.path,
            size_bytes=picture.size_bytes,
            pose_path=poses.path,
            original_caption=prompt if isinstance(prompt, str) else None,
        )

    def _located(self, path: str) -> "_File | None":
        """The file below the root that a path of the mapping means, or None."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if len(parts) < 3 or ".." in parts:
            return None  # no copy needs it, and it would lead out of the dataset
        *above, shard, name = parts
        tree = self._tree("/".join(above))
        if tree is None:
            return None
        key = name.partition(".")[0]
        own_shard = f"{int(key) // _KEYS_PER_SHARD:05d}" if key.isdecimal() else shard
        for folder in dict.fromkeys((shard, own_shard, "00000")):
            below = f"{tree}/{folder}/{name}"
            try:
                status = os.stat(f"{self.root}/{below}")  # noqa: PTH116  # a million times: paths would double the time
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(status.st_mode) and self._bounds_of(tree).hold(f"{self.root}/{below}"):
                return _File(below, status.st_size)
        return None

    def _bounds_of(self, tree: str) -> Bounds:
        """No link may lead out of a tree, whatever the tree itself is: the paths in it are a stranger's."""
        if tree not in self._bounds:
            self._bounds[tree] = Bounds([self.root / tree])
        return self._bounds[tree]

    @cached_property
    def _bounds(self) -> dict[str, Bounds]:
        return {}

    def _tree(self, above: str) -> str | None:
        """The folder below the root that holds the shards; leading parts of what the mapping says may be missing."""
        if above not in self._trees:
            parts = above.split("/")
            bases = [self._folder, *(folder for folder in self._folder.parents if folder.is_relative_to(self.root))]
            tries = (base.joinpath(*parts[start:]) for start in range(len(parts)) for base in reversed(bases))
            found = next((folder for folder in tries if folder.is_dir()), None)
            self._trees[above] = None if found is None else found.relative_to(self.root).as_posix()
        return self._trees[above]

    @cached_property
    def _trees(self) -> dict[str, str | None]:
        return {}

    def _is_linked(self, img_path: str) -> bool:
        key = img_path.rpartition("/")[2].partition(".")[0]
        if not key.isdecimal():
            return False
        at = int(np.searchsorted(self._linked, int(key)))
        return at < len(self._linked) and int(self._linked[at]) == int(key)

    def _unclaimed(self, claimed: Container[str]) -> Iterator[Finding]:
        images = self._folder / "images"
        if not images.is_dir():
            return
        below = images.relative_to(self.root).as_posix()
        for shard in sorted(visible_entries(str(images)), key=lambda entry: entry.name):
            if kind_of(shard) != "folder":
                continue
            for picture in sorted(visible_entries(shard.path), key=lambda entry: entry.name):
                path = f"{below}/{shard.name}/{picture.name}"
                if path not in claimed and picture_stem(picture.name) is not None:
                    yield Finding(kind="picture_without_entry", split=_SPLIT, name=printable(path))


class _File(NamedTuple):
    path: str
    """Below the root."""
    size_bytes: int
