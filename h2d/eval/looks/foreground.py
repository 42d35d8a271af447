"""The person in a picture, so that its background can be removed: "FID fg" (IV-D)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from h2d.annotate.people.base import PeopleSegmenter
from h2d.eval.looks.base import Seen
from h2d.manifests.rle import encode_rle
from h2d.manifests.schema import RLE


class ForegroundLook:
    """The person's mask, at the list's size."""

    name = "foreground"
    columns: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("mask", RLE, nullable=False),
        pa.field("mask_px", pa.int32(), nullable=False),
    )

    def __init__(self, segmenter: PeopleSegmenter, *, needs_gpu: bool = False) -> None:
        self._segmenter, self.needs_gpu = segmenter, needs_gpu
        self.needs: tuple[str, ...] = ("points",) if segmenter.needs_points else ()

    def identity(self) -> Mapping[str, Any]:
        """The segmenter's; where it is shown points, those found, else those asked for."""
        points = "found, else asked for" if self._segmenter.needs_points else "not used"
        return {"segmenter": dict(self._segmenter.identity()), "points": points}

    def setup(self) -> None:
        """Open the segmenter."""
        self._segmenter.setup()

    def close(self) -> None:
        """Close it."""
        self._segmenter.close()

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """A mask for each picture; empty where nobody is found."""
        masks = self._segmenter.segment([one.picture for one in seen], [one.person for one in seen])
        return [{"mask": encode_rle(mask), "mask_px": int(mask.sum())} for mask in masks]
