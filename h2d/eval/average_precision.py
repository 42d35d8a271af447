"""AP and AR of matched detections, COCO's: interpolated precision at 101 recalls, averaged over OKS thresholds.

Axis legend: n pictures, d detections, t thresholds, r recalls.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64

from h2d.eval.matching import Matches
from h2d.eval.measured import Counts, Ratio, Undefined

RECALLS: Final[Float64[np.ndarray, "101"]] = np.linspace(0.0, 1.0, 101)

Ties: TypeAlias = Literal["list-order", "together"]
"""Detections of equal score come one after another in the order of the list, as in pycocotools, so that AP depends on
that order; or all at once, so that it does not."""

_NOTHING: Final = "no true person has a labelled point"
_EPSILON: Final = np.spacing(1.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AveragePrecision:
    """AP in 0..1, over all thresholds or at one."""

    matches: Matches
    threshold: float | None = None
    """One of those that were matched at; None averages over all."""
    ties: Ties = "list-order"

    @property
    def num_pictures(self) -> int:
        """How long the list is."""
        return self.matches.num_pictures

    def on(self, counts: Counts | None = None) -> float:
        """AP of the pictures; raises `Undefined` where nobody is to be found."""
        return float(self.precision(counts).mean())

    def precision(self, counts: Counts | None = None) -> Float64[np.ndarray, "t r"]:
        """Interpolated precision at each of `RECALLS`; 0 beyond the highest recall. Raises `Undefined`."""
        matches, rows = self.matches, _rows(self.matches, self.threshold)
        num_true = _num_true(matches, counts)
        order = np.argsort(-matches.scores, kind="stable")
        weight = np.ones(len(order)) if counts is None else counts[matches.picture[order]].astype(np.float64)
        correct = np.cumsum(matches.correct[rows][:, order] * weight, axis=1)
        said = np.cumsum(~matches.excused[rows][:, order] * weight, axis=1)
        if self.ties == "together":
            scores = -matches.scores[order]
            last = np.searchsorted(scores, scores, side="right") - 1
            correct, said = correct[:, last], said[:, last]
        precision = correct / (said + _EPSILON)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)  # beyond the highest recall
        recall = correct / num_true
        return np.stack([row[seen.searchsorted(RECALLS)] for row, seen in zip(envelope, recall, strict=True)])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AverageRecall:
    """AR in 0..1: the share of people found, over all thresholds or at one."""

    matches: Matches
    threshold: float | None = None

    @property
    def num_pictures(self) -> int:
        """How long the list is."""
        return self.matches.num_pictures

    def on(self, counts: Counts | None = None) -> float:
        """AR of the pictures; raises `Undefined` where nobody is to be found."""
        num_true = _num_true(self.matches, counts)
        correct = self.matches.correct[_rows(self.matches, self.threshold)]
        weight = np.ones(correct.shape[1], np.int64) if counts is None else counts[self.matches.picture]
        return float((correct @ weight / num_true).mean())


def mean_oks(matches: Matches) -> Ratio:
    """The mean over true people of the highest OKS that a detection has with them; 0 for those whom nothing found."""
    return Ratio(sums=matches.best, weights=matches.num_true.astype(np.float64), nothing=_NOTHING)


def detection_rate(matches: Matches) -> Ratio:
    """The share of true people for whom the picture has a detection, right or wrong."""
    seen = np.bincount(matches.picture, minlength=matches.num_pictures)
    sums = np.minimum(seen, matches.num_true).astype(np.float64)
    return Ratio(sums=sums, weights=matches.num_true.astype(np.float64), nothing=_NOTHING)


def _rows(matches: Matches, threshold: float | None) -> Int64[np.ndarray, " t"]:
    if threshold is None:
        return np.arange(len(matches.thresholds))
    rows = np.flatnonzero(np.isclose(matches.thresholds, threshold, rtol=0, atol=1e-9))
    assert len(rows) == 1, f"{threshold} is none of {matches.thresholds}"
    return rows


def _num_true(matches: Matches, counts: Counts | None) -> int:
    num_true = int(matches.num_true.sum() if counts is None else matches.num_true @ counts)
    if num_true == 0:
        raise Undefined(_NOTHING)
    return num_true
