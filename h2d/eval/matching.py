"""Which detection is which true person, as COCO's evaluation decides it, for all pictures at once.

In each picture the surest detection chooses first: among the people not yet taken whose OKS reaches the threshold, the
nearest, and one that is ignored only where no other is left. Axis legend: n pictures, g true people, d detections,
t thresholds; within a portion, one row a picture: a true people, b detections.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from h2d.eval.oks import Found, Truth, similarities

THRESHOLDS: Final[Float64[np.ndarray, "10"]] = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS: Final = 20
"""Of a picture: those with the lowest scores beyond it are left out."""
ALL_AREAS: Final = (0.0, 1e10)

_PICTURES_AT_ONCE: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Matches:
    """Every detection with its fate, by descending score within each picture."""

    num_pictures: int
    thresholds: Float64[np.ndarray, " t"]
    picture: Int64[np.ndarray, " d"]
    scores: Float64[np.ndarray, " d"]
    correct: Bool[np.ndarray, "t d"]
    """Found a person who counts."""
    excused: Bool[np.ndarray, "t d"]
    """Neither right nor wrong: it found somebody who is ignored, or is of a size that is not looked at."""
    num_true: Int64[np.ndarray, " n"]
    """People who count, in each picture."""
    best: Float64[np.ndarray, " n"]
    """Sum over those people of the highest OKS that any detection of the picture has with them."""


def match(
    truth: Truth,
    found: Found,
    sigmas: Float64[np.ndarray, " k"],
    *,
    num_pictures: int,
    thresholds: Float64[np.ndarray, " t"] = THRESHOLDS,
    max_detections: int = MAX_DETECTIONS,
    area_range: tuple[float, float] = ALL_AREAS,
) -> Matches:
    """Match everybody; pictures are numbered 0 to `num_pictures` - 1. `area_range` is in pixels squared."""
    ignored = truth.ignored | (truth.area < area_range[0]) | (truth.area > area_range[1])
    true_order = np.lexsort((ignored, truth.picture))
    seen_order = _surest(found, max_detections)
    true_rows = _Rows.of(truth.picture, num_pictures)
    seen_rows = _Rows.of(found.picture[seen_order], num_pictures)
    matched = np.zeros((len(thresholds), len(seen_order)), bool)
    excused = np.zeros_like(matched)
    best = np.zeros(num_pictures)
    crowd = np.zeros(len(ignored), bool) if truth.crowd is None else truth.crowd
    for start in range(0, num_pictures, _PICTURES_AT_ONCE):
        pictures = slice(start, start + _PICTURES_AT_ONCE)
        true, seen = true_rows.padded(pictures), seen_rows.padded(pictures)
        at, b, a = np.nonzero((seen >= 0)[:, :, None] & (true >= 0)[:, None, :])
        if not len(at):
            continue
        oks = np.full((*seen.shape, true.shape[1]), -1.0)
        oks[at, b, a] = similarities(truth, found, (true_order[true[at, a]], seen_order[seen[at, b]]), sigmas)
        unasked = ignored[true_order[true]] & (true >= 0)
        choice = _choose(oks, np.minimum(thresholds, 1 - 1e-10), unasked, crowd[true_order[true]])
        picture, rank, level = np.nonzero(choice >= 0)
        matched[level, seen[picture, rank]] = True
        excused[level, seen[picture, rank]] = unasked[picture, choice[picture, rank, level]]
        best[pictures] = np.where(unasked | (true < 0), 0.0, oks.max(axis=1).clip(min=0)).sum(axis=1)
    if area_range != ALL_AREAS:
        excused |= ~matched & _outside(found, area_range)[seen_order]
    return Matches(
        num_pictures=num_pictures,
        thresholds=thresholds,
        picture=found.picture[seen_order],
        scores=found.scores[seen_order],
        correct=matched & ~excused,
        excused=excused,
        num_true=np.bincount(truth.picture[~ignored], minlength=num_pictures),
        best=best,
    )


def _choose(
    oks: Float64[np.ndarray, "n b a"],
    least: Float64[np.ndarray, " t"],
    ignored: Bool[np.ndarray, "n a"],
    crowd: Bool[np.ndarray, "n a"],
) -> Int64[np.ndarray, "n b t"]:
    """Whom each detection takes at each threshold, or -1; a pair that is not one has OKS -1."""
    num_pictures, num_seen, num_true = oks.shape
    choice = np.full((num_pictures, num_seen, len(least)), -1, np.int64)
    taken = np.zeros((num_pictures, len(least), num_true), bool)
    for rank in range(num_seen):
        near = oks[:, rank, None, :]
        reach = (near >= least[:, None]) & (~taken | crowd[:, None])
        chosen = _last_highest(near, reach & ~ignored[:, None])
        if ignored.any():
            chosen = np.where(chosen >= 0, chosen, _last_highest(near, reach & ignored[:, None]))
        choice[:, rank] = chosen
        picture, level = np.nonzero(chosen >= 0)
        taken[picture, level, chosen[picture, level]] = True
    return choice


def _last_highest(near: Float64[np.ndarray, "n 1 a"], among: Bool[np.ndarray, "n t a"]) -> Int64[np.ndarray, "n t"]:
    """Of equals the last, as COCO's loop leaves it; -1 where there is none."""
    candidates = np.where(among, near, -1.0)[..., ::-1]
    highest: Int64[np.ndarray, "n t"] = among.shape[-1] - 1 - candidates.argmax(axis=-1)
    return np.where(among.any(axis=-1), highest, -1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Rows:
    """Where each picture's rows lie in an array that is sorted by picture."""

    starts: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, picture: Int64[np.ndarray, " d"], num_pictures: int) -> "_Rows":
        sizes = np.bincount(picture, minlength=num_pictures)
        return cls(starts=np.cumsum(sizes) - sizes, sizes=sizes)

    def padded(self, pictures: slice) -> Int64[np.ndarray, "n b"]:
        """The rows of each picture side by side, filled up with -1."""
        sizes = self.sizes[pictures, None]
        rank = np.arange(sizes.max(initial=0))
        return np.asarray(np.where(rank < sizes, self.starts[pictures, None] + rank, -1))


def _surest(found: Found, max_detections: int) -> Int64[np.ndarray, " d"]:
    """The rows by picture and descending score, at most so many a picture; equals keep their order."""
    order = np.lexsort((-found.scores, found.picture))
    picture = found.picture[order]
    rank = np.arange(len(order)) - np.searchsorted(picture, picture)
    return np.asarray(order[rank < max_detections])


def _outside(found: Found, area_range: tuple[float, float]) -> Bool[np.ndarray, " d"]:
    """By the extent of all points, those at the origin too, as pycocotools has it."""
    size = np.ptp(found.xy, axis=1)
    area = size[:, 0] * size[:, 1]
    return np.asarray((area < area_range[0]) | (area > area_range[1]))
