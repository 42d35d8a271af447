"""Re:InterHand: two hands relit, seen by fixed cameras (Mugsy) and by a fisheye on the head (Ego), with masks.

Pictures are listed from their folders: `frame_list.txt` says only which ones should be there. Where masks lie is not
published: they are looked for beside `images`, in `masks` and `mask`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from h2d.config import config
from h2d.errors import UserError
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.frame_table import FrameFolder, FrameTable
from h2d.pipelines.sources.reinterhand_files import (
    RIGS,
    Shots,
    ego_camera,
    find_captures,
    find_mesh,
    find_shots,
    frames_in,
    hands_of,
    listed_frames,
    mugsy_cameras,
    subject_of,
    truncation_ratios,
)
from h2d.pose.camera import Camera
from h2d.pose.layouts import SIDES

TEST_SUBJECTS: Final = frozenset({"RNS217", "NKC880", "QZX685"})
_SLOWER: Final = 6
"""`envmap_per_frame` has 5 pictures a second of the 30."""


@config
class ReinterhandSource:
    """Reads `<capture>/{Mugsy,Ego}_cameras/<light>/images/`, the cameras, and the keypoints of each frame."""

    name: ClassVar[str] = "reinterhand"

    root: Path
    split: str | None = None
    """"train" or "test"; None is both."""
    rig: str | None = None
    """"Mugsy_cameras" or "Ego_cameras"; None is both."""
    min_in_picture: float = 0.2
    """A picture of the head-mounted camera is left out when less than this share of the joints lies in it."""
    follow_links: bool = False
    """Whether to read what links lead to out of the dataset's folder: only when the links are your own."""

    def __post_init__(self) -> None:
        for name, value, choices in (("split", self.split, ("train", "test")), ("rig", self.rig, RIGS)):
            if value is not None and value not in choices:
                raise UserError(f"{name} = {value!r}: choose one of {', '.join(choices)}")

    def describe(self) -> str:
        """One line on captures, rigs and lights; raises `UserError` for another root."""
        shots = self._shots()
        lights = sorted({f"{each.rig.partition('_')[0]} {each.light}" for each in shots})
        captures = len({each.capture for each in shots})
        return f"Re:InterHand, {captures} capture{'s' if captures > 1 else ''}, {', '.join(lights)}"

    def options(self) -> Mapping[str, Any]:
        """The choices as given."""
        return {"split": self.split, "rig": self.rig, "min_in_picture": self.min_in_picture}

    def records(self) -> Iterator[Record | Finding]:
        """Every picture and every finding, folder by folder."""
        return self.selected(limit=None, sample=None, seed=0)

    def selected(self, *, limit: int | None, sample: int | None, seed: int) -> Iterator[Record | Finding]:
        """A sample is spread over splits, captures, rigs, lights and cameras by largest remainders."""
        shots = self._shots()
        counts, frames = [], [np.zeros(0, np.int32)]
        listed: dict[Path, set[int]] = {}
        for each in shots:
            if each.capture not in listed:
                listed[each.capture] = listed_frames(each.capture)
            there = sorted(frames_in(each.pictures))
            yield from self._absent(each, there, listed[each.capture])
            ratios = truncation_ratios(each)
            outside = [frame for frame in there if ratios.get(frame, 1.0) < self.min_in_picture]
            for frame in outside:
                yield self._finding("mostly_outside", each, self._path(each.pictures / f"{frame:06d}.png"))
            kept = np.setdiff1d(np.asarray(there, np.int32), np.asarray(outside, np.int32))
            counts.append(len(kept))
            frames.append(kept)
            yield from self._maskless(each, kept.tolist())
        table = FrameTable(
            folders=[
                FrameFolder(
                    split=_split(each),
                    id_start=_id_start(each),
                    groups=(each.capture.name, each.rig, each.light, each.camera),
                )
                for each in shots
            ],
            folder=np.repeat(np.arange(len(shots), dtype=np.int32), counts),
            frame=np.concatenate(frames),
        )
        rows = table.chosen(limit=limit, sample=sample, seed=seed)
        cameras = _Cameras()
        ends = np.searchsorted(rows, np.cumsum([0, *counts]))  # the rows lie folder by folder
        for each, start, stop in zip(shots, ends, ends[1:], strict=False):
            yield from self._records_of(each, table.frame[rows[start:stop]].tolist(), cameras)

    def _shots(self) -> list[Shots]:
        shots = [
            each
            for capture in find_captures(self.root)
            for each in find_shots(capture)
            if self.rig in (None, each.rig) and self.split in (None, _split(each))
        ]
        if not shots:
            chosen = ", ".join(filter(None, (self.split, self.rig))) or "any rig"
            raise UserError(f"{self.root}: no folder of pictures of {chosen} in its captures: unpack images there")
        return shots

    def _records_of(self, shots: Shots, frames: list[int], cameras: "_Cameras") -> Iterator[Record | Finding]:
        if not frames:
            return
        pictures = frames_in(shots.pictures)
        masks = [(folder, frames_in(folder)) for folder in shots.mask_folders]
        for frame in frames:
            name, size_bytes = pictures[frame]
            path = self._path(shots.pictures / name)
            mask = next((self._path(folder / found[frame][0]) for folder, found in masks if frame in found), None)
            camera = cameras.of(shots, frame)
            hands = hands_of(shots.capture, frame, camera) if camera else None
            if camera is None:
                yield self._finding("picture_without_camera", shots, path)
            elif hands is None:
                yield self._finding("picture_without_keypoints", shots, path)
            meshes = {side: find_mesh(shots.capture, frame, side) for side in SIDES}
            yield Record(
                id=f"{_id_start(shots)}{frame:06d}",
                split=_split(shots),
                path=path,
                size_bytes=size_bytes,
                subject=subject_of(shots.capture),
                mask_path=mask,
                hands=hands or {},
                meshes={side: self._path(mesh) for side, mesh in meshes.items() if mesh},
                camera=camera,
            )

    def _absent(self, shots: Shots, there: list[int], listed: set[int]) -> Iterator[Finding]:
        """Frames of the list without a picture; of the slower light only those that keep its pace."""
        missing = listed.difference(there)
        if shots.light == "envmap_per_frame":
            phases = {frame % _SLOWER for frame in there}
            missing = {frame for frame in missing if len(phases) == 1 and frame % _SLOWER in phases}
        for frame in sorted(missing):
            yield self._finding("frame_without_picture", shots, self._path(shots.pictures / f"{frame:06d}.png"))

    def _maskless(self, shots: Shots, frames: list[int]) -> Iterator[Finding]:
        """What has no mask: the whole folder, or single pictures, with every place where it was looked for."""
        folders = shots.mask_folders
        found = set().union(*(frames_in(folder) for folder in folders))
        if not found and frames:
            places = " or ".join(self._path(folder) for folder in folders)
            yield self._finding("folder_without_masks", shots, f"{self._path(shots.pictures)}: no {places}")
            return
        for frame in frames:
            if frame not in found:
                places = " or ".join(self._path(folder / f"{frame:06d}.png") for folder in folders)
                path = self._path(shots.pictures / f"{frame:06d}.png")
                yield self._finding("missing_mask", shots, f"{path}: no {places}")

    def _path(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _finding(self, kind: str, shots: Shots, name: str) -> Finding:
        return Finding(kind=kind, split=_split(shots), name=name)


@dataclass(kw_only=True, slots=True)
class _Cameras:
    """The fixed cameras of each capture, read once."""

    mugsy: dict[Path, Mapping[str, Camera]] = field(default_factory=dict)

    def of(self, shots: Shots, frame: int) -> Camera | None:
        if not shots.camera:
            return ego_camera(shots, frame)
        if shots.capture not in self.mugsy:
            self.mugsy[shots.capture] = mugsy_cameras(shots.capture)
        return self.mugsy[shots.capture].get(shots.camera)


def _split(shots: Shots) -> str:
    return "test" if subject_of(shots.capture) in TEST_SUBJECTS else "train"


def _id_start(shots: Shots) -> str:
    return "/".join(filter(None, ("reinterhand", shots.capture.name, shots.rig, shots.light, shots.camera))) + "/"
