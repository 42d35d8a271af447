"""The person in a picture, so that its background can be removed: "FID fg" (IV-D)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from h2d.annotate.in_child import InChild, InThisProcess, Lost
from h2d.annotate.people.base import PeopleSegmenter
from h2d.eval.looks.base import PROBLEM, Seen
from h2d.manifests.rle import encode_rle
from h2d.manifests.schema import RLE


class ForegroundLook:
    """The person's mask, at the list's size."""

    name = "foreground"
    columns: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("mask", RLE, nullable=False),
        pa.field("mask_px", pa.int32(), nullable=False),
        PROBLEM,
    )

    def __init__(self, segmenter: PeopleSegmenter, *, needs_gpu: bool = False, in_child: bool = False) -> None:
        """`in_child`: the segmenter may die of a picture, and gets a process of its own."""
        self._segmenter, self.needs_gpu, self.apart = segmenter, needs_gpu, in_child
        self._asked = InChild(segmenter, "segment", name=self.name) if in_child else InThisProcess(segmenter, "segment")
        self.needs: tuple[str, ...] = ("points",) if segmenter.needs_points else ()

    def identity(self) -> Mapping[str, Any]:
        """The segmenter's; where it is shown points, those found, else those asked for."""
        points = "found, else asked for" if self._segmenter.needs_points else "not used"
        return {"segmenter": dict(self._segmenter.identity()), "points": points}

    def setup(self) -> None:
        """Open the segmenter."""
        self._asked.setup()

    def close(self) -> None:
        """Close it."""
        self._asked.close()

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """A mask for each picture; empty where nobody is found, or where the segmenter dies of it."""
        together = [[one] for one in seen] if self.apart else [seen]
        return [row for some in together for row in self._rows(some)]

    def _rows(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        problem = None
        try:
            masks = self._asked.ask(seen[0].title, [one.picture for one in seen], [one.person for one in seen])
        except Lost as why:
            masks, problem = [np.zeros(one.picture.shape[:2], bool) for one in seen], str(why)
        return [{"mask": encode_rle(mask), "mask_px": int(mask.sum()), "problem": problem} for mask in masks]
