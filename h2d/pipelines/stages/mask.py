"""Mask: each hand's mask in its crop, and laid into the working picture.

Axis legend: h w crop or picture size, n3 points times three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32

from h2d.annotate.base import HandMask, HandView, Segmenter
from h2d.images import decode_rgb
from h2d.manifests.io import Location, below
from h2d.manifests.masks import project_mask
from h2d.manifests.rle import encode_rle
from h2d.manifests.schema import IMAGES, RLE
from h2d.pipelines.stages.base import Row
from h2d.pose.camera import camera_of
from h2d.pose.layouts import SIDES, Side
from h2d.pose.points import moved


@dataclass(frozen=True, kw_only=True)
class MaskStage:
    """Draws each hand's mask in its crop, where the hand is large, and lays it into the working picture."""

    name: ClassVar[str] = "mask"
    version: ClassVar[int] = 2
    index_columns: ClassVar[tuple[str, ...]] = ("mask_path", "mesh_left", "mesh_right", "camera")
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pose": (
            "crops", "hand_left", "hand_right", "hand_left_found", "hand_right_found", "image_scale", "width", "height",
            "source_width", "source_height",
        )
    }  # fmt: skip
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            *(IMAGES.field(f"mask_{side}{suffix}") for side in SIDES for suffix in ("", "_px", "_quality", "_problem")),
            IMAGES.field("segmenter"),
            ("crop_masks", pa.list_(RLE)),
            ("crop_mask_px", pa.list_(pa.int32())),
        ]
    )

    root: Location
    annotator: str
    segmenter: Segmenter
    needs_gpu: bool = False
    uses_all_cores: bool = False

    @property
    def batch_size(self) -> int:
        """The segmenter's: a picture has one view or two."""
        return self.segmenter.batch_size

    def identity(self) -> Mapping[str, Any]:
        """The segmenter's."""
        return self.segmenter.identity()

    def setup(self) -> None:
        """Load the segmenter."""
        self.segmenter.setup()

    def close(self) -> None:
        """Close the segmenter."""
        self.segmenter.close()

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Segment every crop of the batch in one call."""
        views = [self._view(row, crop) for row in rows for crop in row["pose"]["crops"]]
        answers = iter(self.segmenter.segment(views) if views else [])
        return [self._columns(row, [next(answers) for _ in row["pose"]["crops"]]) for row in rows]

    def _view(self, row: Row, crop: Mapping[str, Any]) -> HandView:
        sides: tuple[Side, ...] = SIDES if crop["hands"] == "both" else (crop["hands"],)
        x, y, width, height = crop["crop_box_xywh"]
        picture = decode_rgb(crop["image"])
        to_crop = picture.shape[1] / width
        others = {
            side: moved(_points(row["pose"][f"hand_{side}"]), scale=1 / row["pose"]["image_scale"])
            for side in SIDES
            if side not in sides and row["pose"][f"hand_{side}_found"]
        }
        return HandView(
            picture=picture,
            hands={side: _points(crop[f"keypoints_{side}"]) for side in sides},
            others={side: moved(points, shift=(-x, -y), scale=to_crop) for side, points in others.items()},
            given_mask=below(self.root, row["mask_path"]) if row["mask_path"] else None,
            crop_box_xywh=(x, y, width, height),
            source_size_hw=(row["pose"]["source_height"], row["pose"]["source_width"]),
            meshes={side: below(self.root, row[f"mesh_{side}"]) for side in SIDES if row[f"mesh_{side}"]},
            camera=camera_of(row["camera"]) if row["camera"] else None,
        )

    def _columns(self, row: Row, answers: Sequence[Mapping[Side, HandMask]]) -> dict[str, Any]:
        pose = row["pose"]
        columns: dict[str, Any] = {"segmenter": self.annotator, "crop_masks": [], "crop_mask_px": []}
        for crop, answer in zip(pose["crops"], answers, strict=True):
            x, y, width, height = crop["crop_box_xywh"]
            union: Bool[np.ndarray, "h w"] | None = None
            for side, hand in answer.items():
                columns[f"mask_{side}_quality"] = hand.quality
                columns[f"mask_{side}_problem"] = hand.problem
                if hand.mask is None:
                    continue
                union = hand.mask if union is None else union | hand.mask
                laid = project_mask(
                    hand.mask, (x, y, width, height), pose["image_scale"], (pose["height"], pose["width"])
                )
                columns[f"mask_{side}"] = encode_rle(laid)
                columns[f"mask_{side}_px"] = int(laid.sum())
            complete = union is not None and all(hand.mask is not None for hand in answer.values())
            columns["crop_masks"].append(encode_rle(union) if complete and union is not None else None)
            columns["crop_mask_px"].append(int(union.sum()) if complete and union is not None else None)
        return columns


def _points(numbers: Sequence[float] | Float32[np.ndarray, " n3"]) -> Float32[np.ndarray, "21 3"]:
    return np.asarray(numbers, np.float32).reshape(-1, 3)
