"""The skin of hands: lighter palms with creases, knuckles with wrinkles, nails.

Axis legend: n points, c cones. Lengths inside are those of the standard hand, millimetres.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from h2d.pose.layouts import Side
from h2d.synth.hand_flesh import HandFlesh
from h2d.synth.paint import Coat, Painter, Spot, column, linear, mix, mottle, smooth_step, unit
from h2d.synth.scene import Colour, Part

_PALM_LIGHT = (0.82, 0.50, 0.40)
"""What palms and finger pads tend to, linear light."""
_FLUSH = (0.66, 0.22, 0.17)
_NAIL = (0.85, 0.58, 0.53)
_CREASE = (0.42, 0.56, 0.58)
"""How much light a crease takes from red, green, blue."""
_PALM_CREASES = (
    ((-41, 58), (-24, 55), (-6, 62), (8, 72), (13, 82)),
    ((33, 60), (18, 54), (0, 45), (-18, 36), (-27, 31)),
    ((33, 61), (20, 54), (9, 42), (3, 26), (5, 9)),
)
"""Towards the thumb and towards the fingers, from the wrist."""
_WRIST_LINE = 4.0
"""A hand begins this far before its wrist joint; our choice."""
_FADE = (0.45, 0.75)
"""Where forearms without a body fade out, as shares of their length; our choice."""
_FOREARM = 6


class _Place(NamedTuple):
    """Where on the hand each point lies."""

    finger: Int64[Tensor, " n"]
    """0 palm, 1..5 thumb to little finger, 6 forearm."""
    bone: Int64[Tensor, " n"]
    """1 to 3 from knuckle to tip, 0 outside of fingers."""
    along: Float[Tensor, " n"]
    """From the bone's start."""
    left: Float[Tensor, " n"]
    """To the bone's end."""
    sideways: Float[Tensor, " n"]
    palmar: Float[Tensor, " n"]
    """How much the skin faces the palm's side, -1..1."""


def hand_skin(flesh: HandFlesh, colour: Colour, side: Side, *, fades: bool) -> Painter:
    """Paint a hand and its forearm; `fades` lets the forearm end in the air."""
    hand_part = Part.LEFT_HAND if side == "left" else Part.RIGHT_HAND
    bisector = flesh.along + flesh.forearm * 1.5

    def paint(spot: Spot) -> Coat:
        points, normals = spot.points, spot.surface.normals
        local = (points - column(flesh.origin, points)) / flesh.scale
        pixel = spot.pixel_mm / flesh.scale
        place = _place(flesh, spot)
        up_arm = -_along(flesh.forearm, local)
        palm_side = smooth_step(-0.3, 0.5, place.palmar)
        albedo = _tones(linear(colour, points), place, palm_side * smooth_step(45, -5, up_arm), points)
        thumbwards, fingerwards = _along(flesh.radial, local), _along(flesh.along, local)
        on_palm = smooth_step(0.3, 0.7, place.palmar) * (place.finger == 0)
        lines = torch.maximum(_palm_lines(thumbwards, fingerwards, pixel) * on_palm * 0.75, _finger_lines(place, pixel))
        albedo = albedo * (1 - lines * column(_CREASE, points))
        nail, rim = _nails(place, pixel)
        albedo = mix(albedo, column(_NAIL, points), nail * (0.2 + 0.5 * albedo[0])) * (1 - 0.45 * rim)
        is_finger = (place.finger > 0) & (place.finger < _FOREARM)
        is_hand = is_finger | (_along(bisector / np.linalg.norm(bisector), local) > -_WRIST_LINE)
        parts = torch.where(is_hand, int(hand_part), int(Part.SKIN))
        opacity = torch.ones_like(pixel)
        if fades:
            share = up_arm * flesh.scale / flesh.forearm_length
            opacity = torch.where(is_hand, opacity, 1 - smooth_step(*_FADE, share))
        return Coat(albedo, parts, normals, 0.12 + 0.5 * nail, opacity)

    return paint


def _place(flesh: HandFlesh, spot: Spot) -> _Place:
    """Look up the nearest cone of each point."""
    _, shares, _ = spot.surface
    points, nearest = spot.points, shares.argmax(dim=0)
    cones = [cone for limb in flesh.limbs for cone in limb.cones]
    starts, ends = np.stack([cone.start for cone in cones]), np.stack([cone.end for cone in cones])
    lengths = np.linalg.norm(ends - starts, axis=1)
    axes = (ends - starts) / np.maximum(lengths, 1e-6)[:, None]
    numbers = np.stack([flesh.fingers, flesh.bones])
    second_half = np.concatenate([[False], (numbers[:, 1:] == numbers[:, :-1]).all(axis=0) & (numbers[1, 1:] > 0)])

    def looked_up(table: Float64[np.ndarray, "_ c"]) -> Float[Tensor, "_ n"]:
        return torch.tensor(table.astype(np.float32), device=points.device)[:, nearest]

    palmar = torch.tensor(flesh.palmar.T.astype(np.float32), device=points.device) @ shares
    palmar = unit(palmar)
    axis = looked_up(axes.T)
    local = points - looked_up(starts.T)
    halves = looked_up(np.stack([lengths * second_half, lengths * (2 - second_half)]))
    on_cone = (axis * local).sum(dim=0)
    fingers, bones = torch.tensor(numbers, device=points.device)[:, nearest]
    return _Place(
        finger=fingers, bone=bones, along=(on_cone + halves[0]) / flesh.scale, left=(halves[1] - on_cone) / flesh.scale,
        sideways=(torch.linalg.cross(axis, palmar, dim=0) * local).sum(dim=0) / flesh.scale,
        palmar=(palmar * spot.surface.normals).sum(dim=0),
    )  # fmt: skip


