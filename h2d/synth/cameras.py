"""Cameras that see what a frame is to show: hands inside the picture, of the size that the data sets have."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from h2d.pose.layouts import Side
from h2d.synth.scene import Camera, Person

_HAND_MM = 186.0
_HEAD_MM = np.array([[0, -125, 0], [0, 112, -70], [-85, 0, 0], [85, 0, 0]], np.float64)
_MARGIN = 0.035
"""Share of the picture's side that stays free round what must be seen."""


SELFIE_HAND: Final = (0.15, 0.25)
"""An open hand's share of a selfie's height, as in HaGRID."""
NEAR_HAND: Final = (0.28, 0.40)
"""From less than an arm's length, for small pictures. Our choice."""


def frame_selfie(
    people: Sequence[Person],
    sides: Sequence[Side],
    size_hw: tuple[int, int],
    rng: np.random.Generator,
    *,
    hand: tuple[float, float] = SELFIE_HAND,
) -> Camera:
    """Head and torso; an open hand takes a share of the picture's height within `hand`, where the scene lets it."""
    seen = _heads_and_hands(people, sides)
    hands = np.concatenate([people[0].hands[side].joints for side in sides])
    view_mm = _HAND_MM * people[0].head_scale / rng.uniform(*hand)
    opening = np.radians(rng.uniform(42, 64))
    to_hand = float(np.clip(view_mm / 2 / np.tan(opening / 2), 600, 2200))
    distance = to_hand - float(hands[:, 2].mean())
    view_mm *= distance / to_hand
    top = seen[:, 1].min() - view_mm * rng.uniform(0.05, 0.18)
    across = 0.35 * hands[:, 0].mean() + 0.3 * float(np.mean([_body(person)[5:7, 0].mean() for person in people]))
    aim = np.array([across + rng.uniform(-0.04, 0.04) * view_mm, top + view_mm / 2, 0.0])
    return _fitted(seen, aim, view_mm, distance, size_hw, _turn(rng, (9, 7, 3)))


def frame_whole_body(
    people: Sequence[Person], sides: Sequence[Side], size_hw: tuple[int, int], rng: np.random.Generator
) -> Camera:
    """From the head to the feet."""
    bodies = np.concatenate([_body(person) for person in people])
    seen = np.concatenate([_heads_and_hands(people, sides), bodies])
    view_mm = float(np.ptp(seen[:, 1])) * rng.uniform(1.08, 1.35)
    distance = view_mm / 2 / np.tan(np.radians(rng.uniform(30, 50)) / 2)
    aim = (seen.min(axis=0) + seen.max(axis=0)) / 2 + [rng.uniform(-0.05, 0.05) * view_mm, 0, 0]
    return _fitted(seen, aim, view_mm, distance, size_hw, _turn(rng, (10, 5, 2)))


def frame_hands(person: Person, size_hw: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Hands alone, as large as in InterHand2.6M, from about a metre."""
    seen = np.concatenate([hand.joints for hand in person.hands.values()])
    view_mm = float(np.ptp(seen[:, :2], axis=0).max()) / rng.uniform(0.45, 0.68)
    aim = (seen.min(axis=0) + seen.max(axis=0)) / 2 + rng.uniform(-0.05, 0.05, 3) * view_mm
    return _fitted(seen, aim, view_mm, rng.uniform(950, 1170), size_hw, _turn(rng, (20, 20, 12)))


def _heads_and_hands(people: Sequence[Person], sides: Sequence[Side]) -> Float64[np.ndarray, "n 3"]:
    heads = [_head(person) for person in people]
    hands = [people[0].hands[side].joints for side in sides]
    return np.concatenate([*heads, *hands])


def _head(person: Person) -> Float64[np.ndarray, "n 3"]:
    assert person.head_rotation is not None
    assert person.head_centre is not None
    points: Float64[np.ndarray, "n 3"] = _HEAD_MM * person.head_scale @ person.head_rotation.T + person.head_centre
    return points


def _body(person: Person) -> Float64[np.ndarray, "23 3"]:
    assert person.body is not None
    return person.body


def _turn(rng: np.random.Generator, degrees: tuple[float, float, float]) -> Rotation:
    """About the picture's vertical, its horizontal and its depth axis."""
    angles = np.clip(rng.normal(0, np.array(degrees) / 2), -np.array(degrees), degrees)
    return Rotation.from_euler("YXZ", angles, degrees=True)


def _fitted(
    seen: Float64[np.ndarray, "n 3"],
    aim: Float64[np.ndarray, "3"],
    view_mm: float,
    distance: float,
    size_hw: tuple[int, int],
    turn: Rotation,
) -> Camera:
    """A camera round the aim that sees `view_mm` of its height there; it steps back until all that must be seen is."""
    height, width = size_hw
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    while True:
        focal = distance / view_mm * height
        camera = Camera(
            rotation=turn.as_matrix(),
            translation=np.array([0, 0, distance]) - turn.apply(aim),
            focal=(focal, focal),
            principal=(width / 2, height / 2),
            size_hw=size_hw,
        )
        shares = camera.project(seen)[:, :2] / [width, height]
        if (shares > _MARGIN).all() and (shares < 1 - _MARGIN).all():
            return camera
        aim = aim + 0.25 * (middle - aim)
        view_mm, distance = view_mm * 1.03, distance * 1.03
