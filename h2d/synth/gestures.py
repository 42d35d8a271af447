"""The 34 gesture classes of HaGRID as poses of one or two hands, and free random poses.

A gesture is written for a right hand that leads, in the frame of a person who faces the camera: x to the person's left,
y down, z to the back. A leading left hand is the mirror image. Angles are degrees, offsets millimetres.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.spatial.transform import Rotation

from h2d.pose.layouts import Side
from h2d.synth.hand import Angles, HandShape, clip_to_limits, pose_hand, rotation_facing, touches_itself
from h2d.synth.scene import Hand, Vector

Facing: TypeAlias = Literal["camera", "away", "aside"]
"""Where the palm looks: to the camera, back to the person, or across."""

Place: TypeAlias = Literal["raised", "ear", "lips", "front", "low", "chest"]
"""Beside the head, at cheek or lips, before the shoulder or the chest's side; "chest" is for two hands before it."""

Triple: TypeAlias = tuple[float, float, float]
Finger: TypeAlias = tuple[float, float, float, float]
"""Spread towards the thumb, then flexion of the knuckle and of the two joints beyond."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandPose:
    """One hand of a gesture: its shape, how it is turned, and which joint is put where."""

    thumb: tuple[float, float, float, float, float]
    index: Finger
    middle: Finger
    ring: Finger
    little: Finger
    fingers: Triple = (0, -1, 0)
    """Where the metacarpals point."""
    palm: Triple = (0, 0, -1)
    anchor: int = 9
    """The joint that is put on the gesture's place."""
    offset: Triple = (0, 0, 0)
    """Of the anchor from the place."""

    def angles(self) -> Angles:
        """All 21, in the order of `ANGLE_NAMES`."""
        return np.array([*self.thumb, *self.index, *self.middle, *self.ring, *self.little], np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gesture:
    """A class of HaGRID."""

    words: str
    """What a person does, after "is"; the hand is named after it."""
    lead: HandPose
    facing: Facing = "camera"
    other: HandPose | None = None
    """The other hand of a gesture of two; written as a left hand's mirror image."""
    place: Place = "raised"
    steady: float = 1.0
    """Times the usual variation of angles; less where fingers touch."""
    words_alone: str | None = None
    """The same, where only the hand is seen and `words` would say more than that."""


_INDEX, _MIDDLE, _RING, _LITTLE = (4, 2, 4, 2), (0, 0, 4, 2), (-4, 2, 4, 3), (-9, 3, 5, 3)
_WIDE_INDEX, _WIDE_RING, _WIDE_LITTLE = (13, 0, 3, 1), (-11, 0, 4, 2), (-26, 0, 4, 2)
_SHUT_INDEX, _SHUT_MIDDLE, _SHUT_RING, _SHUT_LITTLE = (-2, 2, 4, 2), (0, 0, 4, 2), (1, 2, 4, 3), (3, 4, 5, 3)
_IN_INDEX, _IN_MIDDLE, _IN_RING, _IN_LITTLE = (5, 80, 98, 55), (0, 84, 100, 58), (-4, 86, 98, 58), (-9, 86, 94, 56)

_RIGHTWARDS_UP, _SIDEWAYS = (0.93, -0.36, 0.0), (0.97, -0.1, -0.2)


def _pose(
    thumb: tuple[float, float, float, float, float],
    fingers: tuple[Finger, Finger, Finger, Finger],
    *,
    towards: Triple = (0, -1, 0),
    palm: Triple = (0, 0, -1),
    anchor: int = 9,
    offset: Triple = (0, 0, 0),
) -> HandPose:
    index, middle, ring, little = fingers
    return HandPose(
        thumb=thumb, index=index, middle=middle, ring=ring, little=little,
        fingers=towards, palm=palm, anchor=anchor, offset=offset,
    )  # fmt: skip


_FIST = (_IN_INDEX, _IN_MIDDLE, _IN_RING, _IN_LITTLE)
_OPEN = (_WIDE_INDEX, _MIDDLE, _WIDE_RING, _WIDE_LITTLE)
_SHUT = (_SHUT_INDEX, _SHUT_MIDDLE, _SHUT_RING, _SHUT_LITTLE)
_TWO_SHUT = ((-3, 2, 4, 2), (2, 0, 4, 2), _IN_RING, _IN_LITTLE)
_PEACE = ((12, 2, 4, 2), (-7, 0, 4, 2), _IN_RING, _IN_LITTLE)
_PRAYING = ((-2, -7, 2, 1), (0, -7, 2, 1), (1, -7, 2, 1), (3, -6, 2, 1))
_ONE = (_INDEX, _IN_MIDDLE, _IN_RING, _IN_LITTLE)
_L_THUMB = (-66, 8, 20, -4, -10)
_ON_MIDDLE, _ON_RING = (-19, 20, 36, 46, 48), (-3, 19, 33, 49, 42)
_HEART_THUMB = (-6, 60, 80, 12, 4)
_BACK: Triple = (0, 0, 1)

GESTURES: dict[str, Gesture] = {
    "call": Gesture(
        words="making a phone call sign",
        lead=_pose(
            (-64, 6, 20, -8, -12), (_IN_INDEX, _IN_MIDDLE, _IN_RING, (-32, -4, 4, 2)),
            towards=_RIGHTWARDS_UP, palm=(0.25, 0.1, 0.95),
        ),
        facing="away", place="ear",
    ),
    "dislike": Gesture(
        words="giving a thumbs down",
        lead=_pose((-58, 4, 15, -8, -14), _FIST, towards=(0.83, 0.1, -0.55), palm=(-0.55, 0.05, -0.83)),
        place="front",
    ),
    "fist": Gesture(words="showing a fist", lead=_pose((-29, 37, 14, 48, 46), _FIST)),
    "four": Gesture(
        words="holding up four fingers", lead=_pose((-16, 30, 40, 52, 48), _OPEN),
    ),
    "grabbing": Gesture(
        words="grabbing at the air",
        lead=_pose(
            (-50, 32, 45, 14, 32), ((14, 14, 52, 34), (2, 12, 54, 34), (-12, 14, 54, 34), (-26, 16, 50, 32)),
        ),
    ),
    "grip": Gesture(
        words="gripping an invisible glass",
        lead=_pose(
            (-5, 30, 58, 8, 14), ((3, 36, 46, 22), (0, 38, 46, 22), (-2, 40, 46, 22), (-5, 42, 44, 22)),
            towards=(0.1, -1, -0.1), palm=(0.86, 0, -0.5),
        ),
        facing="aside", steady=0.6,
    ),
    "hand_heart": Gesture(
        words="making a heart of index fingers and thumbs",
        lead=_pose(
            _HEART_THUMB, ((6, 34, 60, 36), (-2, -18, 4, 2), (-10, -20, 4, 2), (-22, -22, 4, 2)),
            towards=(0.74, -0.66, -0.1), palm=(0.62, 0.72, -0.3), anchor=8, offset=(-11, 0, 0),
        ),
        facing="aside", place="chest", steady=0.4,
    ),
    "hand_heart2": Gesture(
        words="making a heart of both hands",
        lead=_pose(
            _HEART_THUMB, ((2, 30, 62, 38), (0, 30, 62, 38), (-1, 31, 62, 38), (-2, 32, 62, 38)),
            towards=(0.74, -0.66, -0.1), palm=(0.62, 0.72, -0.3), anchor=8, offset=(-11, 0, 0),
        ),
        facing="aside", place="chest", steady=0.4,
    ),
    "holy": Gesture(
        words="holding the palms together in prayer",
        lead=_pose(
            (-26, -8, 10, 2, 0), _PRAYING, towards=(0.18, -0.96, -0.24), palm=(0.83, 0.28, -0.48), anchor=12,
            offset=(-8, -60, 4.5),
        ),
        other=_pose(
            (-26, -8, 10, 2, 0), _PRAYING, towards=(0.3, -0.96, 0.03), palm=(0.83, 0.28, 0.48), anchor=12,
            offset=(-8, -60, -4.5),
        ),
        facing="aside", place="chest", steady=0.2,
    ),
    "like": Gesture(
        words="giving a thumbs up",
        lead=_pose((-60, 4, 15, -10, -16), _FIST, towards=(0.72, -0.12, -0.68), palm=(0.68, 0, 0.73)),
        facing="away", place="front",
    ),
    "little_finger": Gesture(
        words="holding up the little finger",
        lead=_pose((-27, 39, 10, 45, 44), (_IN_INDEX, _IN_MIDDLE, _IN_RING, (-16, 2, 4, 2))),
    ),
    "middle_finger": Gesture(
        words="showing the middle finger",
        lead=_pose((-37, 17, 38, 49, 52), (_IN_INDEX, _MIDDLE, _IN_RING, _IN_LITTLE), palm=_BACK),
        facing="away",
    ),
    "mute": Gesture(
        words="holding the index finger at the lips",
        lead=_pose(_ON_MIDDLE, _ONE, towards=(0.12, -1, 0.1), palm=(0.95, 0, -0.3), anchor=7),
        facing="aside", place="lips", steady=0.6, words_alone="holding up the index finger",
    ),
    "no_gesture": Gesture(
        words="making no sign",
        lead=_pose(
            (-32, 22, 45, 18, 14), ((5, 28, 30, 16), (0, 32, 34, 18), (-4, 36, 38, 20), (-8, 38, 38, 20)),
            towards=(0.55, -0.8, -0.2), palm=(0.6, 0.2, 0.7),
        ),
        facing="away", place="low",
    ),
    "ok": Gesture(
        words="making the ok sign",
        lead=_pose((-19, 31, 54, 16, 20), ((6, 52, 51, 19), (-2, 10, 8, 4), _WIDE_RING, _WIDE_LITTLE)),
        steady=0.5,
    ),
    "one": Gesture(words="holding up the index finger", lead=_pose(_ON_MIDDLE, _ONE)),
    "palm": Gesture(words="spreading all five fingers", lead=_pose((-58, 10, 25, 2, -6), _OPEN)),
    "peace": Gesture(words="making the peace sign", lead=_pose(_ON_RING, _PEACE)),
    "peace_inverted": Gesture(
        words="making the peace sign", lead=_pose(_ON_RING, _PEACE, palm=_BACK), facing="away"
    ),
    "point": Gesture(
        words="pointing at the camera",
        lead=_pose(_ON_MIDDLE, _ONE, towards=(0.42, -0.25, -0.87), palm=(0.75, 0.55, 0.2)),
        facing="aside", place="front",
    ),
    "rock": Gesture(
        words="making the rock sign",
        lead=_pose((-21, 18, 39, 55, 51), ((8, 2, 4, 2), _IN_MIDDLE, _IN_RING, (-18, 2, 4, 2))),
    ),
    "stop": Gesture(
        words="making the stop sign", lead=_pose((-26, 8, 20, 6, 2), _SHUT)
    ),
    "stop_inverted": Gesture(
        words="making the stop sign",
        lead=_pose((-26, 8, 20, 6, 2), _SHUT, palm=_BACK), facing="away",
    ),
    "take_picture": Gesture(
        words="framing a picture with both hands",
        lead=_pose(
            _L_THUMB, _ONE, towards=(0.97, 0.0, -0.2), palm=(-0.2, 0, -1), anchor=5, offset=(-62, -52, -20),
        ),
        other=_pose(
            _L_THUMB, _ONE, towards=(0.97, -0.05, -0.2), palm=(0.2, 0, 1), anchor=5, offset=(-62, 52, 0),
        ),
        place="chest", steady=0.5,
    ),
    "three": Gesture(
        words="holding up three fingers",
        lead=_pose((4, 22, 30, 50, 38), ((12, 2, 4, 2), _MIDDLE, (-12, 2, 4, 3), _IN_LITTLE)),
    ),
    "three2": Gesture(
        words="holding up the thumb, the index and the middle finger",
        lead=_pose((-62, 8, 22, -4, -8), ((11, 2, 4, 2), (-6, 0, 4, 2), _IN_RING, _IN_LITTLE)),
    ),
    "three3": Gesture(
        words="holding up the middle, the ring and the little finger",
        lead=_pose((-38, 19, 36, 48, 54), (_IN_INDEX, (4, 0, 4, 2), (-9, 2, 4, 3), (-24, 2, 5, 3))),
    ),
    "three_gun": Gesture(
        words="making a finger gun",
        lead=_pose(
            (-60, 4, 15, -10, -14), _TWO_SHUT, towards=_SIDEWAYS, palm=(0.15, 0.05, 1),
        ),
        facing="away", place="low",
    ),
    "thumb_index": Gesture(words="showing thumb and index finger as an L", lead=_pose(_L_THUMB, _ONE)),
    "thumb_index2": Gesture(
        words="showing two Ls of thumbs and index fingers",
        lead=_pose(_L_THUMB, _ONE, anchor=5, offset=(-120, 0, 0)), place="chest",
    ),
    "timeout": Gesture(
        words="making the time-out sign with both hands",
        lead=_pose(
            (-26, 8, 20, 6, 2), _SHUT, towards=(0, -1, 0), palm=(0.75, 0, -0.66), anchor=12, offset=(0, -51, 12),
        ),
        other=_pose(
            (-26, 8, 20, 6, 2), _SHUT, towards=(0.98, 0.05, -0.1), palm=(0, 0.72, 0.69), offset=(-24, -65, 0),
        ),
        facing="aside", place="chest", steady=0.5,
    ),
    "two_up": Gesture(words="holding up two closed fingers", lead=_pose(_ON_RING, _TWO_SHUT)),
    "two_up_inverted": Gesture(
        words="holding up two closed fingers", lead=_pose(_ON_RING, _TWO_SHUT, palm=_BACK), facing="away"
    ),
    "xsign": Gesture(
        words="crossing both forearms",
        lead=_pose(
            (-26, 8, 20, 6, 2), _SHUT, towards=(0.55, -0.83, 0), palm=(0.5, 0.3, -0.8), anchor=0, offset=(68, 0, -36),
        ),
        other=_pose(
            (-26, 8, 20, 6, 2), _SHUT, towards=(0.55, -0.83, 0), palm=(0.5, 0.3, -0.8), anchor=0, offset=(68, 0, 36),
        ),
        place="chest", steady=0.6,
    ),
}  # fmt: skip

TWO_HANDED = tuple(name for name, gesture in GESTURES.items() if gesture.place == "chest")


def gesture_hands(
    name: str, lead: Side, shapes: dict[Side, HandShape], rng: np.random.Generator
) -> dict[Side, tuple[Hand, Rotation, HandPose]]:
    """Each hand that makes the gesture: its joints in its own frame, how to turn it, and the pose it comes from."""
    gesture = GESTURES[name]
    two_handed = name in TWO_HANDED
    poses = {lead: gesture.lead}
    if two_handed:
        poses[_other(lead)] = gesture.other or gesture.lead
    noise = _noise(rng) * gesture.steady
    tilt = np.clip(rng.normal(0, 1.5 if two_handed else 9.0, 3), -18, 18)
    return {side: _vary(pose, side, shapes[side], noise, tilt) for side, pose in poses.items()}


def free_hand(shape: HandShape, side: Side, rng: np.random.Generator) -> Hand:
    """A random pose that a hand can take without passing through itself."""
    while True:
        hand = pose_hand(shape, _free_angles(rng), side)
        if not touches_itself(hand):
            return hand


def relaxed_hand(shape: HandShape, side: Side, rng: np.random.Generator) -> Hand:
    """A hand that does nothing, slightly curled."""
    angles = GESTURES["no_gesture"].lead.angles() + rng.normal(0, 4, 21)
    return pose_hand(shape, clip_to_limits(angles), side)


def mirror(vector: Triple, side: Side) -> Vector:
    """As it is for the right side, mirrored for the left."""
    return np.asarray(np.array(vector) * [1.0 if side == "right" else -1.0, 1.0, 1.0])


def _other(side: Side) -> Side:
    return "left" if side == "right" else "right"


def _noise(rng: np.random.Generator) -> Angles:
    noise = rng.normal(0, [2.5, 2.5, 2.5, 3.0, 3.0, *([1.5, 3.0, 3.0, 2.5] * 4)])
    noise[5:] += np.tile([0, 1, 1, 0.6], 4) * rng.normal(0, 2.5)
    return noise


def _vary(
    pose: HandPose, side: Side, shape: HandShape, noise: Angles, tilt_degrees: Vector
) -> tuple[Hand, Rotation, HandPose]:
    """A rotation's mirror image turns the other way about the axes that lie in the mirror."""
    hand = pose_hand(shape, clip_to_limits(pose.angles() + noise), side)
    tilt = Rotation.from_rotvec(tilt_degrees * ([1, 1, 1] if side == "right" else [1, -1, -1]), degrees=True)
    return hand, tilt * rotation_facing(mirror(pose.fingers, side), mirror(pose.palm, side)), pose


def _free_angles(rng: np.random.Generator) -> Angles:
    """Neighbouring fingers bend alike, the joints of a finger together."""
    thumb = [rng.uniform(-60, 0), rng.uniform(0, 45), rng.uniform(10, 60), rng.uniform(-8, 45), rng.uniform(-12, 50)]
    curl, fan = rng.beta(0.7, 0.9), rng.uniform(0.3, 1.1)
    angles = list(thumb)
    for spread in (11, 0, -10, -22):
        bend = np.clip(curl + rng.normal(0, 0.28), 0, 1)
        knuckle = np.clip(bend * 78 + rng.normal(0, 10) - 4, -12, 90)
        angles += [spread * fan * (1 - 0.6 * bend) + rng.normal(0, 2), knuckle, bend * 95 + 3, bend * 52 + 2]
    return clip_to_limits(np.array(angles))
