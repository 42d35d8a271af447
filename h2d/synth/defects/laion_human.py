"""What is wrong or odd in LAION-Human's own files, and a pose file that tries to run code."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from h2d.synth.defects.base import Defect, Finding
from h2d.synth.defects.files import ODD_JPEGS, ODD_SCENES, UNREADABLE, absent, truncated
from h2d.synth.layouts.base import Note, Wish
from h2d.synth.layouts.pose_npz import encode_archive, encode_poses

MARKER: Final = "h2d-synth-unsafe-pickle-was-run"
"""The empty file that appears in the working folder of whoever unpickles the malicious pose file without a guard."""


class _Trap:
    """Unpickles to a call; the call does nothing but touch the marker."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (Path(MARKER),)


def malicious_poses(data: bytes) -> bytes:
    """A pose file whose pickle calls a function."""
    people = np.empty(1, object)
    people[0] = _Trap()
    return encode_archive(pickle.dumps(people, protocol=3), num_people=1)


def nobody(data: bytes) -> bytes:
    """A pose file without people."""
    return encode_poses([])


def _dead_link(note: Note) -> list[Note]:
    gone = {"status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"}
    sizes = dict.fromkeys(("width", "height", "original_width", "original_height"))
    return [{**note, "link": {**note["link"], **gone, **sizes}}]


def _not_mapped(note: Note) -> list[Note]:
    return [{**note, "mapping": None}]


def _listed_elsewhere(note: Note) -> list[Note]:
    return [{**note, "shard": note["shard"] + 1}]


def _entry(kind: str) -> Callable[[Note], Finding]:
    return lambda note: Finding(kind=kind, split="train", name=note["name"])


DEFECTS: Final = (
    *UNREADABLE,
    *ODD_JPEGS,
    *ODD_SCENES,
    Defect(
        kind="dead_link",
        expect="Reported by name: mapped, but the picture could not be downloaded.",
        caught_by="index",
        wish=Wish(picture_damage=absent),
        edit=_dead_link,
        finding=_entry("picture_not_downloaded"),
    ),
    Defect(
        kind="missing_pose",
        expect="Reported by name: mapped, but without its pose file.",
        caught_by="index",
        wish=Wish(label_damage=absent),
        finding=_entry("entry_without_pose"),
    ),
    Defect(
        kind="truncated_pose",
        expect="Rejected when it is read: the archive is cut off.",
        caught_by="read",
        wish=Wish(label_damage=truncated),
    ),
    Defect(
        kind="malicious_pose",
        expect=f"Rejected when it is read, nothing run: no file {MARKER} appears in the working folder.",
        caught_by="read",
        wish=Wish(label_damage=malicious_poses),
    ),
    Defect(
        kind="pose_of_nobody",
        expect="Accepted or rejected for want of a person, but read without an error: the list of people is empty.",
        caught_by="pose",
        wish=Wish(label_damage=nobody),
    ),
    Defect(
        kind="picture_without_entry",
        expect="Reported by name: the mapping does not have the picture.",
        caught_by="index",
        edit=_not_mapped,
        finding=lambda note: Finding(kind="picture_without_entry", split="train", name=note["path"]),
    ),
    Defect(
        kind="listed_in_another_shard",
        expect="Accepted: its link stands in the parquet file of another shard than its picture.",
        caught_by="nothing",
        edit=_listed_elsewhere,
    ),
)
