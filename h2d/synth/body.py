"""The body's skeleton: its proportions, its stance, and arms that reach where the hands are.

The person's frame has its origin between the shoulders, x to the person's left, y down, z to the back: that of a world
in which the person faces the camera. Segment lengths are shares of the body's height as anthropometry tables give them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from h2d.pose.layouts import SIDES, Side
from h2d.synth.head import HEAD_POINTS_MM
from h2d.synth.scene import Hand, Vector

Legs: TypeAlias = Literal["standing", "sitting"]

_OUTWARDS: dict[Side, float] = {"left": 1.0, "right": -1.0}
_LONGEST_REACH = 0.985
_SHARPEST_ELBOW_DEGREES = 35.0
_NUM_SWIVELS = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """The rigid parts of one person's body, millimetres."""

    height: float
    shoulder_half: float
    upper_arm: float
    forearm: float
    torso: float
    """From between the shoulders to between the hips."""
    hip_half: float
    thigh: float
    shank: float
    foot: float
    """From heel to big toe."""

    @property
    def standing(self) -> float:
        """From between the shoulders to the ankles."""
        return self.torso + self.thigh + self.shank

    @property
    def scale(self) -> float:
        """Of hands and head: 1 for the mean adult."""
        return self.height / 1700


@dataclass(frozen=True, kw_only=True, slots=True)
class Stance:
    """Everything of a posed body but its arms, in the world."""

    torso_rotation: Rotation
    shoulders: Mapping[Side, Vector]
    hips: Mapping[Side, Vector]
    knees: Mapping[Side, Vector]
    ankles: Mapping[Side, Vector]
    feet: Float64[np.ndarray, "6 3"]
    """Big toe, small toe and heel, left then right."""
    head_centre: Vector
    head_rotation: Rotation
    head_scale: float

    def head_point(self, point: Vector) -> Vector:
        """From the standard head's frame to the world."""
        world: Vector = self.head_rotation.apply(point * self.head_scale) + self.head_centre
        return world


def sample_build(rng: np.random.Generator) -> Build:
    """An adult of 1.5 to 1.95 m."""
    height = float(np.clip(rng.normal(1700, 85), 1500, 1950))
    arms, legs = (float(np.clip(rng.normal(1, 0.03), 0.93, 1.07)) for _ in range(2))
    return Build(
        height=height,
        shoulder_half=0.108 * height * float(np.clip(rng.normal(1, 0.05), 0.9, 1.1)),
        upper_arm=0.172 * height * arms,
        forearm=0.150 * height * arms,
        torso=0.288 * height,
        hip_half=0.056 * height * float(np.clip(rng.normal(1, 0.05), 0.9, 1.1)),
        thigh=0.245 * height * legs,
        shank=0.246 * height * legs,
        foot=0.145 * height,
    )


def sample_stance(build: Build, rng: np.random.Generator, *, at: Vector, legs: Legs) -> Stance:
    """A person who faces the camera, more or less; `at` is the place between the shoulders."""
    yaw, roll = np.clip(rng.normal(0, [12, 2.5]), [-28, -6], [28, 6])
    lean = rng.uniform(-3, 7)
    torso = Rotation.from_euler("YXZ", [yaw, lean, roll], degrees=True)
    turn, nod, tilt = np.clip(rng.normal(0, [9, 4, 4]), [-22, -10, -10], [22, 10, 10])
    head = Rotation.from_euler("YXZ", [0.35 * yaw + turn, nod, 0.5 * roll + tilt], degrees=True)
    facing = Rotation.from_euler("Y", 0.8 * yaw, degrees=True)
    hip_centre = at + torso.apply([0, build.torso, 0])
    shoulders = {side: at + torso.apply([_OUTWARDS[side] * build.shoulder_half, 0, 0]) for side in SIDES}
    hips = {side: hip_centre + facing.apply([_OUTWARDS[side] * build.hip_half, 0, 0]) for side in SIDES}
    knees, ankles, feet = _legs(build, hips, facing, legs, rng)
    neck = torso.apply([0, -0.052 * build.height, -0.012 * build.height])
    return Stance(
        torso_rotation=torso,
        shoulders=shoulders,
        hips=hips,
        knees=knees,
        ankles=ankles,
        feet=feet,
        head_centre=at + neck + head.apply([0, -109 * build.scale, -6]),
        head_rotation=head,
        head_scale=build.scale,
    )


def reach(build: Build, stance: Stance, side: Side, hand: Hand) -> tuple[Vector, Hand]:
    """The elbow, and the hand moved into reach without turning it.

    Of all the elbows that reach, the one that bends the wrist least and hangs most naturally is taken.
    """
    shoulder = stance.shoulders[side]
    hand = _within_reach(build, shoulder, hand)
    wrist = hand.joints[0]
    chord = wrist - shoulder
    distance = float(np.linalg.norm(chord))
    along = chord / distance
    middle = (distance**2 + build.upper_arm**2 - build.forearm**2) / (2 * distance)
    radius = np.sqrt(max(build.upper_arm**2 - middle**2, 0.0))
    down = np.array([0.0, 1.0, 0.0]) - along[1] * along
    if np.linalg.norm(down) < 1e-3:
        down = np.array([0.0, 0.0, 1.0]) - along[2] * along
    down /= np.linalg.norm(down)
    swivel = np.linspace(0, 2 * np.pi, _NUM_SWIVELS, endpoint=False)[:, None]
    circle = np.cos(swivel) * down + np.sin(swivel) * np.cross(along, down)
    elbows = shoulder + along * middle + circle * radius
    costs = _wrist_costs(hand, elbows) + _elbow_costs(stance, side, elbows, wrist)
    return elbows[int(np.argmin(costs))], hand


