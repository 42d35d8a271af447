"""HaGRID: photographs of people making gestures, with a box and a label for every hand.

Reads v1 (2022), 2.0 (2023) and v2-1M (2024), full size or 512 pixels: boxes are fractions, so the same annotations fit.
"""

from collections import ChainMap
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from h2d.config import config
from h2d.errors import UserError
from h2d.manifests.io import GivenLocation, location
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.hagrid_entries import parse_entry, read_entries, version_of
from h2d.pipelines.sources.hagrid_layout import (
    SHARED,
    SPLITS,
    Layout,
    canonical_gesture,
    canonical_split,
    find_layout,
)
from h2d.pipelines.sources.listing import kind_of, picture_stem, printable, visible_entries


@config
class HagridSource:
    """Reads HaGRID in any layout that its archives unpack to.

    v1 has no val split: its `train_val` is "train" here, as the paper trains on it. The 80/20 split by person of
    HaGRID's own v1 code is left to whoever mixes training sets. `subsample`, which has 100 pictures of every gesture,
    is listed as "train" too, because the manifest knows no fourth split.

    An entry that stands in two splits belongs to the first of train, val, test, subsample that has its picture. Splits
    listed in separate runs stay apart too, so an entry asked for in "test" is left out when "train" names it; only a
    subsample asked for by name is listed whole.

    Findings about an entry are named `<gesture>/<id>`, those about a picture by its path. A picture without an entry
    in a folder that all splits share has the split "".
    """

    name: ClassVar[str] = "hagrid"

    root: GivenLocation
    split: str | None = None
    """"train", "val", "test" or "subsample"; None is every one that is there."""
    gestures: tuple[str, ...] = ()
    """Empty: all."""
    images: GivenLocation | None = None
    """Where the pictures lie, if not below `root`; records then have absolute paths."""
    annotations: GivenLocation | None = None
    """Where the JSON files lie, if not below `root`."""
    follow_links: bool = False
    """Whether to read what links lead to out of the dataset's folder: only when the links are your own."""

    def describe(self) -> str:
        """One line on version, folders, gestures and splits."""
        layout, splits, gestures = self._chosen()
        files = [location(path) for key, path in layout.annotations.items() if key[0] in splits and key[1] in gestures]
        versions = (version_of(read_entries(str(path))) for path in sorted(files, key=lambda path: path.stat().st_size))
        version = next((version for version in versions if version), "without entries")
        folders = [path for key, path in layout.pictures.items() if key[0] in (SHARED, *splits) and key[1] in gestures]
        holders = sorted({self._below_root(str(location(folder).parent)) for folder in folders})
        size = "512 px " if any("512" in holder for holder in (*holders, self.root.name)) else ""
        return (
            f"HaGRID {version} ({size}{_counted(holders, 'folder')} {', '.join(holders)}), "
            f"{len(gestures)} {_counted(gestures, 'gesture')}, {_counted(splits, 'split')} {', '.join(splits)}"
        )

    def options(self) -> Mapping[str, Any]:
        """The choices as given; which copy of the pictures is used shows in their paths and sizes."""
        split = self.split and canonical_split(self.split)
        return {"split": split, "gestures": sorted({canonical_gesture(gesture) for gesture in self.gestures})}

    def records(self) -> Iterator[Record | Finding]:
        """Every picture and every finding, gesture by gesture, which is also how much is held in memory."""
        layout, splits, gestures = self._chosen()
        for gesture in gestures:
            yield from self._records_of(gesture, layout, splits)

    def _chosen(self) -> tuple[Layout, list[str], list[str]]:
        """The layout, and the splits and gestures to list; raises `UserError` when a choice is not there."""
        layout = find_layout(self.root, images=self.images, annotations=self.annotations)
        gestures = sorted({canonical_gesture(gesture) for gesture in self.gestures}) or layout.gestures
        unknown = sorted(set(gestures) - set(layout.gestures))
        if unknown:
            raise UserError(f"{self.root}: no gesture {', '.join(unknown)}: choose from {', '.join(layout.gestures)}")
        splits = [split for split in SPLITS if split in {*layout.splits, *(there for there, _ in layout.pictures)}]
        if self.split is not None:
            split = canonical_split(self.split)
            if split not in layout.splits:
                there = ", ".join(layout.splits)
                raise UserError(f"{self.root}: no annotations for split {self.split!r}: choose from {there}")
            splits = [split]
        if not any(split in (SHARED, *splits) and gesture in gestures for split, gesture in layout.pictures):
            there = ", ".join(sorted({f"{split} {gesture}".strip() for split, gesture in layout.pictures}))
            raise UserError(
                f"{self.images or self.root}: no picture folder for {', '.join(gestures)} in {', '.join(splits)}: "
                f"those there are {there}"
            )
        return layout, splits, gestures

    def _records_of(self, gesture: str, layout: Layout, splits: Sequence[str]) -> Iterator[Record | Finding]:
        pictures: dict[str, dict[str, _Picture]] = {}
        for split in (SHARED, *splits):
            folder = layout.pictures.get((split, gesture))
            pictures[split] = {}
            for stem, picture in self._pictures(folder, gesture) if folder else ():
                if pictures[split].setdefault(stem, picture) is not picture:
                    yield Finding(kind="duplicate_picture", split=split, name=printable(picture.path))
        unnamed = set().union(*pictures.values())
        claimed: set[str] = set()
        order = _order_of_claims(splits)
        for place, split in enumerate(order):
            if not unnamed and not set(order[place:]) & set(splits):
                break  # what other splits name no longer matters, and their files are large
            file = layout.annotations.get((split, gesture))
            entries = read_entries(file) if file else {}
            if split in splits:
                there = ChainMap(pictures[split], pictures[SHARED])
                yield from _matched(entries, there, gesture=gesture, split=split, claimed=claimed)
                claimed.update(key for key in entries if key in there)
            else:
                claimed.update(entries)
            unnamed.difference_update(entries)
        for split, listed in pictures.items():
            if listed and not layout.has_annotations(split, gesture):
                yield Finding(kind="gesture_without_annotations", split=split, name=gesture)
            for stem, picture in listed.items():
                if stem in unnamed:
                    yield Finding(kind="picture_without_entry", split=split, name=printable(picture.path))

    def _pictures(self, folder: str, gesture: str) -> Iterator[tuple[str, "_Picture"]]:
        """A folder's pictures by id, also when the archive was unpacked into a folder of its own name."""
        below = self._below_root(folder)
        for entry in sorted(visible_entries(folder), key=lambda entry: entry.name):
            stem = picture_stem(entry.name)
            if stem and kind_of(entry) == "file":
                yield stem, _Picture(f"{below}/{entry.name}", entry.stat().st_size)
            elif canonical_gesture(entry.name) == gesture and kind_of(entry) == "folder":
                yield from self._pictures(entry.path, gesture)

    def _below_root(self, folder: str) -> str:
        """The path below `root`; absolute where the pictures lie elsewhere."""
        whole, root = location(folder).absolute(), self.root.absolute()
        if not whole.is_relative_to(str(root)):
            return str(whole)
        return whole.relative_to(str(root)).as_posix()


