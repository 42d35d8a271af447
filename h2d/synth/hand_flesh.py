"""The flesh of a hand and its forearm around 21 joints, and the directions that its skin needs.

Radii are an adult's, for a palm of 92 mm from wrist to middle knuckle, and scale with it. Axis legend: c cones;
joints from where a finger leaves the palm.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from h2d.pose.layouts import FINGERS, WRIST
from h2d.synth.scene import Hand, Vector
from h2d.synth.sdf import Cone, Limb

PALM_MM = 92.0
_FINGER_RADII = {
    "thumb": (11.4, 10.4, 7.6),
    "index": (10.3, 9.5, 8.2, 6.7),
    "middle": (10.5, 9.8, 8.4, 6.9),
    "ring": (10.1, 9.2, 7.9, 6.5),
    "little": (9.2, 8.0, 7.0, 5.8),
}
"""At each joint, from where the finger leaves the palm to its tip."""
_TIP_BACK_MM = 2.5
"""The landmark of a tip lies under the nail's end, nearer to the skin than the flesh's own radius."""
_METACARPAL_RADII = {"index": (12.0, 9.4), "middle": (12.5, 9.7), "ring": (12.0, 9.2), "little": (11.0, 8.4)}
_CARPAL_OFFSETS_MM = {"index": 13.0, "middle": 4.5, "ring": -4.5, "little": -13.5}
_NOWHERE_MM = 500.0
_FOREARM_RADII = (15.5, 26.0, 34.0)
"""Of each of its two bones' flesh: at the wrist, half-way, at the elbow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandFlesh:
    """Cones of a hand, root first, and how each lies."""

    limbs: tuple[Limb, ...]
    fingers: tuple[int, ...]
    """For each cone: 0 palm, 1..5 thumb to little finger, 6 forearm."""
    bones: tuple[int, ...]
    """For each cone: 0, or 1..3 from knuckle to tip."""
    palmar: Float64[np.ndarray, "c 3"]
    """The direction of each cone's palm side."""
    scale: float
    origin: Vector
    along: Vector
    """From wrist to middle knuckle, square to the palm's normal."""
    radial: Vector
    """To the thumb's side."""
    normal: Vector
    """Out of the palm."""
    forearm: Vector
    """From elbow to wrist."""
    forearm_length: float


def hand_flesh(hand: Hand, elbow: Vector, *, sleeved: bool) -> HandFlesh:
    """Build the cones of a posed hand and its forearm, or the little of it that a long sleeve shows."""
    joints = hand.joints
    scale = float(np.linalg.norm(joints[9] - joints[WRIST])) / PALM_MM
    along = _unit(joints[9] - joints[WRIST])
    normal = _unit(hand.palm_normal - along * (hand.palm_normal @ along))
    radial = _unit(np.cross(normal, along))
    radial = radial if radial @ (joints[5] - joints[17]) > 0 else -radial
    palm = _palm(joints, along * scale, radial * scale, normal * scale, scale)
    forearm_vector = joints[WRIST] - elbow
    forearm = _unit(forearm_vector)
    arm = _forearm(joints[WRIST], elbow, _unit(radial - forearm * (radial @ forearm)), scale)
    if sleeved:
        arm = [
            cone._replace(end=_between(cone.start, cone.end, 0.6), end_radius=cone.start_radius) for cone in arm[::2]
        ]
    limbs = [Limb(cones=palm, blend=3.5 * scale), Limb(cones=arm, blend=8 * scale, join=9 * scale)]
    fingers, bones = [0] * len(palm) + [6] * len(arm), [0] * (len(palm) + len(arm))
    palmar = [normal] * len(bones)
    for number, (name, points) in enumerate(FINGERS.items(), start=1):
        free = points[-len(_FINGER_RADII[name]) :]
        cones = _finger(joints[list(free)], np.array(_FINGER_RADII[name]) * scale, scale)
        limbs.append(Limb(cones=cones, blend=1.2 * scale, join=5.0 * scale, touch=0.7 * scale))
        sides = _thumb_palmar(joints, normal, radial) if name == "thumb" else _palmar(joints, points, normal)
        for bone, side in zip(range(5 - len(free), 4), sides, strict=True):
            fingers += [number] * 2
            bones += [bone] * 2
            palmar += [side] * 2
        if name == "thumb":
            # All fingers have as many cones, so that they are computed together: two of the thumb's are never felt.
            nothing = Cone(joints[points[0]], joints[points[0]], -_NOWHERE_MM, -_NOWHERE_MM)
            cones += [nothing] * 2
            fingers += [number] * 2
            bones += [3] * 2
            palmar += [sides[-1]] * 2
    return HandFlesh(
        limbs=tuple(limbs), fingers=tuple(fingers), bones=tuple(bones), palmar=np.stack(palmar), scale=scale,
        origin=joints[WRIST], along=along, radial=radial, normal=normal, forearm=forearm,
        forearm_length=float(np.linalg.norm(forearm_vector)),
    )  # fmt: skip


