"""InterHand2.6M: hands in a capture studio, seen by many cameras, with 42 joints in world millimetres.

Captures are numbered anew in each split, and frames in each capture, so both are named with their split. A joint is
valid in `joint_3d` when it was annotated, and in `data` when it was annotated and lies in the picture: a joint of the
former that lies outside the picture is kept, one that `data` calls invalid inside it is not. The pictures of some
cameras are not as large as their labels say: the decoded size counts. Boxes are not read: they follow from the joints.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

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
from h2d.pipelines.sources.interhand_pictures import find_pictures, joined
from h2d.pipelines.sources.joints_42 import given_hands, projected
from h2d.pose.camera import Camera

SPLITS: Final = ("train", "val", "test")
_AT_ONCE: Final = 4096
"""Pictures whose joints are looked up together."""
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
    follow_links: bool = False
    """Whether to read what links lead to out of the dataset's folder: only when the links are your own."""

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
            splits.append((yield from self._listed(split, data_file)))
        table = _table(splits)
        firsts = np.cumsum([0, *(len(listed.rows) for listed in splits)])
        rows = table.chosen(limit=limit, sample=sample, seed=seed)
        del table  # a dozen bytes a picture
        for listed, first, last in zip(splits, firsts, firsts[1:], strict=False):
            start, stop = np.searchsorted(rows, (first, last))
            yield from listed.records(rows[start:stop] - first)

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

    def _listed(self, split: str, data_file: Path) -> Generator[Finding, None, "_Split"]:
        """What the labels say and which pictures are there; findings on the way."""

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
        sizes = yield from find_pictures(entries, pictures, split, self.root)
        rows = np.flatnonzero(sizes >= 0).astype(np.int32)
        return _Split(name=split, entries=entries, cameras=cameras, joints=joints, rows=rows, sizes=sizes)


@dataclass(frozen=True, kw_only=True)
class _Split:
    """What is known of one split before any record is made."""

    name: str
    entries: Entries
    cameras: Mapping[tuple[int, str], Camera]
    joints: Joints
    rows: Int32[np.ndarray, " n"]
    """Of the entries whose picture is there."""
    sizes: Int64[np.ndarray, " e"]
    """Of every entry's file, bytes; -1 where there is none."""

    def records(self, chosen: Int64[np.ndarray, " m"]) -> Iterator[Record | Finding]:
        """A record for each chosen one of `rows`."""
        capture = np.asarray([place.capture for place in self.entries.places], np.int64)
        place, frame = np.asarray(self.entries.place), np.asarray(self.entries.frame)
        for start in range(0, len(chosen), _AT_ONCE):
            rows = self.rows[chosen[start : start + _AT_ONCE]]
            joints = self.joints.rows_of(capture[place[rows]], frame[rows].astype(np.int64))
            for row, joint_row in zip(rows.tolist(), joints.tolist(), strict=True):
                yield from self._record(row, joint_row)

    def _record(self, row: int, joints: int) -> Iterator[Record | Finding]:
        """The picture of an entry; `joints` is its frame's row of the joints, -1 where it has none."""
        entries = self.entries
        place, frame = entries.places[entries.place[row]], entries.frame[row]
        camera = self.cameras.get((place.capture, place.camera))
        for kind, missing in (("entry_without_camera", camera is None), ("entry_without_joints", joints < 0)):
            if missing:
                yield Finding(kind=kind, split=self.name, name=joined(self.name, place.below, entries.name(row)))
        size_hw = entries.height[row], entries.width[row]
        yield Record(
            id=f"{_id_start(self.name, place)}{frame}",
            split=self.name,
            path=joined("images", self.name, place.below, entries.name(row)),
            size_bytes=int(self.sizes[row]),
            gesture=place.sequence.partition("_")[2] or place.sequence,
            subject=f"{self.name}/{place.subject if place.subject is not None else f'Capture{place.capture}'}",
            hands={} if camera is None or joints < 0 else self._hands(row, camera, joints, size_hw),
            stated_size_hw=size_hw,
        )

    def _hands(self, row: int, camera: Camera, joints: int, size_hw: tuple[int, int]) -> GivenHands:
        world = self.joints.world[joints].astype(np.float64)
        inside = _inside(projected(camera, world), size_hw)
        valid = unpacked(self.joints.valid_bits[joints]) & (unpacked(self.entries.valid_bits[row]) | ~inside)
        return given_hands(camera, world, valid)


def _inside(pixels: Float64[np.ndarray, "n 2"], size_hw: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    inside: Bool[np.ndarray, " n"] = ((pixels >= 0) & (pixels < size_hw[::-1])).all(axis=1)
    return inside


def _id_start(split: str, place: Place) -> str:
    return f"interhand/{split}/Capture{place.capture}/{place.sequence}/cam{place.camera}/image"


def _table(splits: Sequence[_Split]) -> FrameTable:
    folders: list[FrameFolder] = []
    folder, frame = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for listed in splits:
        folder.append(np.asarray(listed.entries.place)[listed.rows] + len(folders))
        frame.append(np.asarray(listed.entries.frame)[listed.rows])
        folders += [
            FrameFolder(
                split=listed.name,
                id_start=_id_start(listed.name, place),
                groups=(str(place.capture), place.sequence, place.camera),
            )
            for place in listed.entries.places
        ]
    return FrameTable(folders=folders, folder=np.concatenate(folder), frame=np.concatenate(frame))
