"""Sequential mask expansion (III-D): the mask starts dilated the most and has shrunk to the hand at the last step.

Axis legend: b pictures, h w picture size, l k latent size, n steps.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from h2d.config import check_range, config
from h2d.infer.blending.base import Box, Content, cells_of, without_last
from h2d.models.base import CELL_PX

REFERENCE_PX = 512
LEAST_STEPS = 50


@config
class Expanding:
    """The paper's strategy; it states neither kernel nor space nor reach.

    Ours: a square of 3 x 3 pixels, once a step, at a picture of 512; so 49 pixels at 50 steps. With fewer steps the
    reach stays that of 50, and it grows with the picture.
    """

    content: ClassVar[Content] = "hand"

    max_px: float | None = None
    """The reach at the first step, in pixels of a picture whose short side is 512. None: as above."""
    profile: Literal["linear", "cosine"] = "linear"
    """How the reach shrinks; `cosine` stays large for longer and ends gently."""
    unmasked_steps: int = 2

    def __post_init__(self) -> None:
        check_range(self, "max_px", 0)
        check_range(self, "unmasked_steps", 0)

    def step_masks(
        self,
        masks: Bool[np.ndarray, "b h w"],
        boxes: Sequence[Sequence[Box]],
        num_steps: int,
        *,
        cell_px: int = CELL_PX,
    ) -> Bool[np.ndarray, "n b l k"]:
        """All steps from one distance transform a picture: dilated by r is nearer than r, in the square's metric."""
        distances = np.stack([cells_of_distance(mask, cell_px) for mask in masks])
        reach = self.reach_px(num_steps, short_side_px=min(masks.shape[1:]))
        return without_last(distances[None] <= reach[:, None, None, None], self.unmasked_steps)

    def reach_px(self, num_steps: int, *, short_side_px: int) -> Float64[np.ndarray, " n"]:
        """By how many pixels the mask is dilated after each step: 0 after the last."""
        first = self.max_px if self.max_px is not None else max(num_steps, LEAST_STEPS) - 1
        left = np.linspace(1, 0, num_steps) if num_steps > 1 else np.zeros(1)
        if self.profile == "cosine":
            left = np.sin(left * np.pi / 2) ** 2
        reach: Float64[np.ndarray, " n"] = first * short_side_px / REFERENCE_PX * left
        # Whole pixels at 512 come out as the literal 3 x 3 dilations do, whatever linspace rounds.
        return np.round(reach, 9)


def cells_of_distance(mask: Bool[np.ndarray, "h w"], cell_px: int) -> Float32[np.ndarray, "l k"]:
    """How far each cell's first pixel is from the mask, in pixels of the larger of dx and dy; infinite without one."""
    if not mask.any():
        return cells_of(np.full(mask.shape, np.inf, np.float32), cell_px)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_C, 3)
    return cells_of(np.asarray(distance, np.float32), cell_px)
