"""What a segmenter of people promises. Axis legend: h height, w width."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate.base import Annotator


@runtime_checkable
class PeopleSegmenter(Annotator, Protocol):
    """Tells a person from the background."""

    needs_points: bool
    """Whether it looks at the person's points; one that does not ignores them."""

    def segment(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], people: Sequence[Float32[np.ndarray, "133 3"]]
    ) -> list[Bool[np.ndarray, "h w"]]:
        """A mask for each picture, in order: True is the person. Empty where it finds nobody."""
