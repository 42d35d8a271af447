"""The one pose type between files: people of 133 points on a canvas.

Points are x, y in pixels of the canvas and confidence in 0..1; a missing point is (NaN, NaN, 0), and a point may lie
outside the canvas. Left and right are the person's own. Axis legend: p people, n points.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float32

from h2d.pose.layouts import HANDS, Side
from h2d.pose.points import LEAST_CONFIDENCE, moved, present

_HASH_VERSION: Final = "h2d pose 1"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pose:
    """Who is where on a canvas. Two poses are the same where their hashes are."""

    people: Float32[np.ndarray, "p 133 3"]
    width: int
    height: int
    canvas_stated: bool = True
    """False where the pose's file names no canvas and this one was taken to just hold the points: worth telling."""

    def __post_init__(self) -> None:
        assert min(self.width, self.height) > 0, (self.width, self.height)
        points = self.people.reshape(-1, 3)
        missing = points[~present(points)]
        assert np.isnan(missing[:, :2]).all(), "a missing point is NaN, NaN, 0"
        assert (missing[:, 2] == 0).all(), "a missing point is NaN, NaN, 0"
        assert (points[:, 2] <= 1).all(), "a confidence is at most 1"

    @property
    def num_people(self) -> int:
        """How many."""
        return len(self.people)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the canvas."""
        return self.height, self.width

    def hand(self, person: int, side: Side) -> Float32[np.ndarray, "21 3"]:
        """A copy of one hand's points; all missing where there is no hand."""
        hand: Float32[np.ndarray, "21 3"] = self.people[person, HANDS[side]].copy()
        return hand

    def has_hand(self, person: int, side: Side) -> bool:
        """Whether any point of the hand is there."""
        return bool(present(self.people[person, HANDS[side]]).any())

    def hands(self) -> Iterator[tuple[int, Side]]:
        """Every hand that is there, as person and side, left before right."""
        for person in range(self.num_people):
            for side in HANDS:
                if self.has_hand(person, side):
                    yield person, side

    def shown(self) -> "Pose":
        """The points that skeletons show, as certain as can be; those below `LEAST_CONFIDENCE` are missing."""
        people = self.people.copy()
        seen = np.isfinite(people[..., 0]) & (people[..., 2] >= LEAST_CONFIDENCE)
        people[seen, 2] = 1
        people[~seen] = (np.nan, np.nan, 0)
        return replace(self, people=people)

    def with_hands_swapped(self, person: int) -> "Pose":
        """The same with the left and the right hand of one person exchanged, and the arms as they are."""
        people = self.people.copy()
        people[person, HANDS["left"]] = self.people[person, HANDS["right"]]
        people[person, HANDS["right"]] = self.people[person, HANDS["left"]]
        return replace(self, people=people)

    def resized(self, width: int, height: int) -> "Pose":
        """The same on a canvas of another size: stretched where its shape differs."""
        people = self.people.astype(np.float64)
        people[..., :2] *= (width / self.width, height / self.height)
        return replace(self, people=people.astype(np.float32), width=width, height=height)

    def moved(self, *, scale: float, shift: tuple[float, float], width: int, height: int) -> "Pose":
        """`(points + shift) * scale` on a canvas of the given size."""
        flat = moved(self.people.reshape(-1, 3), scale=scale, shift=shift)
        return Pose(people=flat.reshape(self.people.shape), width=width, height=height)

    def pose_hash(self) -> str:
        """SHA-256 of the canvas and every point in hexadecimal: the same on every machine and in every version."""
        points = np.nan_to_num(self.people, nan=0.0) + np.float32(0.0)  # so that -0.0 and 0.0 are one
        head = f"{_HASH_VERSION} {self.width}x{self.height} {self.num_people}\n".encode()
        return hashlib.sha256(head + points.astype("<f4").tobytes()).hexdigest()