class _Picture(NamedTuple):
    path: str
    size_bytes: int


def _order_of_claims(splits: Sequence[str]) -> Sequence[str]:
    """A subsample asked for by name must not be taken away by the split that it was sampled from."""
    return ("subsample", *SPLITS[:-1]) if list(splits) == ["subsample"] else SPLITS


def _matched(
    entries: Mapping[str, Any], pictures: Mapping[str, _Picture], *, gesture: str, split: str, claimed: Container[str]
) -> Iterator[Record | Finding]:
    if entries and not pictures:
        yield Finding(kind="gesture_without_pictures", split=split, name=gesture)
        return
    record_split = "train" if split == "subsample" else split
    for key, entry in entries.items():
        name = f"{gesture}/{key}"
        picture = pictures.get(key)
        if key in claimed:
            yield Finding(kind="duplicate_entry", split=split, name=printable(name))
        elif picture is None:
            yield Finding(kind="entry_without_picture", split=split, name=printable(name))
        else:
            hands = parse_entry(entry)
            for problem in hands.problems:
                yield Finding(kind=problem, split=split, name=name)
            yield Record(
                id=f"hagrid/{name}",
                split=record_split,
                path=picture.path,
                size_bytes=picture.size_bytes,
                gesture=gesture,
                subject=hands.subject,
                boxes_xywh=hands.boxes_xywh,
                box_labels=hands.labels,
                box_landmarks=hands.landmarks,
            )


def _counted(things: Sequence[str], noun: str) -> str:
    return noun if len(things) == 1 else f"{noun}s"
