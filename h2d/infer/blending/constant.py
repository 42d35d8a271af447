"""The paper's two ablations (IV-D): one mask throughout.

Axis legend: b pictures, h w picture size, l k latent size, n steps.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from h2d.config import check_range, config
from h2d.infer.blending.base import Box, Content, cells_of, without_last
from h2d.models.base import CELL_PX


@config
class Naive:
    """The exact hand mask after every step."""

    content: ClassVar[Content] = "hand"
    unmasked_steps: int = 2

    def __post_init__(self) -> None:
        check_range(self, "unmasked_steps", 0)

    def step_masks(
        self,
        masks: Bool[np.ndarray, "b h w"],
        boxes: Sequence[Sequence[Box]],
        num_steps: int,
        *,
        cell_px: int = CELL_PX,
    ) -> Bool[np.ndarray, "n b l k"]:
        """The same cells at each step."""
        return without_last(np.repeat(cells_of(masks, cell_px)[None], num_steps, axis=0), self.unmasked_steps)


@config
class BoundingBox:
    """The whole square of each hand crop, with its background, after every step. Which content is our reading."""

    content: ClassVar[Content] = "crop"
    unmasked_steps: int = 2

    def __post_init__(self) -> None:
        check_range(self, "unmasked_steps", 0)

    def step_masks(
        self,
        masks: Bool[np.ndarray, "b h w"],
        boxes: Sequence[Sequence[Box]],
        num_steps: int,
        *,
        cell_px: int = CELL_PX,
    ) -> Bool[np.ndarray, "n b l k"]:
        """The same cells at each step."""
        inside = np.zeros_like(masks)
        for picture, squares in zip(inside, boxes, strict=True):
            for left, top, width, height in squares:
                picture[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
        return without_last(np.repeat(cells_of(inside, cell_px)[None], num_steps, axis=0), self.unmasked_steps)
