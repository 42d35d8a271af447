"""What is wrong or odd in InterHand2.6M's own files."""

import copy
from typing import Final

from h2d.synth.defects.base import Defect, Finding
from h2d.synth.defects.files import UNREADABLE, absent
from h2d.synth.layouts.base import Note, Wish
from h2d.synth.layouts.joints import OFFSETS

_WRIST: Final = 20


def _has_two_hands(note: Note) -> bool:
    return bool(note["annotation"]["hand_type"] == "interacting")


def _sides_swapped(note: Note) -> list[Note]:
    image = note["image"]
    return [{**note, "image": {**image, "width": image["height"], "height": image["width"]}}]


def _drop_entry(note: Note) -> list[Note]:
    return []


def _left_hand_unannotated(note: Note) -> list[Note]:
    """As where the annotators left a hand out that the picture shows; the dataset then says "right"."""
    edited = copy.deepcopy(note)
    for joint in range(OFFSETS["left"], OFFSETS["left"] + 21):
        edited["joints"]["world_coord"][joint] = [1.0, 1.0, 1.0]
        edited["joints"]["joint_valid"][joint] = [False]
        edited["annotation"]["joint_valid"][joint] = [0]
    edited["joints"]["hand_type"] = edited["annotation"]["hand_type"] = "right"
    return [edited]


def _right_wrist_invalid(note: Note) -> list[Note]:
    edited = copy.deepcopy(note)
    edited["joints"]["world_coord"][_WRIST] = [1.0, 1.0, 1.0]
    edited["joints"]["joint_valid"][_WRIST] = [False]
    edited["annotation"]["joint_valid"][_WRIST] = [0]
    return [edited]


def _joints_as_in_v0(note: Note) -> list[Note]:
    return [{**note, "joints": note["joints"]["world_coord"]}]


DEFECTS: Final = (
    *UNREADABLE,
    Defect(
        kind="entry_without_picture",
        expect="Reported by name: the annotated picture is not there.",
        caught_by="index",
        wish=Wish(picture_damage=absent),
        finding=lambda note: Finding(kind="entry_without_picture", split=note["split"], name=note["name"]),
    ),
    Defect(
        kind="picture_without_entry",
        expect="Reported by name: no annotation names the picture.",
        caught_by="index",
        edit=_drop_entry,
        finding=lambda note: Finding(kind="picture_without_entry", split=note["split"], name=note["path"]),
    ),
    Defect(
        kind="wrong_size_in_json",
        expect="Reported; the size of the decoded picture counts, as for camera 400412.",
        caught_by="read",
        edit=_sides_swapped,
    ),
    Defect(
        kind="unannotated_hand",
        expect="Accepted with the right hand alone: the left one is seen but not annotated.",
        caught_by="nothing",
        edit=_left_hand_unannotated,
        whole_frame=True,
        suits=_has_two_hands,
    ),
    Defect(
        kind="invalid_wrist",
        expect="The right hand counts as missing: without its wrist the whole hand is invalid.",
        caught_by="nothing",
        edit=_right_wrist_invalid,
        whole_frame=True,
        suits=_has_two_hands,
    ),
    Defect(
        kind="joints_as_in_v0",
        expect="Accepted: version 0.0 wrote a bare list of joints.",
        caught_by="nothing",
        edit=_joints_as_in_v0,
        whole_frame=True,
    ),
)
