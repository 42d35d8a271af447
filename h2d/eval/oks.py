"""Object keypoint similarity (OKS) of COCO, for the 133 points of COCO-WholeBody and for both hands.

A point that is d pixels off counts exp(-d^2 / (2 (2 sigma)^2 area)); a person's OKS is the mean over the truth's
labelled points. Axis legend: k points, g true people, d detections, q pairs of one of each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

_BODY: Final = (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
_FEET: Final = (68, 66, 66, 92, 94, 94)
_FACE: Final = (
    42, 43, 44, 43, 40, 35, 31, 25, 20, 23, 29, 32, 37, 38, 43, 41, 45,
    13, 12, 11, 11, 12, 12, 11, 11, 13, 15, 9, 7, 7, 7, 12, 9, 8, 16, 10,
    17, 11, 9, 11, 9, 7, 13, 8, 11, 12, 10, 34, 8, 8, 9, 8, 8, 7, 10, 8, 9, 9, 9, 7, 7, 8, 11, 8, 8, 8, 10, 8,
)  # fmt: skip
_HAND: Final = (29, 22, 35, 37, 47, 26, 25, 24, 35, 18, 24, 22, 26, 17, 21, 21, 32, 20, 19, 22, 31)

SIGMAS_133: Final[Float64[np.ndarray, "133"]] = np.array([*_BODY, *_FEET, *_FACE, *_HAND, *_HAND]) / 1000
"""COCO-WholeBody's, as its `myeval_wholebody.py` and mmpose's configuration state them."""
SIGMAS_HANDS: Final[Float64[np.ndarray, "42"]] = SIGMAS_133[-42:]

_EPSILON: Final = np.spacing(1.0)
_PAIRS_AT_ONCE: Final = 128
"""So that the numbers of one step stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Truth:
    """True people, in the order of the list of pictures."""

    picture: Int64[np.ndarray, " g"]
    xy: Float64[np.ndarray, "g k 2"]
    """Pixels; anything where a point is not labelled."""
    labelled: Bool[np.ndarray, "g k"]
    area: Float64[np.ndarray, " g"]
    """Pixels squared: by whose area `d` is judged."""
    box_xywh: Float64[np.ndarray, "g 4"]
    """Pixels; what lies within its double excuses detections where nothing is labelled."""
    crowd: Bool[np.ndarray, " g"] | None = None
    """Marks groups, as COCO does: they neither count nor miss, and excuse any number of detections."""

    def __post_init__(self) -> None:
        assert (np.diff(self.picture) >= 0).all(), "people stand in the order of the list"

    @property
    def ignored(self) -> Bool[np.ndarray, " g"]:
        """Those that do not count: groups, and people without a labelled point."""
        empty: Bool[np.ndarray, " g"] = ~self.labelled.any(axis=1)
        return empty if self.crowd is None else empty | self.crowd


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """Detected people, in the order of the list of pictures; each with at least one point."""

    picture: Int64[np.ndarray, " d"]
    xy: Float64[np.ndarray, "d k 2"]
    """Pixels; a point that was not found lies at (0, 0), as in COCO's files: far off, unless the truth is there."""
    scores: Float64[np.ndarray, " d"]

    def __post_init__(self) -> None:
        assert (np.diff(self.picture) >= 0).all(), "people stand in the order of the list"
        assert np.isfinite(self.scores).all()


def similarities(
    truth: Truth,
    found: Found,
    pairs: tuple[Int64[np.ndarray, " q"], Int64[np.ndarray, " q"]],
    sigmas: Float64[np.ndarray, " k"],
) -> Float64[np.ndarray, " q"]:
    """OKS of each pair of a true person and a detection, given by their rows."""
    variances = (sigmas * 2) ** 2
    per_variance = -1 / (2 * variances)
    result = np.empty(len(pairs[0]))
    for step in _steps(len(result)):
        true, seen = _rows(pairs[0][step]), _rows(pairs[1][step])
        labelled = truth.labelled[true]
        off = found.xy[seen] - truth.xy[true]
        np.square(off, out=off)
        exponent = off[..., 0] + off[..., 1]
        exponent *= per_variance
        exponent /= (truth.area[true] + _EPSILON)[:, None]
        near = np.exp(exponent, out=exponent)
        near *= labelled
        num_labelled = labelled.sum(axis=1)
        result[step] = near.sum(axis=1) / np.maximum(num_labelled, 1)
        for row in step.start + np.flatnonzero(num_labelled == 0):
            result[row] = _near_box(truth, int(pairs[0][row]), found.xy[pairs[1][row]], variances)
    return result


def _near_box(truth: Truth, row: int, xy: Float64[np.ndarray, "k 2"], variances: Float64[np.ndarray, " k"]) -> float:
    """Where nothing is labelled, points are judged by how far they are from the box with as much again on each side."""
    corner, size = truth.box_xywh[row, :2], truth.box_xywh[row, 2:]
    outside = np.maximum(0, corner - size - xy) + np.maximum(0, xy - (corner + 2 * size))
    exponent = (outside**2).sum(axis=1) / variances / (truth.area[row] + _EPSILON) / 2
    return float(np.exp(-exponent).mean())


def _rows(rows: Int64[np.ndarray, " q"]) -> Int64[np.ndarray, " q"] | slice:
    """The same rows as a slice where they are consecutive: what it takes is then no copy."""
    first, last = int(rows[0]), int(rows[-1])
    consecutive = last - first == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    return slice(first, last + 1) if consecutive else rows


def _steps(count: int) -> Iterator[slice]:
    for start in range(0, count, _PAIRS_AT_ONCE):
        yield slice(start, start + _PAIRS_AT_ONCE)
