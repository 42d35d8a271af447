"""What a blending strategy decides: after which step which cells of the latent are put back from the canvas (III-D).

Axis legend: b pictures, h w picture size, l k latent size, n steps.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Shaped

from h2d.models.base import CELL_PX

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the picture; may reach beyond it."""

Content: TypeAlias = Literal["hand", "crop"]
"""What the canvas that is put back shows: the hands alone on the fill, or their whole crops."""


@runtime_checkable
class Blending(Protocol):
    """A strategy: a frozen config."""

    content: ClassVar[Content]

    def step_masks(
        self,
        masks: Bool[np.ndarray, "b h w"],
        boxes: Sequence[Sequence[Box]],
        num_steps: int,
        *,
        cell_px: int = CELL_PX,
    ) -> Bool[np.ndarray, "n b l k"]:
        """The cells put back after each step, first step first; none after the last `unmasked_steps`.

        `masks` are the exact hand masks; `boxes` the squares of each picture's hand crops; `cell_px` pixels a side are
        a cell.
        """


def cells_of(masks: Shaped[np.ndarray, "*n h w"], cell_px: int = CELL_PX) -> Shaped[np.ndarray, "*n l k"]:
    """The masks at the latent's size: what lies at each cell's first pixel, torch's `nearest`."""
    return masks[..., ::cell_px, ::cell_px]


def without_last(cells: Bool[np.ndarray, "n b l k"], unmasked_steps: int) -> Bool[np.ndarray, "n b l k"]:
    """The masks with nothing put back after the last steps."""
    kept = cells.copy()
    kept[max(0, len(cells) - unmasked_steps) :] = False
    return kept
