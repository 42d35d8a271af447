"""The pose in a picture, read back by the detector that annotates photographs (IV-D)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from h2d.annotate.base import Detection, KeypointDetector
from h2d.annotate.in_child import InChild, InThisProcess, Lost
from h2d.eval.looks.base import PROBLEM, Seen, points_field
from h2d.images import resize
from h2d.pose.layouts import SIDES

ENLARGED_PX = 512
"""MediaPipe's models see 256 pixels of a person and 224 of a hand: smaller pictures are enlarged. Our choice."""


class PoseLook:
    """One person's 133 points, in pixels of the picture at the list's size."""

    name = "pose"
    columns: ClassVar[tuple[pa.Field, ...]] = (
        points_field(),
        pa.field("persons", pa.int32(), nullable=False),
        *(pa.field(f"hand_{side}_by", pa.string()) for side in SIDES),
        *(pa.field(f"hand_{side}_checks", pa.list_(pa.string())) for side in SIDES),
        PROBLEM,
    )
    needs: tuple[str, ...] = ()
    needs_gpu = False

    def __init__(self, detector: KeypointDetector, *, enlarged_px: int = ENLARGED_PX, in_child: bool = False) -> None:
        """`in_child`: the detector may die of a picture, and gets a process of its own."""
        self._detector, self._enlarged_px, self.apart = detector, enlarged_px, in_child
        self._asked = InChild(detector, "detect", name=self.name) if in_child else InThisProcess(detector, "detect")

    def identity(self) -> Mapping[str, Any]:
        """The detector's, and to what smaller pictures are enlarged."""
        return {"detector": dict(self._detector.identity()), "enlarged_px": self._enlarged_px, "hints": "none"}

    def setup(self) -> None:
        """Open the detector."""
        self._asked.setup()

    def close(self) -> None:
        """Close it."""
        self._asked.close()

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """Find the most prominent person in each picture; nobody where the detector dies of it."""
        return [self._row(one) for one in seen]

    def _row(self, seen: Seen) -> dict[str, Any]:
        height, width = seen.picture.shape[:2]
        scale = max(1.0, self._enlarged_px / max(height, width))
        picture = resize(seen.picture, (round(height * scale), round(width * scale)))
        problem = None
        try:
            found = self._asked.ask(seen.title, picture, np.zeros((0, 4), np.float32))
        except Lost as why:
            found, problem = Detection(num_persons=0), str(why)
        points = found.body * np.array([1 / scale, 1 / scale, 1], np.float32)
        row: dict[str, Any] = {"points": points.ravel(), "persons": found.num_persons, "problem": problem}
        for side in SIDES:
            hand = found.hands.get(side)
            row[f"hand_{side}_by"] = hand.found_by if hand else None
            row[f"hand_{side}_checks"] = list(hand.checks) if hand else None
        return row
