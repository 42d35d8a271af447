"""The hand's kinematics: from 21 joint angles to 21 joint places, within anatomical limits.

A hand's own frame has its origin at the wrist, x to the right of the picture, y down, z away from the camera, and shows
the hand upright with its palm to the camera: fingers to -y, palm to -z, and a right hand's thumb to +x. Only the right
hand is defined; the left one is its mirror image. Lengths are means of adults' hand bones as published from
radiographs, with the carpus and the soft tissue of the fingertips added; ranges of motion are those of clinical
goniometry, rounded.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from h2d.pose.layouts import HAND_BONES, Side
from h2d.synth.scene import Hand, Vector

Angles: TypeAlias = Float64[np.ndarray, "21"]
"""Degrees, in the order of `ANGLE_NAMES`."""

_FINGER_LIMITS = {
    "index": (-15.0, 25.0),
    "middle": (-15.0, 15.0),
    "ring": (-22.0, 12.0),
    "little": (-38.0, 12.0),
}
"""How far each finger spreads: towards the thumb is positive, degrees."""

LIMITS: dict[str, tuple[float, float]] = {
    "thumb_flexion": (-70.0, 20.0),  # in the plane of the palm: 0 lies along the middle finger, negative spreads out
    "thumb_abduction": (-10.0, 65.0),  # out of the palm
    "thumb_opposition": (0.0, 95.0),  # turns the pad from the index finger towards the palm
    "thumb_mcp": (-15.0, 65.0),
    "thumb_ip": (-25.0, 85.0),
} | {
    f"{finger}_{joint}": limits
    for finger, spread in _FINGER_LIMITS.items()
    for joint, limits in (
        ("spread", spread),
        ("mcp", (-25.0, 95.0)),
        ("pip", (-5.0, 115.0)),
        ("dip", (-10.0, 85.0)),
    )
}
"""Least and greatest angle of every joint, degrees; flexion is positive."""

ANGLE_NAMES = tuple(LIMITS)
ANGLE_LIMITS = np.array(tuple(LIMITS.values()), np.float64)

_PALM_MM = np.array([[24, -20, -9], [24, -92, 0], [3, -94, 2], [-16, -86, 1], [-33, -75, -4]], np.float64)
_PHALANGES_MM = np.array(
    [[46.2, 31.6, 26.5], [39.8, 22.4, 19.6], [44.6, 26.3, 21.4], [41.4, 25.7, 21.3], [32.7, 18.1, 19.7]], np.float64
)
_ALONG_FINGER = np.array([0.0, -1.0, 0.0])
_OUT_OF_PALM = np.array([0.0, 0.0, -1.0])
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True, slots=True)
class HandShape:
    """The rigid parts of one person's right hand, millimetres."""

    palm: Float64[np.ndarray, "5 3"]
    """From the wrist to the thumb's first joint and to the four knuckles."""
    phalanges: Float64[np.ndarray, "5 3"]
    """Lengths from base to tip, thumb first; the thumb's metacarpal is its first."""

    def bone_lengths(self) -> Float64[np.ndarray, "20"]:
        """In the order of `HAND_BONES`."""
        palm = np.linalg.norm(self.palm, axis=1)
        lengths: Float64[np.ndarray, "20"] = np.concatenate([palm[:, None], self.phalanges], axis=1).ravel()
        return lengths


def sample_shape(rng: np.random.Generator, *, scale: float = 1.0) -> HandShape:
    """A natural hand; `scale` 1 is 186 mm from the wrist to the middle finger's tip."""
    overall = scale * np.clip(rng.normal(1.0, 0.03), 0.92, 1.08)
    breadth = np.clip(rng.normal(1.0, 0.04), 0.9, 1.1)
    fingers = np.clip(rng.normal(1.0, 0.025, (5, 1)), 0.94, 1.06)
    return HandShape(palm=_PALM_MM * [breadth, 1, 1] * overall, phalanges=_PHALANGES_MM * fingers * overall)


def mean_shape() -> HandShape:
    """The mean adult hand."""
    return HandShape(palm=_PALM_MM.copy(), phalanges=_PHALANGES_MM.copy())


