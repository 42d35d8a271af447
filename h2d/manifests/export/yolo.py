"""YOLO pose: a text file a picture, a line a hand: class, box, 21 points; everything as fractions of the picture."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from jaxtyping import Float32
from PIL import Image

from h2d.manifests.export.base import Row, extension, file_stem
from h2d.manifests.files import write_text
from h2d.manifests.store import Manifest, points_of
from h2d.pose.layouts import NUM_HAND_POINTS, SIDES
from h2d.pose.points import extent_xywh

_VISIBLE = 2
_COLUMNS = {"images": "hand_{}", "hands": "keypoints_{}"}


class YoloExport:
    """`images/<split>/`, `labels/<split>/` and `data.yaml`; class 0 is a person's left hand, 1 the right one."""

    tables: ClassVar[tuple[str, ...]] = ("images", "hands")

    def __init__(self, manifest: Manifest, folder: Path, table: str) -> None:
        del manifest  # its rows say all
        self._folder, self._table = folder, table
        self._splits: list[str] = []

    def write(self, split: str, rows: Iterator[Row]) -> None:
        """Write the split's pictures and labels."""
        self._splits.append(split)
        pictures, labels = (self._folder / kind / split for kind in ("images", "labels"))
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number, row in enumerate(rows):
            data, stem = row["image"]["bytes"], file_stem(number, row)
            (pictures / f"{stem}.{extension(data)}").write_bytes(data)
            (labels / f"{stem}.txt").write_text("".join(_lines(row, _COLUMNS[self._table], _size_wh(data))))

    def close(self) -> None:
        """Write `data.yaml`."""
        about: dict[str, Any] = {split: f"images/{split}" for split in self._splits}
        about |= {"names": dict(enumerate(SIDES)), "kpt_shape": [NUM_HAND_POINTS, 3]}
        # A mirrored hand keeps its order of points, but becomes the other hand: mirror neither.
        text = "# Train with fliplr=0: a mirrored left hand is a right one.\n"
        write_text(self._folder / "data.yaml", text + yaml.safe_dump(about, sort_keys=False))


def _size_wh(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.width, picture.height


def _lines(row: Row, column: str, size_wh: tuple[int, int]) -> Iterator[str]:
    for number, side in enumerate(SIDES):
        points = points_of(row[column.format(side)])
        if (points[:, 2] > 0).any():
            yield f"{number} {_numbers(points, np.array(size_wh, np.float32))}\n"


def _numbers(points: Float32[np.ndarray, "21 3"], size_wh: Float32[np.ndarray, "2"]) -> str:
    """The box's middle and size, then x, y, visibility of each point; a point outside the picture is not labelled."""
    fractions = points[:, :2] / size_wh
    shown = (points[:, 2] > 0) & (fractions >= 0).all(axis=1) & (fractions <= 1).all(axis=1)
    left, top, width, height = extent_xywh(points)
    low, high = np.clip(np.array([[left, top], [left + width, top + height]]) / size_wh, 0, 1)
    values = [*((low + high) / 2), *(high - low)]
    for (x, y), labelled in zip(fractions, shown, strict=True):
        values += [x, y, _VISIBLE] if labelled else [0, 0, 0]
    return " ".join(f"{float(value):.6g}" for value in values)