def _tones(
    skin: Float[Tensor, "3 1"], place: _Place, palm_side: Float[Tensor, " n"], points: Float[Tensor, "3 n"]
) -> Float[Tensor, "3 n"]:
    """Lighter palms, redder tips and knuckles, a little mottled."""
    albedo = mix(skin, skin * 0.76 + column(_PALM_LIGHT, points) * 0.24, palm_side)
    near_tip = smooth_step(14, 2, place.left) * (place.bone == 3)
    joint = torch.exp(-((place.along / 6) ** 2)) * (place.bone > 0) + torch.exp(-((place.left / 6) ** 2)) * (
        (place.bone > 0) & (place.bone < 3)
    )
    flush = near_tip * 0.22 + joint * 0.18 * (1 - palm_side)
    albedo = mix(albedo, albedo * 0.75 + column(_FLUSH, points) * 0.25, flush.clamp(0, 1))
    albedo = albedo * (1 - 0.14 * joint.clamp(0, 1) * (1 - palm_side))
    return albedo * (1 + 0.04 * mottle(points, 17.0) + 0.03 * mottle(points, 47.0))


def _palm_lines(
    thumbwards: Float[Tensor, " n"], fingerwards: Float[Tensor, " n"], pixel: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """The three great creases: how dark, 0..1."""
    dark = torch.zeros_like(pixel)
    for crease in _PALM_CREASES:
        distance = torch.full_like(pixel, torch.inf)
        for start, end in pairwise(crease):
            step = (end[0] - start[0], end[1] - start[1])
            squared = step[0] ** 2 + step[1] ** 2
            x, y = thumbwards - start[0], fingerwards - start[1]
            share = ((x * step[0] + y * step[1]) / squared).clamp(0, 1)
            distance = torch.minimum(distance, torch.hypot(x - share * step[0], y - share * step[1]))
        dark = torch.maximum(dark, _line(distance, 1.1, pixel))
    return dark


def _finger_lines(place: _Place, pixel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Creases before each joint on the palm's side, wrinkles over it on the back."""
    on_joint, before = place.bone >= 2, (place.bone == 1) | (place.bone == 2)
    crease = torch.where(on_joint, _line(place.along, 1.0, pixel), 0.0)
    crease = torch.maximum(crease, torch.where(before, _line(place.left, 1.0, pixel), 0.0))
    # The lowest crease of a finger lies where it leaves the palm, well after its knuckle.
    at_root = (place.bone == 1) & (place.finger > 1)
    crease = torch.maximum(crease, torch.where(at_root, _line(place.along - 21, 1.0, pixel), 0.0))
    wrinkles = torch.zeros_like(pixel)
    for offset in (-3.2, 0.0, 3.2):
        wrinkles = torch.maximum(wrinkles, torch.where(on_joint, _line(place.along - offset, 0.8, pixel), 0.0))
        wrinkles = torch.maximum(wrinkles, torch.where(before, _line(place.left + offset, 0.8, pixel), 0.0))
    front, back = smooth_step(0.25, 0.85, place.palmar), smooth_step(-0.4, -0.9, place.palmar)
    return torch.maximum(crease * front * 0.6, wrinkles * back * 0.35)


def _nails(place: _Place, pixel: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Nails, and the shaded rim around them, 0..1."""
    half_width = torch.where(place.finger == 1, 6.2, torch.where(place.finger == 5, 3.9, 4.9))
    length = torch.where(place.finger == 1, 13.0, torch.where(place.finger == 5, 9.0, 11.0))
    across = place.sideways.abs() / half_width
    # From the flesh's end towards the joint; a rounded root.
    lengthways = (place.left + 4.5) / length
    inside = 1 - torch.maximum(across, (lengthways - 0.5).abs() * 2 * (0.85 + 0.15 * across**2))
    width = pixel / length + 0.06
    on_back: Bool[Tensor, " n"] = (place.bone == 3) & (place.palmar < -0.1)
    nail = smooth_step(0.0, 1.0, inside / width + 0.5) * on_back
    rim = torch.exp(-((inside / (width + 0.08)) ** 2)) * on_back
    return nail, rim


def _line(distance: Float[Tensor, " n"], width: float, pixel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A soft line; wider and weaker where pixels are larger than it is."""
    seen = torch.hypot(pixel * 0.6, torch.full_like(pixel, width))
    return torch.exp(-((distance / seen) ** 2)) * (width / seen)


def _along(direction: Float64[np.ndarray, "3"], local: Float[Tensor, "3 n"]) -> Float[Tensor, " n"]:
    return (column(direction, local) * local).sum(dim=0)
