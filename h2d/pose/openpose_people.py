"""The people of OpenPose's JSON: what is a list, a number and a point, and what the parts of a person are called.

Axis legend: p people, n points.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from h2d.errors import UserError
from h2d.pose.layouts import FACE, HANDS, NUM_HAND_POINTS, NUM_POINTS
from h2d.pose.openpose_layouts import BODIES

LARGEST_PX: Final = 32_768
"""No canvas and no coordinate is larger."""

_BODY_KEYS: Final = ("pose_keypoints_2d", "pose_keypoints")
_FACE_KEYS: Final = ("face_keypoints_2d", "face_keypoints", "face")
_HAND_KEYS: Final = {side: (f"hand_{side}_keypoints_2d", f"hand_{side}_keypoints", f"{side}_hand") for side in HANDS}
_PERSON_KEYS: Final = {*_BODY_KEYS, *_FACE_KEYS, *_HAND_KEYS["left"], *_HAND_KEYS["right"]}
_ALIKE: Final = 0.9
"""Of a key that is a known one misspelt; a face is no foot and a pose no nose. Our choice."""
_NUM_FACE_POINTS: Final = (70, 68)
"""OpenPose's face ends with the pupils, right and left, which the 133 lack."""


def people_of(document: Mapping[str, Any], name: str) -> Float64[np.ndarray, "p 133 3"]:
    """The people of one pose; those without a single point are left out, and then there must be one.

    Coordinates are as the file has them, missing points NaN, NaN, 0. Raises `UserError` that begins with `name`.
    """
    points = [_person(entry, f"{name}: people[{number}]") for number, entry in enumerate(_entries(document, name))]
    people = [person for person in points if np.isfinite(person[:, 0]).any()]
    if not people:
        raise UserError(f"{name}: no person has a point that is there: give one with at least a hand or a body")
    return np.stack(people)


def brief(value: Any) -> str:
    """A value in an error's line."""
    if isinstance(value, list | dict):
        return f"a list of {len(value)}" if isinstance(value, list) else "an object"
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def is_number(value: Any) -> bool:
    """Whether it is a number that can be a coordinate in pixels: not NaN, and not larger than any picture."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_PX


def _entries(document: Mapping[str, Any], name: str) -> list[Any]:
    if "people" not in document:
        if "keypoints" in document:
            return _eighteens(document["keypoints"], f"{name}: keypoints")
        if _PERSON_KEYS & set(document):
            return [document]
        animals = " (it has animals alone)" if document.get("animals") else ""
        keys = ", ".join(map(brief, list(document)[:5])) or "none"
        raise UserError(f"{name}: no `people`{animals}; its keys are {keys}: give a file of OpenPose JSON")
    people = document["people"]
    if not isinstance(people, list):
        raise UserError(f"{name}: people is {brief(people)}: give a list of persons")
    if not people:
        raise UserError(f"{name}: no person: `people` is empty: give a pose of at least one person")
    return people


def _eighteens(pairs: Any, where: str) -> list[Any]:
    """The older editor's pairs as people: 18 after each other, or a list of 18 for each."""
    if isinstance(pairs, list) and all(isinstance(person, list) and len(person) == 18 for person in pairs):
        pairs = [pair for person in pairs for pair in person]
    if not isinstance(pairs, list) or len(pairs) % 18:
        raise UserError(f"{where} is {brief(pairs)}: give x, y pairs, 18 for each person")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise UserError(f"{where}[{index}] is {brief(pair)}: give an x, y pair")
    return [{_BODY_KEYS[0]: [[*pair, 1] for pair in pairs[start : start + 18]]} for start in range(0, len(pairs), 18)]


def _person(entry: Any, where: str) -> Float64[np.ndarray, "133 3"]:
    """The 133 points as the file has them."""
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {brief(entry)}: give an object with pose_keypoints_2d")
    _refuse_slips(entry, where)
    points = np.full((NUM_POINTS, 3), np.nan)
    points[:, 2] = 0
    body = _part(entry, _BODY_KEYS, tuple(BODIES), where)
    if body is not None:
        for source, target in enumerate(BODIES[len(body)]):
            if target != -1:
                points[target] = body[source]
    face = _part(entry, _FACE_KEYS, _NUM_FACE_POINTS, where)
    if face is not None:
        points[FACE] = face[: FACE.stop - FACE.start]
    for side, keys in _HAND_KEYS.items():
        hand = _part(entry, keys, (NUM_HAND_POINTS,), where)
        if hand is not None:
            points[HANDS[side]] = hand
    return points


def _refuse_slips(entry: Mapping[str, Any], where: str) -> None:
    """Raise `UserError` on a part under a key that is like a known one: it would be lost without a word."""
    known = {_in_order(key): key for key in _PERSON_KEYS}
    for key in sorted(entry.keys() - _PERSON_KEYS):
        alike = get_close_matches(_in_order(key), known, n=1, cutoff=_ALIKE)
        if entry[key] and alike and not key.endswith("_3d"):
            raise UserError(f"{where}: {brief(key)} is no part of a person: did you mean {known[alike[0]]}?")


def _in_order(key: str) -> str:
    """Its words, sorted: `left_hand_keypoints_2d` is a slip of `hand_left_keypoints_2d`."""
    return "_".join(sorted(key.lower().split("_")))


def _part(
    entry: Mapping[str, Any], keys: tuple[str, ...], sizes: tuple[int, ...], where: str
) -> Float64[np.ndarray, "n 3"] | None:
    """The points under the first of the keys that is there; None when it is absent, null or empty."""
    key = next((key for key in keys if entry.get(key) is not None), None)
    if key is None or entry[key] == []:
        return None
    values, where = entry[key], f"{where}.{key}"
    if not isinstance(values, list):
        raise UserError(f"{where} is {brief(values)}: give a list of x, y, confidence for each point")
    if all(isinstance(value, list) and len(value) == 3 for value in values):
        values = [number for triple in values for number in triple]
    if len(values) not in [3 * size for size in sizes]:
        wanted = " or ".join(f"{3 * size} ({size} points)" for size in sizes)
        raise UserError(f"{where} has {len(values)} numbers: give {wanted}, with 0, 0, 0 for a point that is missing")
    for index, value in enumerate(values):
        if not is_number(value):
            raise UserError(f"{where}[{index}] is {brief(value)}: give a number, and 0, 0, 0 for a missing point")
    points = np.asarray(values, np.float64).reshape(-1, 3)
    points[:, 2] = np.minimum(points[:, 2], 1)
    points[points[:, 2].astype(np.float32) <= 0] = (np.nan, np.nan, 0)
    return points