def _palm(
    joints: Float64[np.ndarray, "21 3"], along: Vector, radial: Vector, normal: Vector, scale: float
) -> list[Cone]:
    """Metacarpals side by side, the pads of thumb and little finger, the web of the thumb."""
    wrist, thumb_base, thumb_knuckle = joints[WRIST], joints[1], joints[2]
    cones = []
    for name, (start, end) in _METACARPAL_RADII.items():
        carpal = wrist + radial * _CARPAL_OFFSETS_MM[name] + along * 8 + normal * 1.5
        cones.append(Cone(carpal, joints[FINGERS[name][0]] + normal * 1.0, start * scale, end * scale))
    index, little = joints[5], joints[17]
    cones += [
        Cone(thumb_base + normal * 3, thumb_knuckle, 12.5 * scale, 10.2 * scale),
        Cone(wrist + radial * 14 + along * 16 + normal * 6, _between(wrist, thumb_knuckle, 0.8) + normal * 5,
             11.5 * scale, 10 * scale),
        Cone(wrist - radial * 15 + along * 14 + normal * 5, _between(wrist, little, 0.72) - radial * 3 + normal * 5,
             11.5 * scale, 9.5 * scale),
        Cone(_between(wrist, index, 0.86) + normal * 5, _between(wrist, little, 0.86) + normal * 5,
             7 * scale, 6.5 * scale),
        Cone(_between(thumb_base, thumb_knuckle, 0.72), _between(wrist, index, 0.74), 6.5 * scale, 7 * scale),
    ]  # fmt: skip
    for first, second in ((5, 9), (9, 13), (13, 17)):
        left, right = (_between(joints[knuckle], joints[knuckle + 1], 0.2) for knuckle in (first, second))
        cones.append(Cone(left, right, 6.2 * scale, 6.2 * scale))
    return cones


def _finger(points: Float64[np.ndarray, "joints 3"], radii: Float64[np.ndarray, " joints"], scale: float) -> list[Cone]:
    """Two cones for each bone, thinner in the middle."""
    points = points.copy()
    points[-1] -= _unit(points[-1] - points[-2]) * _TIP_BACK_MM * scale
    cones = []
    last = len(points) - 2
    for bone in range(last + 1):
        start, end = points[bone], points[bone + 1]
        middle = (start + end) / 2
        waist = float(radii[bone] + radii[bone + 1]) / 2 * (0.96 if bone < last else 1.0)
        cones += [Cone(start, middle, float(radii[bone]), waist), Cone(middle, end, waist, float(radii[bone + 1]))]
    return cones


def _forearm(wrist: Vector, elbow: Vector, sideways: Vector, scale: float) -> list[Cone]:
    """Flat at the wrist, round towards the elbow."""
    at_wrist, half, at_elbow = (radius * scale for radius in _FOREARM_RADII)
    half_way = _between(wrist, elbow, 0.45)
    # Without this, a hand that is bent back starts with a fold.
    wrist = wrist - _unit(wrist - elbow) * 4 * scale
    cones = []
    for side in (-1, 1):
        middle = half_way + sideways * side * 11 * scale
        cones += [
            Cone(wrist + sideways * side * 11.5 * scale, middle, at_wrist, half),
            Cone(middle, elbow + sideways * side * 4 * scale, half, at_elbow),
        ]
    return cones


def _palmar(joints: Float64[np.ndarray, "21 3"], points: tuple[int, int, int, int], normal: Vector) -> list[Vector]:
    """The palm's normal, carried along a finger's bends."""
    previous = _unit(joints[points[0]] - joints[WRIST])
    side = _unit(normal - previous * (normal @ previous))
    sides = []
    for start, end in pairwise(points):
        bone = _unit(joints[end] - joints[start])
        turned = _cross(previous, bone)
        # Rodrigues' turn from one bone to the next.
        sideways = _cross(turned, side)
        side = side + sideways + _cross(turned, sideways) / max(1 + previous @ bone, 1e-3)
        side, previous = _unit(side - bone * (side @ bone)), bone
        sides.append(side)
    return sides


def _thumb_palmar(joints: Float64[np.ndarray, "21 3"], normal: Vector, radial: Vector) -> list[Vector]:
    """The thumb's pad looks at the little finger and out of the palm; its own bend shows where more exactly."""
    metacarpal, *bones = (_unit(joints[point + 1] - joints[point]) for point in (1, 2, 3))
    look = normal * 0.6 - radial * 0.8 + bones[1] - metacarpal
    return [_unit(look - bone * (look @ bone)) for bone in bones]


def _between(first: Vector, second: Vector, share: float) -> Vector:
    return np.asarray(first + (second - first) * share)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector))


def _cross(first: Vector, second: Vector) -> Vector:
    """Ten times as fast as numpy's, for a single pair."""
    (a, b, c), (x, y, z) = first.tolist(), second.tolist()
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])
