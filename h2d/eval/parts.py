"""Parts of a list: by gesture, by how large the hands are. Axis legend: n pictures."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64

from h2d.eval.measured import Counts
from h2d.eval.picture_list import Entry
from h2d.eval.protocol import NO_GESTURE
from h2d.pose.layouts import HANDS
from h2d.pose.points import extent_xywh, present

HAND_SIZES: Final = ((0.0, 0.10), (0.10, 0.15), (0.15, 0.20), (0.20, 0.30), (0.30, 1e9))
"""Limits of the larger hand's longer side, in sides of the picture. Our choice."""


def by_gesture(entries: Sequence[Entry], *, least: int) -> dict[str, Counts]:
    """The pictures of each gesture, by name; gestures of fewer than `least` stand together, last."""
    names = np.array([entry.gesture or NO_GESTURE for entry in entries])
    parts = {str(name): (names == name).astype(np.int64) for name in np.unique(names)}
    few = [name for name, counts in parts.items() if counts.sum() < least]
    if len(few) < 2:
        return parts
    together = np.sum([parts.pop(name) for name in few], axis=0)
    return {**parts, f"{len(few)} gestures of fewer than {least} pictures each": together}


def by_hand_size(entries: Sequence[Entry]) -> dict[str, Counts]:
    """The pictures whose larger hand has a size, smallest first; sizes that no picture has are left out."""
    shares = hand_shares(entries)
    parts: dict[str, Counts] = {}
    for low, high in HAND_SIZES:
        taken = ((shares >= low) & (shares < high)).astype(np.int64)
        if taken.any():
            parts[_words(low, high, entries[0].size)] = taken
    return parts


def hand_shares(entries: Sequence[Entry]) -> Float64[np.ndarray, " n"]:
    """The longer side of the larger hand's points, in sides of the picture; NaN where no hand is asked for."""
    return np.array([_hand_share(entry) for entry in entries], np.float64)


def _hand_share(entry: Entry) -> float:
    hands = [entry.pose.people[0, hand] for hand in HANDS.values()]
    sides = [max(extent_xywh(hand)[2:]) for hand in hands if present(hand).any()]
    return max(sides) / entry.size if sides else float("nan")


def _words(low: float, high: float, size: int) -> str:
    if low == 0:
        return f"below {high:.0%} ({high * size:.0f} px)"
    if high > 1:
        return f"{low:.0%} ({low * size:.0f} px) and more"
    return f"{low:.0%} to {high:.0%} ({low * size:.0f} to {high * size:.0f} px)"
