"""Pose: the only stage that reads originals. Keypoints, the working picture, hand crops from the original's pixels.

Axis legend: h w picture size, n points, n3 points times three.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import Float32, UInt8

from h2d.annotate.base import Detection, GivenHands, KeypointDetector
from h2d.annotate.crops import Crop, CropConfig, cut, plan_crops
from h2d.config import as_plain
from h2d.images import decode_rgb, encode_jpeg
from h2d.machine import keep_freed_memory
from h2d.manifests.io import Location, below
from h2d.manifests.schema import BOX, IMAGES, POINTS_21
from h2d.pipelines.stages.base import Row, refusal
from h2d.pipelines.working_picture import PictureConfig, working_picture
from h2d.pose.layouts import SIDES
from h2d.pose.points import extent_xywh, missing_points, moved

CROP = pa.struct(
    [
        ("hands", pa.string()),
        ("crop_box_xywh", BOX),
        ("image", pa.binary()),
        ("keypoints_left", POINTS_21),
        ("keypoints_right", POINTS_21),
    ]
)


@dataclass(frozen=True, kw_only=True)
class PoseStage:
    """Reads each original once: keypoints, working picture, hand crops from the original's pixels."""

    name: ClassVar[str] = "pose"
    version: ClassVar[int] = 3
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
    index_columns: ClassVar[tuple[str, ...]] = ("path", "boxes_xywh", "given_left", "given_right", "stated_size_hw")
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False

    root: Location
    annotator: str
    detector: KeypointDetector
    pictures: PictureConfig
    crops: CropConfig
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    persons: int = 0
    """How many people the picture must show; 0: any number."""

    def identity(self) -> Mapping[str, Any]:
        """The detector's, and how pictures and crops are kept."""
        return {
            "detector": self.detector.identity(),
            "pictures": as_plain(self.pictures),
            "crops": as_plain(self.crops),
            "opencv": cv2.__version__,
            **({"persons": self.persons} if self.persons else {}),
        }

    def setup(self) -> None:
        """Load the detector."""
        cv2.setNumThreads(1)
        keep_freed_memory()
        self.detector.setup()

    def close(self) -> None:
        """Close the detector."""
        self.detector.close()

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Decode, find keypoints, reduce, crop."""
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> dict[str, Any]:
        original = below(self.root, row["path"]).read_bytes()
        picture = decode_rgb(original)
        height, width = picture.shape[:2]
        boxes = np.asarray(row["boxes_xywh"], np.float32).reshape(-1, 4) * np.array(
            [width, height, width, height], np.float32
        )
        found = self.detector.detect(picture, boxes, _given_hands(row))
        if self.persons and found.num_persons and found.num_persons != self.persons:
            return refusal("persons_in_picture", f"{found.num_persons} people found, {self.persons} wanted")
        if row["stated_size_hw"] not in (None, [height, width]):
            found = _with_check(found, "other_size_stated")
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

    def _crop(self, picture: UInt8[np.ndarray, "h w 3"], crop: Crop, found: Detection) -> dict[str, Any]:
        inside = {side: crop.points(found.hands[side].points) for side in crop.sides}
        return {
            "hands": crop.hands,
            "crop_box_xywh": [float(value) for value in crop.box_xywh],
            "image": encode_jpeg(cut(picture, crop), quality=self.crops.jpeg_quality),
            **{f"keypoints_{side}": _flat(inside.get(side, missing_points())) for side in SIDES},
        }


def _given_hands(row: Row) -> GivenHands:
    return {
        side: np.asarray(row[f"given_{side}"], np.float32).reshape(-1, 3)
        for side in SIDES
        if row[f"given_{side}"] is not None
    }


def _with_check(found: Detection, check: str) -> Detection:
    """The detection with one more failed check for every hand."""
    hands = {side: replace(hand, checks=(*hand.checks, check)) for side, hand in found.hands.items()}
    return replace(found, hands=hands)


def _keypoint_columns(found: Detection, scale: float) -> dict[str, Any]:
    columns: dict[str, Any] = {"body": _flat(moved(found.body, scale=scale)), "hand_boxes_xywh": []}
    for side in SIDES:
        hand = found.hands.get(side)
        points = missing_points() if hand is None else moved(hand.points, scale=scale)
        columns[f"hand_{side}"] = _flat(points)
        columns[f"hand_{side}_found"] = hand is not None
        columns[f"hand_{side}_by"] = hand.found_by if hand else None
        columns[f"hand_{side}_checks"] = list(hand.checks) if hand else []
        if hand is not None:
            columns["hand_boxes_xywh"].append(list(extent_xywh(points)))
    return columns


def _flat(points: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n3"]:
    return points.ravel()
