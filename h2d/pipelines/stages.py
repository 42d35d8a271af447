"""The three stages that look at pictures: pose, mask, caption. Each turns rows into columns; none writes a file.

A stage gets rows in the order of the shard: the index's columns, and under the name of each stage that it reads
that stage's columns. It answers with one dictionary of its own columns per row, or raises.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import cv2
import numpy as np
import pyarrow as pa

from h2d.annotate.base import (
    Captioner,
    CaptionRequest,
    Detection,
    HandMask,
    HandView,
    KeypointDetector,
    Segmenter,
)
from h2d.annotate.crops import Crop, CropConfig, cut, plan_crops
from h2d.config import as_plain
from h2d.images import decode_rgb, encode_jpeg
from h2d.manifests.masks import project_mask
from h2d.manifests.rle import encode_rle
from h2d.manifests.schema import BOX, IMAGE, IMAGES, POINTS_21, POINTS_133, RLE
from h2d.pipelines.working_picture import PictureConfig, working_picture
from h2d.pose.layouts import SIDES, Side
from h2d.pose.points import extent_xywh, missing_points

Row: TypeAlias = Mapping[str, Any]

CROP = pa.struct(
    [
        ("hands", pa.string()),
        ("crop_box_xywh", BOX),
        ("image", pa.binary()),
        ("keypoints_left", POINTS_21),
        ("keypoints_right", POINTS_21),
    ]
)


class Stage(Protocol):
    """One step over pictures, apart from files, shards and processes."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised by hand when the code's answers change."""
    reads: ClassVar[tuple[str, ...]]
    """The stages whose columns it needs."""
    schema: ClassVar[pa.Schema]

    @property
    def batch_size(self) -> int:
        """How many rows it likes to get at once."""

    @property
    def annotator(self) -> str:
        """The name of the model or method behind it."""

    @property
    def needs_gpu(self) -> bool:
        """Whether each worker wants a GPU of its own."""

    @property
    def uses_all_cores(self) -> bool:
        """Whether one process keeps every core busy: a torch model without a GPU."""

    def identity(self) -> Mapping[str, Any]:
        """Everything that changes its answers, JSON-ready."""

    def setup(self) -> None:
        """Load weights; once per worker process."""

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """One dictionary of columns per row, in order."""

    def close(self) -> None:
        """Give back what `setup` took."""


