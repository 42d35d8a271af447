"""HaGRID: people making gestures, a box and a label for every hand; versions v1, 2.0 and v2-1M.

Boxes are tight around what is drawn of a hand; landmarks are the posed joints, also where something hides them. The
people have no age, gender or race, so `meta` holds nulls.
Axis legend: n points, h w picture size.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from h2d.config import config
from h2d.images import encode_jpeg
from h2d.pose.layouts import HANDS, SIDES, Side
from h2d.pose.points import present
from h2d.synth.layouts.base import Note, Studio, Wish, hex_name, scene_seed, write_file, write_label
from h2d.synth.layouts.framing import without_hands
from h2d.synth.scene import Drawing, PersonLabels, Scene

# fmt: off
CLASSES_V1: Final = (
    "call", "dislike", "fist", "four", "like", "mute", "ok", "one", "palm", "peace", "peace_inverted", "rock", "stop",
    "stop_inverted", "three", "three2", "two_up", "two_up_inverted",
)
CLASSES_V2_1M: Final = (
    "grabbing", "grip", "holy", "point", "call", "three3", "timeout", "xsign", "hand_heart", "hand_heart2",
    "little_finger", "middle_finger", "take_picture", "dislike", "fist", "four", "like", "mute", "ok", "one", "palm",
    "peace", "peace_inverted", "rock", "stop", "stop_inverted", "three", "three2", "two_up", "two_up_inverted",
    "three_gun", "thumb_index", "thumb_index2", "no_gesture",
)
# fmt: on
"""In the order of the dataset's own list."""

_CLASSES: Final = {"v1": CLASSES_V1, "2.0": CLASSES_V1, "v2-1M": CLASSES_V2_1M}
_SPLITS: Final = {
    "v1": ("train", "test", *["train"] * 8),
    "2.0": ("train", "val", "test", "train", "train", "train", "test", "train", "train", "train"),
}
"""By person: each picture shows a new one. The shares are the dataset's own to the nearest tenth."""

_DIGITS: Final = {"v1": 8, "2.0": 8, "v2-1M": 10}
_LEAST_PIXELS: Final = 16
"""A hand of which less is seen gets no box. Our choice."""


