"""The people of a list of pictures, packed into arrays: what a pose measure takes.

Points are x, y in pixels of their picture and confidence in 0..1; missing is (NaN, NaN, 0). Axis legend: n pictures of
the list, p people, k points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from h2d.errors import UserError
from h2d.pose.layouts import NUM_POINTS
from h2d.pose.pose import Pose

MAX_SHAPE_DIFFERENCE = 0.02
"""Pictures whose width / height differs by more are not the same view. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoseSet:
    """Everybody in a list of pictures, each with at least one point. People stand in the order of the list."""

    picture: Int64[np.ndarray, " p"]
    """Which picture of the list each is in, ascending."""
    points: Float32[np.ndarray, "p 133 3"]
    size_wh: Int64[np.ndarray, "n 2"]
    """Width and height of each picture, pixels; (0, 0) where it is not known because nobody is there."""
    scores: Float64[np.ndarray, " p"] | None = None
    """How sure the detector is of each person, if it says so."""

    def __post_init__(self) -> None:
        assert len(self.picture) == len(self.points)
        assert (np.diff(self.picture) >= 0).all(), "people stand in the order of the list"
        assert is_there(self.points).any(axis=1).all(), "a person without a point is nobody"
        assert not len(self.picture) or 0 <= self.picture[0] <= self.picture[-1] < len(self.size_wh)
        assert self.scores is None or (len(self.scores) == len(self.picture) and np.isfinite(self.scores).all())

    @classmethod
    def of(cls, poses: Sequence[Pose | None]) -> "PoseSet":
        """Of one pose a picture, in the order of the list; None where nothing was found. People without points go."""
        people, picture = [np.zeros((0, NUM_POINTS, 3), np.float32)], []
        for number, pose in enumerate(poses):
            if pose is not None:
                there = pose.people[is_there(pose.people).any(axis=1)]
                people.append(there)
                picture += [number] * len(there)
        sizes = [(0, 0) if pose is None else (pose.width, pose.height) for pose in poses]
        return cls(
            picture=np.array(picture, np.int64),
            points=np.concatenate(people),
            size_wh=np.array(sizes, np.int64).reshape(-1, 2),
        )

    @property
    def num_pictures(self) -> int:
        """How long the list is."""
        return len(self.size_wh)

    @property
    def per_picture(self) -> Int64[np.ndarray, " n"]:
        """How many people each picture has."""
        return np.bincount(self.picture, minlength=self.num_pictures).astype(np.int64)

    def labelled(self, *, above: float = 0.0, inside: bool = False) -> "PoseSet":
        """Without the points of at most this confidence, or, where `inside`, beyond the picture's edges.

        People who are left without a point go.
        """
        keep = is_there(self.points) & (self.points[..., 2] > above)
        if inside:
            size = self.size_wh[self.picture][:, None]
            keep &= ((self.points[..., :2] >= 0) & (self.points[..., :2] <= size)).all(axis=-1)
        points = np.where(keep[..., None], self.points, np.array([np.nan, np.nan, 0], np.float32))
        left = keep.any(axis=1)
        scores = None if self.scores is None else self.scores[left]
        return replace(self, picture=self.picture[left], points=points[left], scores=scores)


def is_there(points: Float32[np.ndarray, "p k 3"]) -> Bool[np.ndarray, "p k"]:
    """Which points are not missing."""
    there: Bool[np.ndarray, "p k"] = np.isfinite(points[..., :2]).all(axis=-1) & (points[..., 2] > 0)
    return there


def extents_xywh(xy: Float64[np.ndarray, "p k 2"], there: Bool[np.ndarray, "p k"]) -> Float64[np.ndarray, "p 4"]:
    """Tight boxes of the points that are there: missing ones widen nothing; zeros where there is none."""
    low = np.where(there[..., None], xy, np.inf).min(axis=1)
    high = np.where(there[..., None], xy, -np.inf).max(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)
    return np.where(there.any(axis=1)[:, None], boxes, 0.0)


def on_canvas_of(found: PoseSet, truth: PoseSet) -> PoseSet:
    """`found` in the pixels of `truth`'s pictures.

    Raises `UserError` where the lists are not equally long, or where a picture has another shape than its truth.
    """
    if found.num_pictures != truth.num_pictures:
        raise UserError(
            f"{found.num_pictures} poses were found for {truth.num_pictures} true ones: give one for each picture of "
            "the list, in its order, and none (null) where nobody was found"
        )
    known = (found.size_wh > 0).all(axis=1) & (truth.size_wh > 0).all(axis=1)
    scale = np.where(known[:, None], truth.size_wh / np.maximum(found.size_wh, 1), 1.0)
    apart = np.abs(scale[:, 0] / scale[:, 1] - 1)
    if (apart > MAX_SHAPE_DIFFERENCE).any():
        worst = int(apart.argmax())
        (width, height), (true_width, true_height) = found.size_wh[worst].tolist(), truth.size_wh[worst].tolist()
        raise UserError(
            f"picture {worst} of the list is {width} x {height}, its true pose is for {true_width} x {true_height}: "
            "generate pictures of the truth's shape"
        )
    if (scale == 1).all():
        return found
    points = found.points.astype(np.float64)
    points[..., :2] *= scale[found.picture][:, None]
    size_wh = np.where(known[:, None], truth.size_wh, found.size_wh)
    return replace(found, points=points.astype(np.float32), size_wh=size_wh)
