"""Who is whom: one detection for each true person, so that their joints can be compared one by one.

Axis legend: n pictures, p true people, k points.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from h2d.eval.instances import found_people, true_people
from h2d.eval.oks import SIGMAS_133, similarities
from h2d.eval.poses import PoseSet, is_there, on_canvas_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairedPeople:
    """Every true person, and the points of the one found in that place: all missing where there is nobody."""

    picture: Int64[np.ndarray, " p"]
    truth: Float32[np.ndarray, "p k 3"]
    found: Float32[np.ndarray, "p k 3"]
    size_wh: Int64[np.ndarray, "p 2"]
    """Of the person's picture, pixels."""
    num_pictures: int

    def of(self, points: slice) -> "PairedPeople":
        """The same people with some of their points, as `LEFT_HAND`."""
        return PairedPeople(
            picture=self.picture,
            truth=self.truth[:, points],
            found=self.found[:, points],
            size_wh=self.size_wh,
            num_pictures=self.num_pictures,
        )

    @property
    def labelled(self) -> Bool[np.ndarray, "p k"]:
        """Points that the truth has."""
        return is_there(self.truth)

    @property
    def seen(self) -> Bool[np.ndarray, "p k"]:
        """Points that were found."""
        return is_there(self.found)


def paired_people(truth: PoseSet, found: PoseSet) -> PairedPeople:
    """Pair people picture by picture, the most similar first; those who were found without a true person are left out.

    Similar is by OKS of all 133 points, and be it 0: where a picture has one of each, they are a pair. Raises as
    `on_canvas_of`.
    """
    found = on_canvas_of(found, truth)
    partner = np.full(len(truth.picture), -1, np.int64)
    num_true, num_seen = truth.per_picture, found.per_picture
    first_true, first_seen = np.cumsum(num_true) - num_true, np.cumsum(num_seen) - num_seen
    alone = (num_true == 1) & (num_seen == 1)
    partner[first_true[alone]] = first_seen[alone]
    instances = true_people(truth), found_people(found)
    for picture in np.flatnonzero((num_true > 0) & (num_seen > 0) & ~alone):
        true = first_true[picture] + np.arange(num_true[picture])
        seen = first_seen[picture] + np.arange(num_seen[picture])
        pairs = np.repeat(true, len(seen)), np.tile(seen, len(true))
        oks = similarities(*instances, pairs, SIGMAS_133).reshape(len(true), len(seen))
        partner[true] = np.where((chosen := _partners(oks)) >= 0, seen[chosen], -1)
    points = np.full(truth.points.shape, np.array([np.nan, np.nan, 0], np.float32))
    points[partner >= 0] = found.points[partner[partner >= 0]]
    return PairedPeople(
        picture=truth.picture,
        truth=truth.points,
        found=points,
        size_wh=truth.size_wh[truth.picture],
        num_pictures=truth.num_pictures,
    )


def _partners(oks: Float64[np.ndarray, "a b"]) -> Int64[np.ndarray, " a"]:
    """The column for each row, the highest pair first, or -1."""
    partner = np.full(len(oks), -1, np.int64)
    for _ in range(min(oks.shape)):
        row, column = np.unravel_index(oks.argmax(), oks.shape)
        partner[row] = column
        oks[row] = oks[:, column] = -1
    return partner
