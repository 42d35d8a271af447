"""Keypoints that the dataset brings: taken as they are, and checked like those that a model finds.

Axis legend: h height, w width, n boxes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from h2d.annotate.base import NOTHING_GIVEN, Detection, FoundHand, GivenHands
from h2d.annotate.keypoints.checks import failed_checks, share_outside
from h2d.config import as_plain, config
from h2d.pose.layouts import HANDS, NUM_POINTS, SIDES, WRIST, WRISTS
from h2d.pose.points import missing_points, present


@config
class PrecomputedDetector:
    """Hands as the dataset has them; of the body only their wrists are known.

    A hand more than half of whose points lie outside the picture is not one that it shows.
    """

    min_points: int = 3
    """A hand with fewer valid points is not one: they cannot say where it lies. Our choice."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_points <= 21:
            raise ValueError(f"min_points must be 1 to 21, got {self.min_points}")

    def identity(self) -> Mapping[str, Any]:
        """Its options."""
        return {"name": "precomputed", **as_plain(self)}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def detect(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        boxes_xywh: Float32[np.ndarray, "n 4"],
        given: GivenHands = NOTHING_GIVEN,
    ) -> Detection:
        """The given hands; of the picture only the size matters."""
        size_hw = picture.shape[0], picture.shape[1]
        hands = {side: given[side] for side in SIDES if side in given and self._is_shown(given[side], size_hw)}
        body = missing_points(NUM_POINTS)
        for side, points in hands.items():
            body[HANDS[side]] = points
            body[WRISTS[side]] = points[WRIST]
        found = {}
        for side, other in (SIDES, SIDES[::-1]):
            if side in hands:
                checks = failed_checks(
                    hands[side],
                    side=side,
                    body=body,
                    size_hw=size_hw,
                    other_hand=hands.get(other),
                )
                found[side] = FoundHand(points=hands[side], found_by="precomputed", checks=checks)
        return Detection(num_persons=int(bool(found)), body=body, hands=found)

    def _is_shown(self, points: Float32[np.ndarray, "21 3"], size_hw: tuple[int, int]) -> bool:
        return bool(present(points).sum() >= self.min_points) and share_outside(points, size_hw) <= 0.5
