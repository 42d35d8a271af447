"""An arm for a hand whose body has none, so that the outpainter knows what to join it to (one of the paper's limits).

Lengths are in hand lengths, wrist to the tip of the middle finger, of an adult: our choice.
"""

from typing import Final

import numpy as np
from jaxtyping import Float32, Float64

from h2d.annotate.masks.prompts import MIDDLE_KNUCKLE, hand_length
from h2d.infer.framing import MIN_POINTS
from h2d.pose.layouts import ELBOWS, HANDS, SHOULDERS, SIDES, WRIST, WRISTS, Side
from h2d.pose.points import LEAST_CONFIDENCE, present
from h2d.pose.pose import Pose

FOREARM: Final = 1.35
UPPER_ARM: Final = 1.6
_LEAST_PALM: Final = 0.15
"""A shorter palm, in hand lengths, points at the camera and says nothing of the arm's direction."""

_DOWN: Final = np.array([0.0, 1.0])


def with_arms(pose: Pose) -> tuple[Pose, list[str]]:
    """The pose with wrists and elbows where hands lack them, and what was added, in words. Known points stay."""
    people = pose.people.copy()
    notes: list[str] = []
    for number, person in enumerate(people):
        for side in SIDES:
            added = _add_arm(person, side)
            if added:
                name = f"the {side} hand" if len(people) == 1 else f"person {number}: the {side} hand"
                notes.append(f"{name} has no {' and no '.join(added)} in the skeleton: added")
    if not notes:
        return pose, notes
    return Pose(people=people, width=pose.width, height=pose.height, canvas_stated=pose.canvas_stated), notes


def _add_arm(person: Float32[np.ndarray, "133 3"], side: Side) -> list[str]:
    """Write what is missing of one arm into the person's points."""
    hand = np.ascontiguousarray(person[HANDS[side]])
    there = present(hand)
    if there.sum() < MIN_POINTS or not there[WRIST]:
        return []
    added = []
    wrist = hand[WRIST, :2].astype(np.float64)
    if not _drawn(person[WRISTS[side]]):
        person[WRISTS[side]] = (*wrist, 1)
        added.append("wrist")
    if not _drawn(person[ELBOWS[side]]):
        shoulder = person[SHOULDERS[side], :2].astype(np.float64) if _drawn(person[SHOULDERS[side]]) else None
        person[ELBOWS[side]] = (*_elbow(hand, wrist, shoulder), 1)
        added.append("elbow")
    return added


def _elbow(
    hand: Float32[np.ndarray, "21 3"], wrist: Float64[np.ndarray, "2"], shoulder: Float64[np.ndarray, "2"] | None
) -> Float64[np.ndarray, "2"]:
    """In the hand's line behind the wrist; where the shoulder is known, bent so that the upper arm reaches it."""
    length = hand_length(hand)
    forearm, upper = FOREARM * length, UPPER_ARM * length
    straight: Float64[np.ndarray, "2"] = wrist + forearm * _towards_arm(hand, wrist, shoulder, length)
    if shoulder is None:
        return straight
    apart = shoulder - wrist
    distance = float(np.hypot(*apart))
    if distance < 1e-6:
        return straight
    if distance >= forearm + upper:  # a longer arm than we think: stretched
        straight = wrist + apart * forearm / (forearm + upper)
    if not abs(upper - forearm) < distance < forearm + upper:  # nearer, two bones do not fit the picture's plane
        return straight
    along = (forearm**2 - upper**2 + distance**2) / (2 * distance)
    across = np.sqrt(max(forearm**2 - along**2, 0.0))
    unit = apart / distance
    side_way = np.array([-unit[1], unit[0]])
    bends = [wrist + along * unit + sign * across * side_way for sign in (1, -1)]
    nearest: Float64[np.ndarray, "2"] = min(bends, key=lambda place: float(np.hypot(*(place - straight))))
    return nearest


def _towards_arm(
    hand: Float32[np.ndarray, "21 3"],
    wrist: Float64[np.ndarray, "2"],
    shoulder: Float64[np.ndarray, "2"] | None,
    length: float,
) -> Float64[np.ndarray, "2"]:
    """From the fingers through the wrist; else to the shoulder; else down."""
    if present(hand)[MIDDLE_KNUCKLE]:
        palm = wrist - hand[MIDDLE_KNUCKLE, :2]
        if np.hypot(*palm) >= _LEAST_PALM * length:
            return np.asarray(palm / np.hypot(*palm), np.float64)
    if shoulder is not None and np.hypot(*(shoulder - wrist)) > 1e-6:
        towards = shoulder - wrist
        return np.asarray(towards / np.hypot(*towards), np.float64)
    return _DOWN


def _drawn(point: Float32[np.ndarray, "3"]) -> bool:
    """Whether a skeleton shows the point."""
    return bool(np.isfinite(point[:2]).all() and point[2] >= LEAST_CONFIDENCE)