def pose_hand(shape: HandShape, angles: Angles, side: Side) -> Hand:
    """The joints in the hand's own frame; `ValueError` names the angle that no hand can reach."""
    _check_limits(angles)
    turns = Rotation.concatenate([_thumb_turns(angles), _finger_turns(angles)])
    bones = turns.apply(_ALONG_FINGER).reshape(5, 3, 3) * shape.phalanges[..., None]
    fingers = np.concatenate([shape.palm[:, None], bones], axis=1).cumsum(axis=1)
    joints = np.concatenate([np.zeros((1, 3)), fingers.reshape(-1, 3)])
    if side == "left":
        joints *= _MIRROR
    return Hand(joints=joints, palm_normal=_OUT_OF_PALM.copy())


def place(hand: Hand, wrist: Vector, rotation: Rotation) -> Hand:
    """Turn a hand about its wrist, then move its wrist there."""
    return Hand(
        joints=rotation.apply(hand.joints - hand.joints[0]) + wrist, palm_normal=rotation.apply(hand.palm_normal)
    )


def rotation_facing(fingers: Vector, palm: Vector) -> Rotation:
    """The rotation that points the fingers and faces the palm along these; the fingers' direction is kept exactly."""
    down = -fingers / np.linalg.norm(fingers)
    away = -(palm - palm @ down * down)
    away /= np.linalg.norm(away)
    return Rotation.from_matrix(np.stack([np.cross(down, away), down, away], axis=1))


def clip_to_limits(angles: Angles) -> Angles:
    """The nearest angles that a hand can reach."""
    clipped: Angles = np.clip(angles, ANGLE_LIMITS[:, 0], ANGLE_LIMITS[:, 1])
    return clipped


def bone_gaps(first: Float64[np.ndarray, "21 3"], second: Float64[np.ndarray, "21 3"]) -> Float64[np.ndarray, "20 20"]:
    """Distances between the middle lines of all pairs of bones, sampled at nine places on each."""
    ends = np.array(HAND_BONES)
    along = np.linspace(0, 1, 9)[None, :, None]
    lines = [
        (joints[ends[:, :1]] * (1 - along) + joints[ends[:, 1:]] * along).reshape(-1, 3) for joints in (first, second)
    ]
    gaps: Float64[np.ndarray, "20 20"] = cdist(*lines).reshape(20, 9, 20, 9).min(axis=(1, 3))
    return gaps


def touches_itself(hand: Hand, *, gap_mm: float = 10.0) -> bool:
    """Whether a finger runs through another, or through the palm."""
    gaps = bone_gaps(hand.joints, hand.joints)
    return bool((gaps[_APART] < gap_mm).any())


def _pairs_apart() -> Bool[np.ndarray, "20 20"]:
    finger, bone = np.divmod(np.arange(20), 4)
    others = finger[:, None] != finger[None, :]
    moving = bone[:, None] + bone[None, :] >= 2
    pairs: Bool[np.ndarray, "20 20"] = others & moving
    return pairs


_APART = _pairs_apart()


def _check_limits(angles: Angles) -> None:
    beyond = (angles < ANGLE_LIMITS[:, 0] - 1e-9) | (angles > ANGLE_LIMITS[:, 1] + 1e-9)
    if beyond.any():
        number = int(np.argmax(beyond))
        least, greatest = ANGLE_LIMITS[number]
        name = ANGLE_NAMES[number]
        raise ValueError(f"{name} must lie between {least:g} and {greatest:g} degrees, got {angles[number]:g}")


def _thumb_turns(angles: Angles) -> Rotation:
    """Of its three bones; first the metacarpal's direction, then flexion in its own plane."""
    flexion, abduction, opposition, mcp, tip = angles[:5]
    base = Rotation.from_euler("ZXY", [-flexion, abduction, -opposition], degrees=True)
    turns: Rotation = base * Rotation.from_euler("z", -np.cumsum([0.0, mcp, tip])[:, None], degrees=True)
    return turns


def _finger_turns(angles: Angles) -> Rotation:
    """Of the four fingers' three bones each: spread turns the plane in which a finger flexes."""
    spread, flexions = np.split(angles[5:].reshape(4, 4), [1], axis=1)
    spreads = np.repeat(spread, 3, axis=0)
    turns: Rotation = Rotation.from_euler("z", spreads, degrees=True) * Rotation.from_euler(
        "x", flexions.cumsum(axis=1).reshape(-1, 1), degrees=True
    )
    return turns