@dataclass(frozen=True, kw_only=True)
class PoseStage:
    """Reads each original once: keypoints, working picture, hand crops from the original's pixels."""

    name: ClassVar[str] = "pose"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            *(
                IMAGES.field(name).with_nullable(name not in ("body", "hand_left", "hand_right"))
                for name in (
                    "source_sha256", "source_width", "source_height", "width", "height", "image_scale", "persons",
                    "body", "hand_left", "hand_right", "hand_left_found", "hand_right_found",
                    "hand_left_checks", "hand_right_checks", "hand_left_by", "hand_right_by", "keypoint_source",
                    "hand_boxes_xywh", "gesture_boxes_xywh",
                )
            ),
            ("picture", pa.binary()),
            ("crops", pa.list_(CROP)),
        ]
    )  # fmt: skip
    batch_size: ClassVar[int] = 1
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False

    root: Path
    annotator: str
    detector: KeypointDetector
    pictures: PictureConfig
    crops: CropConfig

    def identity(self) -> Mapping[str, Any]:
        """The detector's, and how pictures and crops are kept."""
        return {
            "detector": self.detector.identity(),
            "pictures": as_plain(self.pictures),
            "crops": as_plain(self.crops),
            "opencv": cv2.__version__,
        }

    def setup(self) -> None:
        """Load the detector."""
        cv2.setNumThreads(1)
        self.detector.setup()

    def close(self) -> None:
        """Close the detector."""
        self.detector.close()

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Decode, find keypoints, reduce, crop."""
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> dict[str, Any]:
        original = (self.root / row["path"]).read_bytes()
        picture = decode_rgb(original)
        height, width = picture.shape[:2]
        boxes = np.asarray(row["boxes_xywh"], np.float32).reshape(-1, 4) * np.float32([width, height, width, height])
        found = self.detector.detect(picture, boxes)
        crops = plan_crops(found.hands, (height, width), self.crops)
        kept = working_picture(original, picture, self.pictures)
        return {
            "source_sha256": hashlib.sha256(original).hexdigest(),
            "source_width": width,
            "source_height": height,
            "width": kept.size_hw[1],
            "height": kept.size_hw[0],
            "image_scale": kept.scale,
            "picture": kept.data,
            "persons": found.num_persons,
            "keypoint_source": self.annotator,
            "gesture_boxes_xywh": (boxes * np.float32(kept.scale)).tolist(),
            "crops": [self._crop(picture, crop, found) for crop in crops],
            **_keypoint_columns(found, kept.scale),
        }

    def _crop(self, picture: np.ndarray, crop: Crop, found: Detection) -> dict[str, Any]:
        inside = {side: crop.points(found.hands[side].points) for side in crop.sides}
        return {
            "hands": crop.hands,
            "crop_box_xywh": [float(value) for value in crop.box_xywh],
            "image": encode_jpeg(cut(picture, crop), quality=self.crops.jpeg_quality),
            **{f"keypoints_{side}": _flat(inside.get(side, missing_points())) for side in SIDES},
        }


@dataclass(frozen=True, kw_only=True)
class MaskStage:
    """Draws each hand's mask in its crop, where the hand is large, and lays it into the working picture."""

    name: ClassVar[str] = "mask"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("pose",)
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            *(IMAGES.field(f"mask_{side}{suffix}") for side in SIDES for suffix in ("", "_px", "_quality", "_problem")),
            IMAGES.field("segmenter"),
            ("crop_masks", pa.list_(RLE)),
            ("crop_mask_px", pa.list_(pa.int32())),
        ]
    )

    root: Path
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
        return HandView(
            picture=decode_rgb(crop["image"]),
            hands={side: np.asarray(crop[f"keypoints_{side}"], np.float32).reshape(-1, 3) for side in sides},
            given_mask=self.root / row["mask_path"] if row["mask_path"] else None,
            crop_box_xywh=(x, y, width, height),
        )

    def _columns(self, row: Row, answers: Sequence[Mapping[Side, HandMask]]) -> dict[str, Any]:
        pose = row["pose"]
        columns: dict[str, Any] = {"segmenter": self.annotator, "crop_masks": [], "crop_mask_px": []}
        for crop, answer in zip(pose["crops"], answers, strict=True):
            x, y, width, height = crop["crop_box_xywh"]
            union: np.ndarray | None = None
            for side, hand in answer.items():
                columns[f"mask_{side}_quality"] = hand.quality
                columns[f"mask_{side}_problem"] = hand.problem
                if hand.mask is None:
                    continue
                union = hand.mask if union is None else union | hand.mask
                laid = project_mask(hand.mask, (x, y, width, height), pose["image_scale"], (pose["height"], pose["width"]))
                columns[f"mask_{side}"] = encode_rle(laid)
                columns[f"mask_{side}_px"] = int(laid.sum())
            complete = union is not None and all(hand.mask is not None for hand in answer.values())
            columns["crop_masks"].append(encode_rle(union) if complete and union is not None else None)
            columns["crop_mask_px"].append(int(union.sum()) if complete and union is not None else None)
        return columns


@dataclass(frozen=True, kw_only=True)
class CaptionStage:
    """Describes each working picture in words."""

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("pose",)
    schema: ClassVar[pa.Schema] = pa.schema([IMAGES.field("caption"), IMAGES.field("captioner")])

    annotator: str
    captioner: Captioner
    source: str
    needs_gpu: bool = False
    uses_all_cores: bool = False

    @property
    def batch_size(self) -> int:
        """The captioner's."""
        return self.captioner.batch_size

    def identity(self) -> Mapping[str, Any]:
        """The captioner's."""
        return self.captioner.identity()

    def setup(self) -> None:
        """Load the captioner."""
        self.captioner.setup()

    def close(self) -> None:
        """Close the captioner."""
        self.captioner.close()

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Describe the batch in one call."""
        requests = [
            CaptionRequest(
                picture=decode_rgb(row["pose"]["picture"]),
                source=self.source,
                gesture=row["gesture"],
                hands=tuple(side for side in SIDES if row["pose"][f"hand_{side}_found"]),
            )
            for row in rows
        ]
        texts = self.captioner.caption(requests)
        return [{"caption": text, "captioner": self.annotator} for text in texts]


def _keypoint_columns(found: Detection, scale: float) -> dict[str, Any]:
    columns: dict[str, Any] = {"body": _flat(_scaled(found.body, scale)), "hand_boxes_xywh": []}
    for side in SIDES:
        hand = found.hands.get(side)
        points = missing_points() if hand is None else _scaled(hand.points, scale)
        columns[f"hand_{side}"] = _flat(points)
        columns[f"hand_{side}_found"] = hand is not None
        columns[f"hand_{side}_by"] = hand.found_by if hand else None
        columns[f"hand_{side}_checks"] = list(hand.checks) if hand else []
        if hand is not None:
            columns["hand_boxes_xywh"].append(list(extent_xywh(points)))
    return columns


def _scaled(points: np.ndarray, scale: float) -> np.ndarray:
    return points * np.float32([scale, scale, 1])


def _flat(points: np.ndarray) -> np.ndarray:
    return points.ravel()