def body_points(
    stance: Stance, elbows: Mapping[Side, Vector], hands: Mapping[Side, Hand]
) -> Float64[np.ndarray, "23 3"]:
    """The 17 body and 6 foot points of COCO-WholeBody."""
    head = stance.head_rotation.apply(HEAD_POINTS_MM * stance.head_scale) + stance.head_centre
    wrists = {side: hands[side].joints[0] for side in SIDES}
    pairs = (stance.shoulders, elbows, wrists, stance.hips, stance.knees, stance.ankles)
    limbs = [pair[side] for pair in pairs for side in SIDES]
    points: Float64[np.ndarray, "23 3"] = np.concatenate([head, limbs, stance.feet])
    return points


def _legs(
    build: Build, hips: Mapping[Side, Vector], facing: Rotation, legs: Legs, rng: np.random.Generator
) -> tuple[dict[Side, Vector], dict[Side, Vector], Float64[np.ndarray, "6 3"]]:
    knees: dict[Side, Vector] = {}
    ankles: dict[Side, Vector] = {}
    feet = []
    for side in SIDES:
        apart = _OUTWARDS[side] * rng.uniform(1, 7)
        raised, bent = (rng.uniform(68, 84), rng.uniform(75, 95)) if legs == "sitting" else rng.uniform(0, [7, 14])
        thigh = facing * Rotation.from_euler("ZX", [-apart, -raised], degrees=True)
        shank = facing * Rotation.from_euler("ZX", [-0.4 * apart, bent - raised], degrees=True)
        toes = facing * Rotation.from_euler("Y", -_OUTWARDS[side] * rng.uniform(2, 18), degrees=True)
        knees[side] = hips[side] + thigh.apply([0, build.thigh, 0])
        ankles[side] = knees[side] + shank.apply([0, build.shank, 0])
        drop, out = 0.036 * build.height, _OUTWARDS[side]
        sole = np.array(
            [
                [-0.07 * out * build.foot, drop, -0.72 * build.foot],
                [0.18 * out * build.foot, drop, -0.60 * build.foot],
                [0, drop, 0.28 * build.foot],
            ]
        )
        feet.append(ankles[side] + toes.apply(sole))
    return knees, ankles, np.concatenate(feet)


def _within_reach(build: Build, shoulder: Vector, hand: Hand) -> Hand:
    chord = hand.joints[0] - shoulder
    distance = np.linalg.norm(chord)
    upper, fore = build.upper_arm, build.forearm
    nearest = np.sqrt(upper**2 + fore**2 - 2 * upper * fore * np.cos(np.radians(_SHARPEST_ELBOW_DEGREES)))
    allowed = np.clip(distance, nearest, _LONGEST_REACH * (upper + fore))
    shift = chord * (allowed / distance - 1)
    return Hand(joints=hand.joints + shift, palm_normal=hand.palm_normal)


def _wrist_costs(hand: Hand, elbows: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
    """How far the wrist is bent, above all beyond what it can."""
    axis = hand.joints[9] - hand.joints[0]
    axis /= np.linalg.norm(axis)
    across = np.cross(axis, hand.palm_normal)
    forearms = hand.joints[0] - elbows
    forearms /= np.linalg.norm(forearms, axis=1, keepdims=True)
    ahead = forearms @ axis
    flexion = np.degrees(np.arctan2(np.abs(forearms @ hand.palm_normal), ahead))
    deviation = np.degrees(np.arctan2(np.abs(forearms @ across), ahead))
    beyond = np.maximum(flexion - 50, 0) ** 2 + 2 * np.maximum(deviation - 22, 0) ** 2
    costs: Float64[np.ndarray, " n"] = (beyond + 0.1 * flexion**2 + 0.2 * deviation**2) / 100
    return costs


def _elbow_costs(
    stance: Stance, side: Side, elbows: Float64[np.ndarray, "n 3"], wrist: Vector
) -> Float64[np.ndarray, " n"]:
    """Elbows hang down and outwards, before the body's frontal plane, outside torso and head."""
    local = stance.torso_rotation.inv().apply(elbows - stance.shoulders[side])
    out, down, back = local[:, 0] * _OUTWARDS[side], local[:, 1], local[:, 2]
    costs = 0.0006 * np.maximum(60 - down, 0) ** 2 / 4 + 0.004 * np.maximum(20 - out, 0) ** 2
    costs += 0.002 * np.maximum(back - 60, 0) ** 2
    places = np.linspace(0.0, 0.9, 7)[:, None, None]
    forearm = elbows * (1 - places) + wrist * places
    clear = np.linalg.norm(forearm - stance.head_centre, axis=-1).min(axis=0)
    costs += 0.01 * np.maximum(150 * stance.head_scale - clear, 0) ** 2
    return np.asarray(costs, np.float64)
