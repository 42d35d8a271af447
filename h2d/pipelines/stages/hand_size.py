"""Hand size: leaves out pictures whose hands are too small to train on, before anything describes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pyarrow as pa

from h2d.pipelines.stages.base import Row, refusal
from h2d.pose.layouts import SIDES

TRAINING_SIDE_PX: Final = 512
"""Hands are measured in the picture at the size that training sees: its shorter side has so many pixels. Our choice:
the paper does not say where it counts."""


@dataclass(frozen=True, kw_only=True)
class HandSizeStage:
    """Measures the masks of each picture's hands."""

    name: ClassVar[str] = "hand_size"
    version: ClassVar[int] = 1
    index_columns: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pose": ("width", "height", "crops.list.element.hands"),
        "mask": ("mask_left_px", "mask_right_px"),
    }
    schema: ClassVar[pa.Schema] = pa.schema([("hand_px", pa.float32())])
    batch_size: ClassVar[int] = 1
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False
    annotator: ClassVar[str] = "rule"

    min_hand_px: int

    def identity(self) -> Mapping[str, Any]:
        """The rule."""
        return {"min_hand_px": self.min_hand_px, "side_px": TRAINING_SIDE_PX}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Add up both hands; a picture without a usable hand is left to the rule that says so."""
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> dict[str, Any]:
        pose, mask = row["pose"], row["mask"]
        scale = TRAINING_SIDE_PX / min(pose["width"], pose["height"])
        hand_px = sum(mask[f"mask_{side}_px"] or 0 for side in SIDES) * scale**2
        if hand_px >= self.min_hand_px or not pose["crops"]:
            return {"hand_px": hand_px}
        return refusal("hand_mask_small", f"{hand_px:.0f} px of hands at {TRAINING_SIDE_PX}, {self.min_hand_px} wanted")
