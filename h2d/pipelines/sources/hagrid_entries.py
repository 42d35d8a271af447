"""One entry of a HaGRID annotation file: its boxes, labels and points, checked and clipped.

The same keys mean the same in every version; what is missing is empty. `united_bbox`, null or one or more boxes around
two hands together, is left alone: each of the two hands has its own box in `bboxes`.
Axis legend: n boxes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from h2d.errors import UserError
from h2d.manifests.io import location

OUTSIDE_TOLERANCE: Final = 0.001
"""How far, in pictures, a box may reach outside without being worth a finding. Our choice: under two pixels in 2000."""

_MIN_SIDE: Final = 1e-6
_MAX_COORDINATE: Final = 1e6
_LANDMARKS_SHAPE: Final = (21, 2)


@dataclass(frozen=True, slots=True)
class Hands:
    """The hands of one entry; the three lists are parallel."""

    boxes_xywh: Float32[np.ndarray, "n 4"]
    """Fractions of the picture, inside 0..1."""
    labels: tuple[str, ...]
    """The gesture or "no_gesture"; empty where the entry names none."""
    landmarks: tuple[Float32[np.ndarray, "21 2"] | None, ...]
    subject: str | None
    problems: tuple[str, ...]
    """Kinds of findings, each once."""


def read_entries(path: str) -> dict[str, Any]:
    """The entries of one annotation file by picture id; raises `UserError` when it is not such a file."""
    try:
        entries = json.loads(location(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotations: {error.strerror}") from None
    except ValueError as error:  # of JSON, or of UTF-8
        raise UserError(f"{path}: not valid JSON ({error}): unpack the annotations again") from None
    except RecursionError:
        raise UserError(f"{path}: JSON nested too deeply to be annotations: unpack them again") from None
    if not isinstance(entries, dict):
        raise UserError(
            f"{path}: expected entries by picture id, found a {type(entries).__name__}: unpack the annotations again"
        )
    return entries


def version_of(entries: Mapping[str, Any]) -> str | None:
    """The version of HaGRID that writes such keys; None when there is no entry to tell by."""
    for entry in entries.values():
        if isinstance(entry, dict):
            if not entry.keys().isdisjoint(("leading_hand", "leading_conf", "landmarks")):
                return "v1"
            if not entry.keys().isdisjoint(("united_bbox", "united_label", "hand_landmarks", "meta")):
                return "v2-1M"
            return "2.0"
    return None


def parse_entry(entry: Any) -> Hands:
    """Take from an entry what can be trusted and name what cannot; never raises."""
    if not isinstance(entry, dict) or not isinstance(entry.get("bboxes"), list):
        return Hands(np.zeros((0, 4), np.float32), (), (), None, ("malformed_entry",))
    problems: dict[str, None] = {}
    subject = entry.get("user_id")
    if not isinstance(subject, str | int | None) or not _is_text(subject):
        problems.setdefault("malformed_entry")
        subject = None
    num_boxes = len(entry["bboxes"])
    raw_labels = _parallel(entry.get("labels"), num_boxes, problems, required=True)
    raw_landmarks = _parallel(entry.get("hand_landmarks", entry.get("landmarks")), num_boxes, problems, required=False)
    boxes, labels, landmarks = [], [], []
    for raw_box, label, raw_points in zip(entry["bboxes"], raw_labels, raw_landmarks, strict=True):
        box = _clipped(raw_box, problems)
        if box is None:
            continue
        if not isinstance(label, str | None) or not _is_text(label):
            problems.setdefault("malformed_entry")
            label = None
        boxes.append(box)
        labels.append(label or "")
        landmarks.append(_trusted(raw_points, box, problems) if raw_points else None)
    boxes_xywh = np.array(boxes, np.float32).reshape(-1, 4)
    person = None if subject is None else str(subject)
    return Hands(boxes_xywh, tuple(labels), tuple(landmarks), person, tuple(problems))


def _parallel(values: Any, length: int, problems: dict[str, None], *, required: bool) -> list[Any]:
    """The list at exactly this length, filled with None."""
    if values is None and not required:
        return [None] * length
    if not isinstance(values, list):
        problems.setdefault("malformed_entry")
        return [None] * length
    if len(values) != length:
        problems.setdefault("lengths_differ")
    return (values + [None] * length)[:length]


def _clipped(box: Any, problems: dict[str, None]) -> tuple[float, float, float, float] | None:
    if not isinstance(box, list) or len(box) != 4 or not all(_is_coordinate(value) for value in box):
        problems.setdefault("malformed_box")
        return None
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    if min(left, top) < -OUTSIDE_TOLERANCE or max(right, bottom) > 1 + OUTSIDE_TOLERANCE:
        problems.setdefault("box_outside")
    left, top = max(left, 0.0), max(top, 0.0)
    width, height = min(right, 1.0) - left, min(bottom, 1.0) - top
    if width < _MIN_SIDE or height < _MIN_SIDE:
        problems.setdefault("box_without_area")
        return None
    return left, top, width, height


def _is_coordinate(value: Any) -> bool:
    return isinstance(value, int | float) and -_MAX_COORDINATE < value < _MAX_COORDINATE


def _is_text(value: str | int | None) -> bool:
    """Whether it can be written to a table: JSON may spell half of a surrogate pair."""
    return str(value).isprintable() or not any("\ud800" <= letter <= "\udfff" for letter in str(value))


def _trusted(
    raw_points: Any, box_xywh: tuple[float, float, float, float], problems: dict[str, None]
) -> Float32[np.ndarray, "21 2"] | None:
    """The points when their centre lies in their own box, which also shows that they are in the picture's space."""
    try:
        points = np.array(raw_points, np.float64)
    except (ValueError, TypeError, OverflowError):
        problems.setdefault("malformed_landmarks")
        return None
    if points.shape != _LANDMARKS_SHAPE or not (np.abs(points) < _MAX_COORDINATE).all():
        problems.setdefault("malformed_landmarks")
        return None
    left, top, width, height = box_xywh
    x, y = points.sum(axis=0) / len(points)
    if not (left <= x <= left + width and top <= y <= top + height):
        problems.setdefault("landmarks_contradict_box")
        return None
    return points.astype(np.float32)
