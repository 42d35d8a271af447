"""What is wrong or odd in Re:InterHand's own files."""

import copy
from typing import Final

import cv2
import numpy as np

from h2d.synth.defects.base import Defect, Finding
from h2d.synth.defects.files import UNREADABLE, absent
from h2d.synth.layouts.base import Note, Wish

_EXTRA_CAMERA: Final = "400049"


def half_size(data: bytes) -> bytes:
    """The picture at half its width and height."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    done, smaller = cv2.imencode(".png", pixels[::2, ::2])
    assert done
    return smaller.tobytes()


def _is_mugsy(note: Note) -> bool:
    return bool(note["rig"] == "Mugsy_cameras")


def _is_ego(note: Note) -> bool:
    return bool(note["rig"] == "Ego_cameras")


def _missing_mask(note: Note) -> Finding:
    """With every place where the mask may be."""
    places = (note["path"].replace("/images/", f"/{folder}/") for folder in ("masks", "mask"))
    return Finding(kind="missing_mask", split=note["split"], name=f"{note['path']}: no {' or '.join(places)}")


def _extra_camera(note: Note) -> list[Note]:
    return [note, {**copy.deepcopy(note), "camera": _EXTRA_CAMERA, "md5": {}}]


def _mostly_outside(note: Note) -> list[Note]:
    return [{**note, "in_picture": 0.1}]


def _only_42_joints(note: Note) -> list[Note]:
    return [{**note, "joints_24": {}}]


DEFECTS: Final = (
    *UNREADABLE,
    Defect(
        kind="frame_without_picture",
        expect="Reported by name: a frame of the list has no picture from this camera.",
        caught_by="index",
        wish=Wish(picture_damage=absent),
        finding=lambda note: Finding(kind="frame_without_picture", split=note["split"], name=note["path"]),
    ),
    Defect(
        kind="missing_mask",
        expect="Reported with every place where the mask was looked for.",
        caught_by="index",
        wish=Wish(label_damage=absent),
        finding=_missing_mask,
    ),
    Defect(
        kind="mask_of_another_size",
        expect="Rejected when it is read: mask and picture differ in size.",
        caught_by="read",
        wish=Wish(label_damage=half_size),
    ),
    Defect(
        kind="camera_without_pictures",
        expect=f"Skipped: camera {_EXTRA_CAMERA} has parameters and no folder.",
        caught_by="nothing",
        edit=_extra_camera,
        suits=_is_mugsy,
    ),
    Defect(
        kind="mostly_outside",
        expect="Skipped: the file of truncation ratios says that under a fifth of the joints are in the picture.",
        caught_by="index",
        edit=_mostly_outside,
        finding=lambda note: Finding(kind="mostly_outside", split=note["split"], name=note["path"]),
        suits=_is_ego,
    ),
    Defect(
        kind="keypoints_of_one_kind",
        expect="Accepted with the 42 joints: the tracker's 24 are not there.",
        caught_by="nothing",
        edit=_only_42_joints,
        whole_frame=True,
    ),
)
