"""COCO-WholeBody: a JSON file a split beside its pictures, and the way back.

One annotation a picture. The format has flags where we have confidences and no place for hand masks: both are kept
under keys of our own (`h2d_*`, which other readers pass over), so that reading back gives the very numbers.
Axis legend: p points.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Float32

from h2d.errors import UserError
from h2d.manifests.export.base import Row, extension, file_stem
from h2d.manifests.files import write_json
from h2d.manifests.store import Manifest, points_of
from h2d.pose.layouts import BODY, FACE, FEET, HANDS, NUM_POINTS, SIDES, Side
from h2d.pose.points import extent_xywh

_PARTS: Final = {
    "keypoints": BODY,
    "foot_kpts": FEET,
    "face_kpts": FACE,
    "lefthand_kpts": HANDS["left"],
    "righthand_kpts": HANDS["right"],
}
_VISIBLE: Final = 2
_CATEGORY: Final = {"id": 1, "name": "person", "supercategory": "person"}


class CocoExport:
    """`annotations/<split>.json` and `images/<split>/`."""

    tables: ClassVar[tuple[str, ...]] = ("images",)

    def __init__(self, manifest: Manifest, folder: Path, table: str) -> None:
        del table  # there is one
        self._manifest, self._folder = manifest, folder

    def write(self, split: str, rows: Iterator[Row]) -> None:
        """Write the split's pictures and its JSON."""
        pictures = self._folder / "images" / split
        pictures.mkdir(parents=True)
        document: dict[str, Any] = {"images": [], "annotations": []}
        for number, row in enumerate(rows, start=1):  # id 0 is "unmatched" to pycocotools
            data = row["image"]["bytes"]
            name = f"{file_stem(number, row)}.{extension(data)}"
            (pictures / name).write_bytes(data)
            document["images"].append(
                {"id": number, "file_name": name, "width": row["width"], "height": row["height"], "h2d_id": row["id"]}
            )
            document["annotations"].append(_annotation(number, row))
        info = {"description": f"{self._manifest.name}, split {split}", "version": "1.0"}
        write_json(
            self._folder / "annotations" / f"{split}.json",
            {"info": info, "licenses": [], "categories": [_CATEGORY], **document},
        )

    def close(self) -> None:
        """Nothing describes the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoPerson:
    """What a picture's annotation says, in pixels of the picture."""

    id: str
    """The manifest's; the file's name where the file is not ours."""
    file_name: str
    points: Float32[np.ndarray, "133 3"]
    """x, y, confidence; missing ones NaN, NaN, 0. Of a file that is not ours, labelled points have confidence 1."""
    masks: dict[Side, dict[str, Any]]
    """COCO RLE of the hands that have one."""


def read_coco(file: Path) -> list[CocoPerson]:
    """Read a COCO-WholeBody file, ours or another's; raises `UserError` when it is none."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        pictures = {picture["id"]: picture for picture in document["images"]}
        return [_person(pictures[one["image_id"]], one) for one in document["annotations"]]
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}): give a COCO-WholeBody JSON file") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not a COCO-WholeBody file ({type(error).__name__}: {error})") from None


def _annotation(number: int, row: Row) -> dict[str, Any]:
    points = points_of(row["body"])
    box = [float(value) for value in extent_xywh(points)]
    annotation: dict[str, Any] = {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": box,
        "area": box[2] * box[3],
        "num_keypoints": int((points[BODY, 2] > 0).sum()),
        "h2d_confidence": [float(value) for value in points[:, 2]],
        "caption": row["caption"],
    }
    for name, part in _PARTS.items():
        annotation[name] = _flagged(points[part])
    for name, part in (("face", FACE), ("foot", FEET)):
        annotation[f"{name}_valid"] = bool((points[part, 2] > 0).any())
    annotation["face_box"] = _box(points[FACE])
    for side in SIDES:
        annotation[f"{side}hand_valid"] = row[f"hand_{side}_found"]
        annotation[f"{side}hand_box"] = _box(points[HANDS[side]])
        annotation[f"h2d_mask_{side}"] = row[f"mask_{side}"]
    return annotation


def _flagged(points: Float32[np.ndarray, "p 3"]) -> list[float]:
    """x, y and 2, or three zeros."""
    there = points[:, 2] > 0
    values = np.where(there[:, None], points, 0)
    return [number for x, y, _ in values.tolist() for number in (x, y, _VISIBLE if (x, y) != (0, 0) else 0)]


def _box(points: Float32[np.ndarray, "p 3"]) -> list[float]:
    return [float(value) for value in extent_xywh(points)] if (points[:, 2] > 0).any() else [0.0] * 4


def _person(picture: dict[str, Any], annotation: dict[str, Any]) -> CocoPerson:
    points = np.zeros((NUM_POINTS, 3), np.float32)
    for name, part in _PARTS.items():
        points[part] = np.asarray(annotation[name], np.float64).reshape(-1, 3)
    confidence = annotation.get("h2d_confidence")
    points[:, 2] = points[:, 2] > 0 if confidence is None else confidence
    points[points[:, 2] == 0, :2] = np.nan
    masks: dict[Side, dict[str, Any]] = {
        side: annotation[f"h2d_mask_{side}"] for side in SIDES if annotation.get(f"h2d_mask_{side}")
    }
    return CocoPerson(
        id=picture.get("h2d_id", picture["file_name"]), file_name=picture["file_name"], points=points, masks=masks
    )
