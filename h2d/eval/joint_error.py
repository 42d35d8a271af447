"""How far joints are off: MPJPE in the picture's own units, and the share within a distance (PCK).

Joints that the truth lacks are never counted. Axis legend: n pictures, p true people, k points, t thresholds.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float64

from h2d.errors import UserError
from h2d.eval.measured import Counts, Ratio, Undefined
from h2d.eval.pairing import PairedPeople
from h2d.eval.poses import extents_xywh

Missing: TypeAlias = Literal["zero", "skip", "penalty"]
"""A joint that was not found: it lies at the picture's corner (0, 0), as arrays of zeros have it; it does not count; or
it is off by a fixed distance."""
Averaged: TypeAlias = Literal["people", "joints"]
"""The mean over each person's joints and then over people, or over all joints alike."""
Reference: TypeAlias = Literal["points", "picture"]
"""What a distance is a share of: the longer side of the true points' box, or of the picture."""

PENALTY = 1.0
"""The distance of a missing joint where `missing` is "penalty", in widths and heights: a side of the picture."""

_NOTHING = "no true joint to compare"
_ALL_MISSING = "none of the true joints was found, and missing ones are skipped"


def joint_error(
    people: PairedPeople, *, missing: Missing = "zero", averaged: Averaged = "people", penalty: float = PENALTY
) -> Ratio:
    """MPJPE: the mean of |(x / width, y / height) - true|; 0 is perfect, 1 a side of the picture.

    The paper states neither the unit nor what a missing joint costs; this unit explains its range, 0.05 to 0.5.
    """
    there = people.seen
    true = people.truth[..., :2].astype(np.float64) / people.size_wh[:, None]
    found = np.where(there[..., None], people.found[..., :2], 0).astype(np.float64) / people.size_wh[:, None]
    off = np.linalg.norm(found - true, axis=-1)
    if missing == "penalty":
        off = np.where(there, off, penalty)
    counted = people.labelled & there if missing == "skip" else people.labelled
    sums = np.where(counted, off, 0.0).sum(axis=1)
    weights = counted.sum(axis=1).astype(np.float64)
    if averaged == "people":
        sums, weights = sums / np.maximum(weights, 1), (weights > 0).astype(np.float64)
    return Ratio(
        sums=_by_picture(people, sums),
        weights=_by_picture(people, weights),
        nothing=_ALL_MISSING if people.labelled.any() else _NOTHING,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CorrectPoints:
    """PCK: for each threshold, the share of true joints that were found within it."""

    thresholds: Float64[np.ndarray, " t"]
    """Shares of the reference length, ascending."""
    num_correct: Float64[np.ndarray, "t n"]
    num_joints: Float64[np.ndarray, " n"]

    @property
    def num_pictures(self) -> int:
        """How long the list is."""
        return len(self.num_joints)

    def at(self, threshold: float) -> Ratio:
        """PCK at one of the thresholds."""
        row = int(np.abs(self.thresholds - threshold).argmin())
        assert abs(self.thresholds[row] - threshold) < 1e-9, f"{threshold} is none of {self.thresholds}"
        return Ratio(sums=self.num_correct[row], weights=self.num_joints, nothing=_NOTHING)

    def curve(self, counts: Counts | None = None) -> Float64[np.ndarray, " t"]:
        """PCK at every threshold; raises `Undefined` where there is no joint."""
        weights = np.ones(self.num_pictures) if counts is None else counts
        total = self.num_joints @ weights
        if total <= 0:
            raise Undefined(_NOTHING)
        return np.asarray(self.num_correct @ weights / total)

    def on(self, counts: Counts | None = None) -> float:
        """The area under the curve, as a share of the thresholds' range: 1 is perfect."""
        share = self.curve(counts)
        return float((share[1:] + share[:-1]) / 2 @ np.diff(self.thresholds) / np.ptp(self.thresholds))


def correct_points(
    people: PairedPeople, *, thresholds: Float64[np.ndarray, " t"], reference: Reference = "points"
) -> CorrectPoints:
    """Count the true joints found within each share of the reference length; a missing one is within none.

    Distances are in pixels. A person whose points have no extent is left out of reference "points".
    """
    if len(thresholds) < 2 or (np.diff(thresholds) <= 0).any() or thresholds[0] < 0:
        raise UserError(f"thresholds are {thresholds.tolist()}: give at least two, ascending, from 0 up")
    labelled, there = people.labelled, people.seen
    true = np.where(labelled[..., None], people.truth[..., :2], 0).astype(np.float64)
    found = np.where(there[..., None], people.found[..., :2], np.inf).astype(np.float64)
    length = extents_xywh(true, labelled)[:, 2:].max(axis=1) if reference == "points" else people.size_wh.max(axis=1)
    counted = labelled & (length > 0)[:, None]
    off = np.linalg.norm(found - true, axis=-1) / np.maximum(length, 1e-9)[:, None]
    correct = [_by_picture(people, (counted & (off <= limit)).sum(axis=1)) for limit in thresholds]
    return CorrectPoints(
        thresholds=thresholds, num_correct=np.stack(correct), num_joints=_by_picture(people, counted.sum(axis=1))
    )


def _by_picture(people: PairedPeople, values: np.ndarray) -> Float64[np.ndarray, " n"]:
    summed = np.bincount(people.picture, weights=values, minlength=people.num_pictures)
    return summed.astype(np.float64)  # numpy counts nobody in integers
