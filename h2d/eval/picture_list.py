"""The fixed list of pictures on which methods are compared: poses, prompts, seeds, and where the real picture lies.

A file of JSON lines. The first says how the list was made and holds the hash of all that follow; every other line is
one picture. Points are in pixels of the square working picture; a missing point is null. Axis legend: n pictures.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from h2d.errors import UserError
from h2d.manifests.files import write_bytes
from h2d.pose.layouts import NUM_POINTS
from h2d.pose.points import missing_points
from h2d.pose.pose import Pose

LIST_FILE: Final = "list.jsonl"
"""Its name in the folder of a run."""
VERSION: Final = 1
_FORMAT: Final = "h2d_list"
_DECIMALS: Final = 3
"""Of a pixel and of a confidence."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Entry:
    """One picture to be made."""

    number: int
    """Its place in the list, from 0."""
    id: str
    """Of the manifest's row."""
    pose: Pose
    """The person's, in the square picture of `size` pixels; points may lie outside it."""
    prompt: str
    seed: int
    size: int
    """Side of the square, pixels."""
    gesture: str | None = None
    subject: str | None = None
    place: Mapping[str, Any] = field(default_factory=dict)
    """Where the real picture lies: `part`, `group` and `row` in the manifest, and `square`, the part of it that is
    used, as left, top and side in its pixels."""

    @property
    def name(self) -> str:
        """The stem of its files: its number, five digits."""
        return f"{self.number:05d}"


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureList:
    """All of them, in order, and how they were chosen."""

    entries: tuple[Entry, ...]
    facts: Mapping[str, Any]
    """How the list was made: manifest, split, seed, counts by gesture. JSON-ready."""

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines below the header."""
        return tuple(json.dumps(_as_plain(entry), ensure_ascii=False) for entry in self.entries)

    @cached_property
    def sha256(self) -> str:
        """Of the lines below the header: two lists with the same are the same."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Side of the pictures, pixels."""
        return self.entries[0].size

    def first(self, count: int) -> "PictureList":
        """Its beginning, as a list of its own."""
        return PictureList(entries=self.entries[:count], facts={**self.facts, "first": count})

    def write(self, path: Path) -> None:
        """Write it atomically."""
        header = {_FORMAT: VERSION, "sha256": self.sha256, "count": len(self), **self.facts}
        write_bytes(path, ("\n".join([json.dumps(header, ensure_ascii=False), *self.lines]) + "\n").encode())


def read_list(path: Path) -> PictureList:
    """Read a list; raises `UserError` in one line where it is none, is damaged or was changed by hand."""
    try:
        header_line, *lines = path.read_bytes().decode().removesuffix("\n").split("\n")
        header = json.loads(header_line)
        version, stated, count = int(header.pop(_FORMAT)), str(header.pop("sha256")), int(header.pop("count"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}: make one: h2d evaluate protocol") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a list of pictures: make one: h2d evaluate protocol") from None
    if version > VERSION:
        raise UserError(f"{path}: version {version} is newer than {VERSION}, which this h2d reads: upgrade h2d")
    if len(lines) != count:
        raise UserError(f"{path}: {len(lines)} of {count} lines: it is cut short: make it again: h2d evaluate protocol")
    if not lines:
        raise UserError(f"{path}: a list of no pictures: make another: h2d evaluate protocol")
    if hashlib.sha256("\n".join(lines).encode()).hexdigest() != stated:
        raise UserError(
            f"{path}: its lines are not those that its first line was written for (sha256 {stated[:12]}): a list is"
            " fixed, make another: h2d evaluate protocol"
        )
    try:
        entries = tuple(_entry(number, json.loads(line)) for number, line in enumerate(lines))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: a line is damaged ({type(error).__name__}: {error}): make it again") from None
    if len({entry.size for entry in entries}) > 1:
        raise UserError(f"{path}: its pictures have several sizes: one list, one size")
    return PictureList(entries=entries, facts=header)


def _as_plain(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "place": dict(entry.place),
        "gesture": entry.gesture,
        "subject": entry.subject,
        "prompt": entry.prompt,
        "seed": entry.seed,
        "size": entry.size,
        "pose": _listed(entry.pose.people[0]),
    }


def _entry(number: int, plain: Mapping[str, Any]) -> Entry:
    size = int(plain["size"])
    points = _points(plain["pose"])
    return Entry(
        number=number,
        id=str(plain["id"]),
        pose=Pose(people=points[None], width=size, height=size),
        prompt=str(plain["prompt"]),
        seed=int(plain["seed"]),
        size=size,
        gesture=plain["gesture"],
        subject=plain["subject"],
        place=plain["place"],
    )


def rounded(points: Float32[np.ndarray, "133 3"]) -> Float32[np.ndarray, "133 3"]:
    """As they come back from a file."""
    return _points(_listed(points))


def _listed(points: Float32[np.ndarray, "133 3"]) -> list[list[float] | None]:
    return [
        None if np.isnan(point).any() else [round(float(number), _DECIMALS) for number in point] for point in points
    ]


def _points(listed: Sequence[Sequence[float] | None]) -> Float32[np.ndarray, "133 3"]:
    if len(listed) != NUM_POINTS:
        raise ValueError(f"{len(listed)} points, not {NUM_POINTS}")
    points = missing_points(NUM_POINTS)
    for number, point in enumerate(listed):
        if point is not None and point[2] > 0:
            points[number] = point
    return points
