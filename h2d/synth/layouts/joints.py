"""The joint orders of InterHand2.6M and Re:InterHand, filled from hands in ours.

Axis legend: 42 joints of the right hand then the left, finger tips first and the wrist last; 24 joints of one hand with
the carpal ends of thumb and little finger and a stub of the forearm.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from h2d.pose.layouts import Side
from h2d.synth.scene import Hand, Vector

OURS_IN_21: Final = (4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0)
"""Which of our joints stands at each place of one hand's half of the 42."""

OFFSETS: Final[dict[Side, int]] = {"right": 0, "left": 21}
"""Where each hand's half begins."""

SKELETON_NAMES: Final = tuple(
    f"{side}_{joint}"
    for side in ("r", "l")
    for joint in (
        *(f"{finger}{n}" for finger in ("thumb", "index", "middle", "ring", "pinky") for n in "4321"),
        "wrist",
    )
)


def joints_42(hands: Mapping[Side, Hand]) -> tuple[Float64[np.ndarray, "42 3"], Bool[np.ndarray, "42"]]:
    """The joints, those of a missing hand at (1, 1, 1) as in the dataset's files, and which of them are there."""
    joints = np.ones((42, 3))
    there = np.zeros(42, bool)
    for side, hand in hands.items():
        half = slice(OFFSETS[side], OFFSETS[side] + 21)
        joints[half] = hand.joints[list(OURS_IN_21)]
        there[half] = True
    return joints, there


def spread_42(values: Mapping[Side, Bool[np.ndarray, "21"]]) -> Bool[np.ndarray, "42"]:
    """Something that is true or not of each joint, false for a missing hand."""
    spread = np.zeros(42, bool)
    for side, value in values.items():
        spread[OFFSETS[side] : OFFSETS[side] + 21] = value[list(OURS_IN_21)]
    return spread


def joints_24(hand: Hand, elbow: Vector) -> Float64[np.ndarray, "24 3"]:
    """The joints of one hand as Re:InterHand's tracker has them.

    A drawn hand has no carpal joints: those of thumb and little finger lie halfway to the next joint, and the stub a
    quarter of the way to the elbow. Our choice; readers drop all three.
    """
    ours = hand.joints
    wrist = ours[0]
    little = (wrist + ours[17]) / 2
    rows: Sequence[Float64[np.ndarray, "n 3"]] = (
        wrist[None],
        ((wrist + ours[1]) / 2)[None],
        ours[1:17],
        little[None],
        ours[17:21],
        (wrist + (elbow - wrist) / 4)[None],
    )
    joints: Float64[np.ndarray, "24 3"] = np.concatenate(rows)
    return joints


def skeleton_text() -> str:
    """`skeleton.txt`: a line "name index parent" for each of the 42."""
    parents = [20 if place in (3, 7, 11, 15, 19) else place + 1 if place < 20 else -1 for place in range(21)]
    lines = []
    for index, name in enumerate(SKELETON_NAMES):
        parent, half = parents[index % 21], index // 21 * 21
        lines.append(f"{name} {index} {parent + half if parent >= 0 else -1}")
    return "\n".join(lines) + "\n"
