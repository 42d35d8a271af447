"""The flesh of head, neck, torso, arms and legs around a person's joints, as cones.

Radii are an adult's for shoulder joints 350 mm apart and 500 mm above the hips, and scale with both.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from h2d.pose.layouts import ELBOWS, HIPS, SHOULDERS, SIDES, WRISTS, Side
from h2d.synth.scene import Person, Rotation, Vector
from h2d.synth.sdf import Cone, Limb

_KNEES: dict[Side, int] = {"left": 13, "right": 14}
_ANKLES: dict[Side, int] = {"left": 15, "right": 16}
_FEET: dict[Side, tuple[int, int, int]] = {"left": (17, 18, 19), "right": (20, 21, 22)}
"""Big toe, small toe, heel."""

_APART_MM = 0.3
"""How softly things meet that do not grow together."""
_CUFF = 0.14
"""Where a long sleeve ends, as a share of the way from wrist to elbow; our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trunk:
    """The directions of an upright body."""

    shoulders: Vector
    """Between both shoulder joints."""
    hips: Vector
    up: Vector
    left: Vector
    """Along the shoulders."""
    scale: float


def trunk(body: Float64[np.ndarray, "23 3"]) -> Trunk:
    """Read the trunk's frame off the joints."""
    shoulders, hips = ((body[pair["left"]] + body[pair["right"]]) / 2 for pair in (SHOULDERS, HIPS))
    across = body[SHOULDERS["left"]] - body[SHOULDERS["right"]]
    height = float(np.linalg.norm(shoulders - hips))
    breadth = float(np.linalg.norm(across))
    return Trunk(
        shoulders=shoulders, hips=hips, up=(shoulders - hips) / height, left=across / breadth,
        scale=(breadth / 350 + height / 500) / 2,
    )  # fmt: skip


def top(person: Person) -> list[Limb]:
    """Torso and upper sleeves."""
    assert person.body is not None
    frame = trunk(person.body)
    scale = frame.scale
    up, left = frame.up * scale, frame.left * scale
    chest, waist, hem = (frame.shoulders - up * 75, frame.shoulders - up * 270, frame.hips + up * 55)
    torso = []
    sleeves = []
    for side, sign in zip(SIDES, (1, -1), strict=True):
        shoulder, elbow = person.body[SHOULDERS[side]], person.body[ELBOWS[side]]
        torso += [
            Cone(chest + left * sign * 66, waist + left * sign * 50, 80 * scale, 74 * scale),
            Cone(waist + left * sign * 50, hem + left * sign * 58, 74 * scale, 80 * scale),
            Cone(frame.shoulders + up * 44 + left * sign * 34, shoulder - left * sign * 22 - up * 4,
                 36 * scale, 38 * scale),
            Cone(frame.shoulders + up * 52 + left * sign * 16, frame.shoulders - up * 30 + left * sign * 40,
                 42 * scale, 62 * scale),
        ]  # fmt: skip
        short = person.appearance.sleeves == "short"
        end, radius = (shoulder + (elbow - shoulder) * 0.6, 50.0) if short else (elbow, 43.0)
        cones = [Cone(shoulder - left * sign * 10 - up * 6, end, 47 * scale, radius * scale)]
        sleeves.append(Limb(cones=cones, blend=6 * scale, join=26 * scale, touch=6 * scale))
    return [Limb(cones=torso, blend=16 * scale), *sleeves]


def forearm_sleeves(person: Person) -> list[Limb]:
    """From the elbows to cuffs before the wrists."""
    assert person.body is not None
    scale = trunk(person.body).scale
    limbs = []
    for side in SIDES:
        elbow, wrist = person.body[ELBOWS[side]], person.body[WRISTS[side]]
        cuff = wrist + (elbow - wrist) * _CUFF
        sleeve = Cone(elbow, cuff, 43 * scale, 34 * scale)
        fold = Cone(cuff, cuff + (elbow - wrist) * 0.06, 34 * scale, 37 * scale)
        limbs.append(Limb(cones=[sleeve, fold], blend=2 * scale, join=_APART_MM))
    return limbs


def upper_arms(person: Person) -> list[Limb]:
    """Bare arms below short sleeves."""
    assert person.body is not None
    scale = trunk(person.body).scale
    limbs = []
    for side in SIDES:
        shoulder, elbow = person.body[SHOULDERS[side]], person.body[ELBOWS[side]]
        arm = Cone(shoulder + (elbow - shoulder) * 0.35, elbow, 41 * scale, 38 * scale)
        limbs.append(Limb(cones=[arm], blend=1, join=_APART_MM))
    return limbs


