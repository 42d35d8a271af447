"""What is wrong or odd in HaGRID's own files, entry by entry."""

import copy
from collections.abc import Callable
from typing import Any, Final

from h2d.synth.defects.base import Defect, Finding
from h2d.synth.defects.files import ODD_JPEGS, ODD_SCENES, UNREADABLE
from h2d.synth.layouts.base import Note

_V2_1M: Final = ("v2-1M",)
_WITH_POINTS: Final = ("v2-1M", "v1")
_POOLED: Final = ("v2-1M", "2.0")
"""Where the pictures of all splits share a folder, so that an entry of any split finds its picture."""


def _has_boxes(note: Note) -> bool:
    return bool(note["entry"]["bboxes"])


def _has_small_box(note: Note) -> bool:
    return _has_boxes(note) and max(note["entry"]["bboxes"][0][2:]) < 0.7


def _about_entry(kind: str) -> Callable[[Note], Finding]:
    return lambda note: Finding(kind=kind, split=note["split"], name=note["name"])


def _changed(note: Note, **fields: Any) -> list[Note]:
    return [{**note, "entry": {**note["entry"], **fields}}]


def _drop_entry(note: Note) -> list[Note]:
    return []


def _unlisted_picture(note: Note) -> Finding:
    pooled = note["path"].startswith("hagrid_dataset/")
    return Finding(kind="picture_without_entry", split="" if pooled else note["split"], name=note["path"])


def _other_id(note: Note) -> str:
    picture_id: str = note["id"]
    return f"{picture_id[:-4]}{'dead' if not picture_id.endswith('dead') else 'beef'}"


def _ghost_entry(note: Note) -> list[Note]:
    return [note, {**copy.deepcopy(note), "id": _other_id(note)}]


def _ghost(note: Note) -> Finding:
    return Finding(kind="entry_without_picture", split=note["split"], name=f"{note['gesture']}/{_other_id(note)}")


def _is_in_train(note: Note) -> bool:
    return bool(note["split"] == "train")


def _again_in_test(note: Note) -> list[Note]:
    return [note, {**copy.deepcopy(note), "split": "test"}]


def _second_entry(note: Note) -> Finding:
    return Finding(kind="duplicate_entry", split="test", name=note["name"])


def _bare_union(note: Note) -> list[Note]:
    box = note["entry"]["bboxes"][0]
    return _changed(note, united_bbox=box, united_label=note["gesture"])


def _union_of_nulls(note: Note) -> list[Note]:
    return _changed(note, united_bbox=[None], united_label=[None])


def _points_field(note: Note) -> str:
    return "hand_landmarks" if "hand_landmarks" in note["entry"] else "landmarks"


def _without_points(note: Note) -> list[Note]:
    return _changed(note, **{_points_field(note): [[] for _ in note["entry"]["bboxes"]]})


def _points_elsewhere(note: Note) -> list[Note]:
    """In the box's own space instead of the picture's, as in the published example."""
    boxes, field = note["entry"]["bboxes"], _points_field(note)
    left, top = boxes[0][:2]
    far = [0.02, 0.02] if left > 0.1 or top > 0.1 else [0.98, 0.98]
    points = [[far[0] + 1e-4 * index, far[1]] for index in range(21)]
    return _changed(note, **{field: [points, *note["entry"][field][1:]]})


def _box_beyond_the_edge(note: Note) -> list[Note]:
    left, top, _, height = note["entry"]["bboxes"][0]
    return _with_first_box(note, [left, top, 1.25 - left, height])


def _box_without_area(note: Note) -> list[Note]:
    left, top, _, height = note["entry"]["bboxes"][0]
    return _with_first_box(note, [left, top, 0.0, height])


def _with_first_box(note: Note, box: list[float]) -> list[Note]:
    return _changed(note, bboxes=[box, *note["entry"]["bboxes"][1:]])


_NOTES: Final = (
    Defect(
        kind="entry_without_picture",
        expect="Reported by name: the entry's picture is not there.",
        caught_by="index",
        edit=_ghost_entry,
        finding=_ghost,
    ),
    Defect(
        kind="picture_without_entry",
        expect="Reported by name: no annotation names the picture.",
        caught_by="index",
        edit=_drop_entry,
        finding=_unlisted_picture,
    ),
    Defect(
        kind="duplicate_entry",
        expect="Reported by name: the entry stands in train and in test, and belongs to train.",
        caught_by="index",
        edit=_again_in_test,
        finding=_second_entry,
        suits=_is_in_train,
        flavours=_POOLED,
    ),
    Defect(
        kind="box_outside",
        expect="Reported by name; the box is clipped to the picture.",
        caught_by="index",
        edit=_box_beyond_the_edge,
        suits=_has_boxes,
        finding=_about_entry("box_outside"),
    ),
    Defect(
        kind="box_without_area",
        expect="Reported by name; the box is left out.",
        caught_by="index",
        edit=_box_without_area,
        suits=_has_boxes,
        finding=_about_entry("box_without_area"),
    ),
    Defect(
        kind="landmarks_contradict_box",
        expect="Reported by name; the dataset's points of this hand are not believed.",
        caught_by="index",
        edit=_points_elsewhere,
        suits=_has_small_box,
        finding=_about_entry("landmarks_contradict_box"),
        flavours=_WITH_POINTS,
    ),
    Defect(
        kind="empty_landmarks",
        expect="Accepted: a hand without points is normal.",
        caught_by="nothing",
        edit=_without_points,
        suits=_has_boxes,
        flavours=_WITH_POINTS,
    ),
    Defect(
        kind="bare_united_bbox",
        expect="Accepted: the box around both hands is one box instead of a list of boxes.",
        caught_by="nothing",
        edit=_bare_union,
        suits=_has_boxes,
        flavours=_V2_1M,
    ),
    Defect(
        kind="united_bbox_of_nulls",
        expect="Accepted: a list that holds null says the same as null.",
        caught_by="nothing",
        edit=_union_of_nulls,
        flavours=_V2_1M,
    ),
)

DEFECTS: Final = (*UNREADABLE, *ODD_JPEGS, *ODD_SCENES, *_NOTES)
