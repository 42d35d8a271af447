"""What is true of a drawn scene: points, what hides them, masks and depth.

Axis legend: n places that were looked at; h w picture size.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from h2d.pose.layouts import BODY, FACE, FEET, HANDS, NUM_POINTS, Side
from h2d.pose.points import missing_points
from h2d.synth.body_flesh import head_frame, trunk
from h2d.synth.hand_flesh import PALM_MM
from h2d.synth.head import FACE_POINTS_MM
from h2d.synth.scene import Part, Person, PersonLabels, Scene

_HAND_FLESH_MM = (26, 22, 18, 16, 14) + (18, 15, 14, 12) * 4
_BODY_FLESH_MM = (16, 18, 18, 40, 40, 85, 85, 65, 65, 45, 45, 125, 125, 90, 90, 65, 65)
_FOOT_FLESH_MM = 45
_FACE_FLESH_MM = (32,) * 17 + (14,) * 51
"""How deep a point may lie under the surface that shows it: the flesh around it, with some to spare. Our choice."""


class Seen(NamedTuple):
    """Places in the picture that show somebody."""

    pixels: Int64[np.ndarray, " n"]
    """Row times width plus column; each pixel's middle first, where it shows somebody."""
    persons: Int64[np.ndarray, " n"]
    parts: Int64[np.ndarray, " n"]
    depths: Float32[np.ndarray, " n"]
    weights: Float32[np.ndarray, " n"]
    """The share of its pixel."""
    middles: Bool[np.ndarray, " n"]
    """Whether it is its pixel's middle."""


def depth_map(seen: Seen, size_hw: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """Depth of the pixels that show somebody in at least half of them; else infinity."""
    height, width = size_hw
    depth = np.full(height * width, np.inf, np.float32)
    np.minimum.at(depth, seen.pixels, seen.depths)
    depth[seen.pixels[seen.middles]] = seen.depths[seen.middles]
    depth[~_covered(seen, np.ones_like(seen.middles), height * width)] = np.inf
    return depth.reshape(size_hw)


def person_labels(scene: Scene, number: int, seen: Seen, depth: Float32[np.ndarray, "h w"]) -> PersonLabels:
    """Everything about one person."""
    person = scene.people[number]
    world = person_points(person)
    points, visible = missing_points(NUM_POINTS), np.zeros(NUM_POINTS, bool)
    known = np.isfinite(world).all(axis=1).nonzero()[0]
    projected = scene.camera.project(world[known])
    height, width = scene.camera.size_hw
    inside = (projected >= 0).all(axis=1) & (projected[:, 0] < width) & (projected[:, 1] < height)
    known, projected = known[inside], projected[inside]
    points[known] = np.concatenate([projected[:, :2], np.ones((len(known), 1))], axis=1)
    visible[known] = projected[:, 2] <= _surface_depth(depth, projected[:, :2]) + _flesh_mm(person)[known]
    own = seen.persons == number
    hand_parts: Mapping[Side, Part] = {"left": Part.LEFT_HAND, "right": Part.RIGHT_HAND}
    return PersonLabels(
        points=points,
        visible=visible,
        points_3d=world.astype(np.float32),
        mask=_covered(seen, own, height * width).reshape(height, width),
        hand_masks={
            side: _covered(seen, own & (seen.parts == hand_parts[side]), height * width).reshape(height, width)
            for side in person.hands
        },
    )


def person_points(person: Person) -> Float64[np.ndarray, "133 3"]:
    """A person's 133 points in the world; NaN where there is none."""
    world = np.full((NUM_POINTS, 3), np.nan)
    if person.body is not None:
        world[BODY.start : FEET.stop] = person.body
        frame = head_frame(person)
        world[FACE] = frame.centre + FACE_POINTS_MM @ frame.rotation.T * frame.scale
    for side, hand in person.hands.items():
        world[HANDS[side]] = hand.joints
    return world


def _surface_depth(
    depth: Float32[np.ndarray, "h w"], pixels_xy: Float64[np.ndarray, "points 2"]
) -> Float32[np.ndarray, " points"]:
    """The farthest of the four pixels around each point: at a rim, one pixel spans much depth."""
    height, width = depth.shape
    left, top = np.floor(pixels_xy - 0.5).astype(int).T
    columns = np.clip([left, left + 1, left, left + 1], 0, width - 1)
    rows = np.clip([top, top, top + 1, top + 1], 0, height - 1)
    farthest: Float32[np.ndarray, " points"] = depth[rows, columns].max(axis=0)
    return farthest


def _flesh_mm(person: Person) -> Float64[np.ndarray, "133"]:
    """How much flesh may lie before each point."""
    flesh = np.zeros(NUM_POINTS)
    if person.body is not None:
        scale, head = trunk(person.body).scale, head_frame(person).scale
        flesh[BODY] = np.array(_BODY_FLESH_MM) * scale
        flesh[:5] = np.array(_BODY_FLESH_MM[:5]) * head
        flesh[FEET], flesh[FACE] = _FOOT_FLESH_MM * scale, np.array(_FACE_FLESH_MM) * head
    for side, hand in person.hands.items():
        scale = float(np.linalg.norm(hand.joints[9] - hand.joints[0])) / PALM_MM
        flesh[HANDS[side]] = np.array(_HAND_FLESH_MM) * scale
    return flesh


def _covered(seen: Seen, chosen: Bool[np.ndarray, " n"], num_pixels: int) -> Bool[np.ndarray, " pixels"]:
    """Pixels of which at least half show the chosen places."""
    shares = np.bincount(seen.pixels[chosen], seen.weights[chosen], num_pixels)
    return np.asarray(shares > 0.5 - 1e-3)