@config
class HagridLayout:
    """Draws the classes in turn, so that `count` pictures hold each about equally often."""

    name: ClassVar[str] = "hagrid"
    flavours: ClassVar[tuple[str, ...]] = ("v2-1M", "2.0", "v1")
    owns: ClassVar[tuple[str, ...]] = ("hagrid_dataset", "hagrid_annotations", "train", "test", "ann_train", "ann_test")

    seed: int
    count: int
    size_px: int = 512
    """Pictures are square."""
    flavour: str = "v2-1M"

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of the flavour, every one with a file for every gesture."""
        return tuple(dict.fromkeys(self._split_cycle))

    def draw(self, index: int, out: Path, studio: Studio, wish: Wish) -> Note:
        """Draw one picture and note its entry."""
        classes = _CLASSES[self.flavour]
        gesture, split = classes[index % len(classes)], self._split_cycle[index % len(self._split_cycle)]
        scene = studio.sample(
            scene_seed(self.seed, index),
            frame="selfie",
            size_hw=(self.size_px, self.size_px),
            gesture=gesture,
            num_people=wish.num_people,
        )
        if not wish.hands_in_view:
            scene = without_hands(scene)
        drawing = studio.render(scene)
        picture_id = str(uuid.UUID(hex=hex_name(self.seed, index, 1), version=4))
        folder = split if self.flavour == "v1" else "hagrid_dataset"
        path = f"{folder}/{gesture}/{picture_id}.jpg"
        write_file(out / path, encode_jpeg(drawing.picture), wish.picture_damage)
        return {
            "name": f"{gesture}/{picture_id}",
            "path": path,
            "split": split,
            "gesture": gesture,
            "id": picture_id,
            "entry": self._entry(scene, drawing, user_id=hex_name(self.seed, index, 2)),
        }

    def write_labels(self, notes: Sequence[Mapping[str, Any]], out: Path) -> None:
        """One JSON file per split and gesture."""
        files: dict[tuple[str, str], dict[str, Any]] = {
            (split, gesture): {} for split in self.splits for gesture in _CLASSES[self.flavour]
        }
        for note in notes:
            files[note["split"], note["gesture"]][note["id"]] = note["entry"]
        for (split, gesture), entries in files.items():
            folder = f"ann_{split}" if self.flavour == "v1" else f"hagrid_annotations/{split}"
            write_label(out / folder / f"{gesture}.json", json.dumps(dict(sorted(entries.items())), indent=4))

    @property
    def _split_cycle(self) -> tuple[str, ...]:
        return _SPLITS["v1" if self.flavour == "v1" else "2.0"]

    def _entry(self, scene: Scene, drawing: Drawing, *, user_id: str) -> dict[str, Any]:
        boxes, labels, landmarks = [], [], []
        for box, label, points in _hands(scene, drawing):
            boxes.append([round(number, _DIGITS[self.flavour]) for number in box])
            labels.append(label)
            inside = (
                box[0] <= points[:, 0].mean() <= box[0] + box[2] and box[1] <= points[:, 1].mean() <= box[1] + box[3]
            )
            landmarks.append(np.round(points, _DIGITS[self.flavour]).tolist() if inside else [])
        entry: dict[str, Any] = {"bboxes": boxes, "labels": labels}
        if self.flavour == "v1":
            return entry | {
                "landmarks": landmarks,
                "leading_conf": 1.0,
                "leading_hand": scene.gesture_sides[0] if scene.gesture_sides else "right",
                "user_id": user_id,
            }
        if self.flavour == "2.0":
            return entry | {"user_id": user_id}
        gesturing = [box for box, label in zip(boxes, labels, strict=True) if label != "no_gesture"]
        united = len(scene.gesture_sides) == 2 and len(gesturing) == 2
        return entry | {
            "united_bbox": [_united(*gesturing, digits=_DIGITS[self.flavour])] if united else None,
            "united_label": [scene.gesture] if united else None,
            "user_id": user_id,
            "hand_landmarks": landmarks,
            "meta": {"age": [None], "gender": [None], "race": [None]},
        }


def _hands(
    scene: Scene, drawing: Drawing
) -> list[tuple[tuple[float, float, float, float], str, Float64[np.ndarray, "21 2"]]]:
    """Box, label and points of every hand that is seen, in fractions of the picture; the gesturing ones first."""
    height, width = drawing.picture.shape[:2]
    found = []
    for number, (person, labels) in enumerate(zip(scene.people, drawing.people, strict=True)):
        gesturing = scene.gesture_sides if number == 0 and scene.gesture != "no_gesture" else ()
        for side in (*gesturing, *(side for side in SIDES if side not in gesturing)):
            box = _seen_box_xywh(labels, side)
            if box is not None and side in person.hands:
                left, top, right, bottom = box
                points = scene.camera.project(person.hands[side].joints)[:, :2] / (width, height)
                fractions = (left / width, top / height, (right - left) / width, (bottom - top) / height)
                found.append((fractions, scene.gesture if side in gesturing else "no_gesture", points))
    return found


def _seen_box_xywh(labels: PersonLabels, side: Side) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom around the hand's pixels and the joints that lie in the picture."""
    mask: Bool[np.ndarray, "h w"] = labels.hand_masks[side]
    if mask.sum() < _LEAST_PIXELS:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    points: Float32[np.ndarray, "21 3"] = labels.points[HANDS[side]]
    joints = points[present(points), :2]
    x = [columns[0], columns[-1] + 1, *joints[:, 0]]
    y = [rows[0], rows[-1] + 1, *joints[:, 1]]
    height, width = mask.shape
    return max(float(min(x)), 0.0), max(float(min(y)), 0.0), min(float(max(x)), width), min(float(max(y)), height)


def _united(first: Sequence[float], second: Sequence[float], *, digits: int) -> list[float]:
    left, top = min(first[0], second[0]), min(first[1], second[1])
    right = max(first[0] + first[2], second[0] + second[2])
    bottom = max(first[1] + first[3], second[1] + second[3])
    return [round(number, digits) for number in (left, top, right - left, bottom - top)]
