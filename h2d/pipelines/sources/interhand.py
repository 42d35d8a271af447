"""InterHand2.6M: hands in a capture studio, seen by many cameras, with 42 joints in world millimetres.

Captures are numbered anew in each split, and frames in each capture, so both are named with their split. A joint is
valid in `joint_3d` when it was annotated, and in `data` when it was annotated and lies in the picture: a joint of the
former that lies outside the picture is kept, one that `data` calls invalid inside it is not. The pictures of some
cameras are not as large as their labels say: the decoded size counts. Boxes are not read: they follow from the joints.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from h2d.annotate.base import GivenHands
from h2d.config import config
from h2d.errors import UserError
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.frame_table import FrameFolder, FrameTable
from h2d.pipelines.sources.interhand_labels import (
    Entries,
    Joints,
    Place,
    read_cameras,
    read_entries,
    read_joints,
    unpacked,
)
from h2d.pipelines.sources.joints_42 import given_hands
from h2d.pipelines.sources.listing import kind_of, picture_stem, printable, visible_entries
from h2d.pose.camera import Camera

SPLITS: Final = ("train", "val", "test")
_OLDER: Final = ("all", "human_annot", "machine_annot")
"""Folders of the JSON files in older copies; the first holds what the other two do."""


@config
class InterhandSource:
    """Reads `images/<split>/Capture<n>/<sequence>/cam<camera>/` and the JSON files under `annotations/`.

    These are in `annotations/<split>/`, or in `annotations/all/`, `human_annot/` or `machine_annot/`: the first that
    is there.
    """

    name: ClassVar[str] = "interhand"

    root: Path
    split: str | None = None
    """"train", "val" or "test"; None is every one that is there."""

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in SPLITS:
            raise UserError(f"split = {self.split!r}: choose one of {', '.join(SPLITS)}")

    def describe(self) -> str:
        """One line on splits and where their labels lie; raises `UserError` for another root."""
        splits = self._splits()
        folders = sorted({file.parent.relative_to(self.root).as_posix() for file in splits.values()})
        word = "split" if len(splits) == 1 else "splits"
        return f"InterHand2.6M, {word} {', '.join(splits)}, labels in {', '.join(folders)}"

    def options(self) -> Mapping[str, Any]:
        """The choices as given."""
        return {"split": self.split}

    def records(self) -> Iterator[Record | Finding]:
        """Every picture and every finding, split by split."""
        return self.selected(limit=None, sample=None, seed=0)

    def selected(self, *, limit: int | None, sample: int | None, seed: int) -> Iterator[Record | Finding]:
        """A sample is spread over splits, captures, sequences and cameras by largest remainders."""
        splits = []
        for split, data_file in self._splits().items():
            listed = self._listed(split, data_file)
            yield from listed.findings
            listed.findings.clear()
            splits.append(listed)
        table = _table(splits)
        firsts = np.cumsum([0, *(len(listed.rows) for listed in splits)])
        rows = table.chosen(limit=limit, sample=sample, seed=seed)
        for listed, first, last in zip(splits, firsts, firsts[1:], strict=False):
            yield from listed.records(rows[(rows >= first) & (rows < last)] - first)

    def _splits(self) -> dict[str, Path]:
        """The file of entries of every chosen split; raises `UserError` when there is none."""
        chosen = SPLITS if self.split is None else (self.split,)
        tried: list[str] = []
        found: dict[str, Path] = {}
        for split in chosen:
            for folder in (split, *_OLDER):
                file = self.root / "annotations" / folder / f"InterHand2.6M_{split}_data.json"
                if file.is_file():
                    found[split] = file
                    break
                tried.append(file.relative_to(self.root).as_posix())
        if not found:
            raise UserError(f"{self.root}: not InterHand2.6M: there is none of {', '.join(tried)}")
        return found

    def _listed(self, split: str, data_file: Path) -> "_Split":
        def beside(part: str) -> Path:
            file = data_file.with_name(f"InterHand2.6M_{split}_{part}.json")
            if not file.is_file():
                raise UserError(f"{file}: missing: it belongs to {data_file.name}, unpack both")
            return file

        cameras, joints = read_cameras(beside("camera")), read_joints(beside("joint_3d"))
        entries = read_entries(data_file)
        pictures = self.root / "images" / split
        if not pictures.is_dir():
            raise UserError(f"{pictures}: no such folder: unpack the pictures of split {split} there")
        rows, sizes, findings = _pictures_of(entries, pictures, split, self.root)
        return _Split(
            name=split, entries=entries, cameras=cameras, joints=joints, rows=rows, sizes=sizes, findings=findings
        )


@dataclass(frozen=True, kw_only=True)
class _Split:
    """What is known of one split before any record is made."""

    name: str
    entries: Entries
    cameras: Mapping[tuple[int, str], Camera]
    joints: Joints
    rows: Int64[np.ndarray, " n"]
    """Of the entries whose picture is there."""
    sizes: Int64[np.ndarray, " n"]
    """Of their files, bytes."""
    findings: list[Finding]

    def records(self, chosen: Int64[np.ndarray, " m"]) -> Iterator[Record | Finding]:
        """A record for each chosen one of `rows`."""
        entries = self.entries
        for row, size_bytes in zip(self.rows[chosen].tolist(), self.sizes[chosen].tolist(), strict=True):
            place, frame = entries.places[entries.place[row]], entries.frame[row]
            path = _joined("images", self.name, place.below, entries.name(row))
            camera = self.cameras.get((place.capture, place.camera))
            joints = self.joints.row.get((place.capture, frame))
            for kind, missing in (("entry_without_camera", camera is None), ("entry_without_joints", joints is None)):
                if missing:
                    yield Finding(kind=kind, split=self.name, name=_joined(self.name, place.below, entries.name(row)))
            size_hw = entries.height[row], entries.width[row]
            yield Record(
                id=f"{_id_start(self.name, place)}{frame}",
                split=self.name,
                path=path,
                size_bytes=size_bytes,
                gesture=place.sequence.partition("_")[2] or place.sequence,
                subject=f"{self.name}/{place.subject if place.subject is not None else f'Capture{place.capture}'}",
                hands={} if camera is None or joints is None else self._hands(row, camera, joints, size_hw),
                stated_size_hw=size_hw,
            )

    def _hands(self, row: int, camera: Camera, joints: int, size_hw: tuple[int, int]) -> GivenHands:
        world = self.joints.world[joints].astype(np.float64)
        inside = _inside(camera.project(world), size_hw)
        valid = self.joints.valid[joints] & (unpacked(self.entries.valid_bits[row]) | ~inside)
        return given_hands(camera, world, valid)


def _inside(pixels: Float64[np.ndarray, "n 2"], size_hw: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    inside: Bool[np.ndarray, " n"] = ((pixels >= 0) & (pixels < size_hw[::-1])).all(axis=1)
    return inside


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _id_start(split: str, place: Place) -> str:
    return f"interhand/{split}/Capture{place.capture}/{place.sequence}/cam{place.camera}/image"


def _table(splits: list[_Split]) -> FrameTable:
    folders: list[FrameFolder] = []
    folder, frame = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for listed in splits:
        places = np.asarray(listed.entries.place, np.int64)
        folder.append(places[listed.rows] + len(folders))
        frame.append(np.asarray(listed.entries.frame, np.int64)[listed.rows])
        folders += [
            FrameFolder(
                split=listed.name,
                id_start=_id_start(listed.name, place),
                groups=(str(place.capture), place.sequence, place.camera),
            )
            for place in listed.entries.places
        ]
    return FrameTable(folders=folders, folder=np.concatenate(folder), frame=np.concatenate(frame))


def _pictures_of(
    entries: Entries, pictures: Path, split: str, root: Path
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], list[Finding]]:
    """The entries whose pictures are there, the pictures' sizes, and what does not match."""
    sizes = np.full(len(entries.frame), -1, np.int64)
    findings: list[Finding] = []
    order = np.argsort(np.asarray(entries.place, np.int64), kind="stable")
    counts = np.bincount(np.asarray(entries.place, np.int64), minlength=len(entries.places))
    known: set[str] = set()
    first = 0
    for number, place in enumerate(entries.places):
        rows = order[first : first + counts[number]].tolist()
        first += counts[number]
        known.add(place.below)
        there = _files(pictures / place.below)
        if there is None:
            findings.append(Finding(kind="folder_without_pictures", split=split, name=_joined(split, place.below)))
            continue
        frames: set[int] = set()
        for row in rows:
            name, frame = entries.name(row), entries.frame[row]
            found = there.pop(name, None)
            if frame in frames:
                findings.append(Finding(kind="duplicate_entry", split=split, name=_joined(split, place.below, name)))
            elif found is None:
                named = _joined(split, place.below, name)
                findings.append(Finding(kind="entry_without_picture", split=split, name=named))
            else:
                sizes[row] = found
            frames.add(frame)
        if place.below:
            findings += [_unlisted(root, pictures / place.below / name, split) for name in there]
    for folder in _camera_folders(pictures):
        if folder.relative_to(pictures).as_posix() not in known:
            findings += [_unlisted(root, folder / name, split) for name in _files(folder) or ()]
    rows_there = np.flatnonzero(sizes >= 0)
    return rows_there, sizes[rows_there], findings


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