def bottom(person: Person) -> list[Limb]:
    """Hips and trousers."""
    assert person.body is not None
    frame = trunk(person.body)
    scale = frame.scale
    up, left = frame.up * scale, frame.left * scale
    pelvis = [
        Cone(frame.hips + up * 70 + left * sign * 54, frame.hips + left * sign * 62, 74 * scale, 82 * scale)
        for sign in (1, -1)
    ]
    limbs = [Limb(cones=pelvis, blend=14 * scale)]
    for side in SIDES:
        hip, knee, ankle = (person.body[points[side]] for points in (HIPS, _KNEES, _ANKLES))
        leg = [
            Cone(hip, knee, 80 * scale, 58 * scale),
            Cone(knee, knee + (ankle - knee) * 0.94, 58 * scale, 46 * scale),
        ]
        limbs.append(Limb(cones=leg, blend=6 * scale, join=14 * scale, touch=4 * scale))
    return limbs


def shoes(person: Person) -> list[Limb]:
    """From heels to toes."""
    assert person.body is not None
    scale = trunk(person.body).scale
    limbs = []
    for side in SIDES:
        ankle = person.body[_ANKLES[side]]
        big, small, heel = (person.body[point] for point in _FEET[side])
        cones = [
            Cone(heel, big, 27 * scale, 23 * scale),
            Cone(heel, small, 27 * scale, 21 * scale),
            Cone(heel, (big + small) / 2 + (big - heel) * 0.03, 27 * scale, 24 * scale),
            Cone(ankle, (heel + big) / 2, 38 * scale, 26 * scale),
        ]
        limbs.append(Limb(cones=cones, blend=7 * scale, join=_APART_MM))
    return limbs


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadFrame:
    """From the head's frame to the world."""

    rotation: Rotation
    centre: Vector
    scale: float

    def place(self, x: float, y: float, z: float) -> Vector:
        """A point given in the standard head."""
        return np.asarray(self.centre + self.rotation @ (np.array([x, y, z]) * self.scale))

    def cone(self, start: tuple[float, float, float], end: tuple[float, float, float], *radii: float) -> Cone:
        """A cone given in the standard head; one radius holds for both ends."""
        return Cone(self.place(*start), self.place(*end), radii[0] * self.scale, radii[-1] * self.scale)

    def pair(self, start: tuple[float, float, float], end: tuple[float, float, float], *radii: float) -> list[Cone]:
        """The same on both sides."""
        mirrored = [(-point[0], point[1], point[2]) for point in (start, end)]
        return [self.cone(start, end, *radii), self.cone(mirrored[0], mirrored[1], *radii)]


def head_frame(person: Person) -> HeadFrame:
    """The person's head."""
    assert person.head_rotation is not None
    assert person.head_centre is not None
    return HeadFrame(rotation=person.head_rotation, centre=person.head_centre, scale=person.head_scale)


def head(person: Person) -> list[Limb]:
    """Skull, face, ears and neck."""
    assert person.body is not None
    frame = head_frame(person)
    cone, pair, scale = frame.cone, frame.pair, frame.scale
    skull = [
        cone((0, -38, -12), (0, -36, 20), 71, 70),
        *pair((12, 4, -34), (13, 54, -40), 46, 37),
        *pair((46, 16, -42), (38, 30, -44), 20, 26),
        *pair((40, 8, -22), (38, 54, -22), 28, 24),
        *pair((46, 52, -16), (17, 85, -56), 16, 17),
        cone((0, 60, -62), (0, 91, -66), 20, 16),
        *pair((12, -23, -78), (46, -20, -66), 7, 6),
    ]
    body = trunk(person.body)
    neck = Cone(body.shoulders + body.up * 5 * body.scale, frame.place(0, 40, 20), 58 * body.scale, 50 * scale)
    nose = [
        cone((0, -6, -85), (0, 34, -103), 7, 10.5),
        *pair((10, 42, -92), (9, 40, -90), 7.5),
    ]
    features = [
        pair((31, 1, -70), (31, 1, -70), 12.7),
        pair((4, 70, -87), (20, 73, -80), 4.5, 2),
        pair((1, 80, -84), (9, 80, -84), 5.5),
        pair((71, -6, 8), (68, 28, 0), 9, 6),
    ]
    return [
        Limb(cones=[*skull, neck], blend=5 * scale),
        Limb(cones=pair((31, 1, -99), (34, 1, -97), 16), blend=1, join=4 * scale, carves=True),
        Limb(cones=nose, blend=3 * scale, join=5 * scale),
        *(Limb(cones=cones, blend=1.5 * scale, join=2 * scale) for cones in features),
    ]


def hair(person: Person) -> list[Limb]:
    """A cap on the skull, and long hair behind the ears."""
    frame = head_frame(person)
    cone, pair, scale = frame.cone, frame.pair, frame.scale
    cap = [cone((0, -48, -1), (0, -40, 24), 76, 78), *pair((47, -36, 0), (46, 2, 32), 30, 32)]
    limbs = [Limb(cones=cap, blend=3 * scale)]
    if person.appearance.hair_style == "long":
        locks = [*pair((58, -20, 8), (70, 70, 22), 24, 28), *pair((70, 70, 22), (78, 170, 20), 28, 20)]
        back = [cone((0, 0, 50), (0, 150, 62), 50, 46)]
        limbs.append(Limb(cones=[*locks, *back], blend=8 * scale, join=8 * scale))
    return limbs
