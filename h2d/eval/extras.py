"""Figures about hands that reviewers ask for beside the paper's: are they found, how surely, and with how many fingers.

Each of a person's hands counts alone, with the detected hand of the same side. Axis legend: n hands.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from h2d.eval.fingers import STRAIGHT_FINGER, STRAIGHT_THUMB, THUMB_BEYOND, finger_counts
from h2d.eval.measured import Measure, Measures, Ratio
from h2d.eval.pairing import PairedPeople
from h2d.eval.poses import is_there
from h2d.pose.layouts import HANDS

_NO_HAND = "no true hand"
_NO_COUNT = "no true hand whose five fingers can be told"
_RULE = f"straight {STRAIGHT_FINGER}, thumb {STRAIGHT_THUMB} and {THUMB_BEYOND} of the palm beyond"


def hand_measures(people: PairedPeople) -> Measures:
    """What is said of hands; `people` hold all 133 points.

    Short names: `hands_found`, the share of true hands that were found; `hand_confidence`, the mean confidence of their
    points, 0 where nothing was found; `finger_count`, the share of true hands that were found with as many fingers
    out; `finger_count_found`, the same among those found with all points.
    """
    hands = _hands(people)
    known = hands.true_count >= 0
    seen = hands.found_count >= 0
    equal = (hands.true_count == hands.found_count).astype(np.float64)
    every = np.ones(len(known))
    rows: dict[str, tuple[str, np.ndarray, np.ndarray, str, dict[str, Any]]] = {
        "hands_found": ("hands found", (hands.confidence > 0).astype(np.float64), every, _NO_HAND, {}),
        "hand_confidence": ("hand confidence", hands.confidence, every, _NO_HAND, {"not_found": 0}),
        "finger_count": ("finger count agrees", equal, known, _NO_COUNT, {"rule": _RULE, "not_found": "disagrees"}),
        "finger_count_found": (
            "finger count agrees, hands found",
            equal,
            known & seen,
            f"{_NO_COUNT}, and was found so",
            {"rule": _RULE, "not_found": "left out"},
        ),
    }
    return {
        short: Measure(
            name=name,
            statistic=_ratio(hands, values, counted, nothing, people.num_pictures),
            higher_is_better=True,
            conventions={"of": "each hand", **stated},
        )
        for short, (name, values, counted, nothing, stated) in rows.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Hands:
    """Every hand that the truth has."""

    picture: Int64[np.ndarray, " n"]
    confidence: Float64[np.ndarray, " n"]
    """Mean over the points found in its place; 0 where there is none."""
    true_count: Int64[np.ndarray, " n"]
    """Fingers out, or -1 where that cannot be told."""
    found_count: Int64[np.ndarray, " n"]


def _hands(people: PairedPeople) -> _Hands:
    picture, truth, found = [], [], []
    for points in HANDS.values():
        side = people.of(points)
        rows = side.labelled.any(axis=1)
        picture.append(side.picture[rows])
        truth.append(side.truth[rows])
        found.append(side.found[rows])
    seen = np.concatenate(found)
    return _Hands(
        picture=np.concatenate(picture),
        confidence=_confidence(seen),
        true_count=finger_counts(np.concatenate(truth)),
        found_count=finger_counts(seen),
    )


def _confidence(hands: Float32[np.ndarray, "n 21 3"]) -> Float64[np.ndarray, " n"]:
    there = is_there(hands)
    return np.asarray(
        np.where(there, hands[..., 2], 0).sum(axis=1, dtype=np.float64) / np.maximum(there.sum(axis=1), 1)
    )


def _ratio(
    hands: _Hands, values: Float64[np.ndarray, " n"], counted: np.ndarray, nothing: str, num_pictures: int
) -> Ratio:
    sums, weights = (
        np.bincount(hands.picture, weights=numbers, minlength=num_pictures).astype(np.float64)
        for numbers in (values * counted, counted.astype(np.float64))
    )
    return Ratio(sums=sums, weights=weights, nothing=nothing)
