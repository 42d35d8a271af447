"""Our own layout: a finished manifest whose points, masks and captions are those of the drawing.

No annotator looks at it, so it is the fastest way to a training set, and the only one without an annotator's errors.
Axis legend: n points, h w picture size, s crop size.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32

from h2d.annotate.base import FoundHand
from h2d.annotate.crops import Crop, CropConfig, cut, plan_crops
from h2d.annotate.masks.given import cut_mask
from h2d.config import as_plain, config
from h2d.images import encode_jpeg
from h2d.manifests.derive import TableWriter, finish
from h2d.manifests.masks import DEFAULT_DILATION
from h2d.manifests.rle import encode_rle
from h2d.manifests.schema import TABLES
from h2d.manifests.store import MANIFEST_FILE
from h2d.pose.layouts import HANDS, SIDES, Side
from h2d.pose.points import extent_xywh, missing_points, present
from h2d.synth.backgrounds import BackgroundKind
from h2d.synth.layouts.base import Note, Studio, Wish, hex_name, scene_seed, write_file
from h2d.synth.layouts.hagrid import CLASSES_V2_1M
from h2d.synth.scene import Drawing, PersonLabels, Scene

SOURCE: Final = "synth"
_DRAWN: Final = "drawn"
_SPLITS: Final = ("train", "val", "test", *["train"] * 7)
_LEAST_POINTS: Final = 16
_LEAST_PIXELS: Final = 64
"""A hand of which less is seen counts as not found. Our choice."""
_ROWS_AT_ONCE: Final = 256


@config
class ManifestLayout:
    """Draws HaGRID's classes in turn; `calm` stands everybody before a plain or a graded wall, `near` closer, too."""

    name: ClassVar[str] = "manifest"
    flavours: ClassVar[tuple[str, ...]] = ("all", "calm", "near")
    owns: ClassVar[tuple[str, ...]] = (
        *(_DRAWN, *TABLES), MANIFEST_FILE, "unmatched.parquet", "README.md", "report.html",
    )  # fmt: skip

    seed: int
    count: int
    size_px: int = 512
    """Pictures are square."""
    flavour: str = "all"

    def draw(self, index: int, out: Path, studio: Studio, wish: Wish) -> Note:
        """Draw one picture and its crops, and note their rows."""
        del wish  # nothing is planted: a manifest has no defects that a reader would have to know
        split = _SPLITS[index % len(_SPLITS)]
        scene = studio.sample(
            scene_seed(self.seed, index),
            frame="selfie",
            size_hw=(self.size_px, self.size_px),
            gesture=CLASSES_V2_1M[index % len(CLASSES_V2_1M)],
            background=self._background(index),
            near=self.flavour == "near",
        )
        drawing = studio.render(scene)
        name = self.name_of(index)
        path = f"{_DRAWN}/{index // 1000:05d}/{name}.jpg"
        encoded = encode_jpeg(drawing.picture)
        write_file(out / path, encoded)
        person = drawing.people[0]
        hands = _found_hands(person)
        crops = []
        for crop in plan_crops(hands, (self.size_px, self.size_px), CropConfig()):
            write_file(out / _crop_path(path, crop.hands), encode_jpeg(cut(drawing.picture, crop)))
            crops.append(_crop_note(crop, hands, _crop_mask(crop, drawing)))
        return {
            "name": f"{SOURCE}/{scene.gesture}/{name}",
            "path": path,
            "split": split,
            "sha256": hashlib.sha256(encoded).hexdigest(),
            "subject": name[:16],
            "row": _picture_note(scene, person, hands, self.size_px),
            "crops": crops,
        }

    def write_labels(self, notes: Sequence[Mapping[str, Any]], out: Path) -> None:
        """The manifest's tables, then away with the single pictures."""
        if not (out / MANIFEST_FILE).exists():
            facts = {
                "source": SOURCE,
                "stages": {"draw": as_plain(self)},
                "dilation_px_when_read": DEFAULT_DILATION,
            }
            writers = {table: TableWriter(root=out, table=table, facts=facts) for table in TABLES}
            for first in range(0, len(notes), _ROWS_AT_ONCE):
                for split in dict.fromkeys(_SPLITS):
                    chosen = [note for note in notes[first : first + _ROWS_AT_ONCE] if note["split"] == split]
                    for table, make in (("images", _image_rows), ("hands", _hand_rows)):
                        rows = [row for note in chosen for row in make(note, out)]
                        if rows:
                            schema = TABLES[table].remove_metadata()
                            writers[table].add(split, pa.Table.from_pylist(rows, schema=schema))
            finish(out, writers.values(), facts, pa.table({name: pa.array([], pa.string()) for name in _FINDINGS}))
        shutil.rmtree(out / _DRAWN, ignore_errors=True)

    def name_of(self, index: int) -> str:
        """The last part of a picture's id."""
        return hex_name(self.seed, index, 1)

    def _background(self, index: int) -> BackgroundKind | None:
        if self.flavour == "all":
            return None
        return "gradient" if index % 3 == 0 else "plain"


_FINDINGS: Final = ("kind", "split", "name")


def _found_hands(person: PersonLabels) -> dict[Side, FoundHand]:
    hands: dict[Side, FoundHand] = {}
    for side in SIDES:
        points = person.points[HANDS[side]]
        mask = person.hand_masks.get(side)
        if mask is not None and present(points).sum() >= _LEAST_POINTS and mask.sum() >= _LEAST_PIXELS:
            hands[side] = FoundHand(points=points, found_by="drawing")
    return hands


def _crop_mask(crop: Crop, drawing: Drawing) -> Bool[np.ndarray, "s s"]:
    masks = [drawing.people[0].hand_masks[side] for side in crop.sides]
    box = tuple(float(side) for side in crop.box_xywh)
    assert len(box) == 4
    return cut_mask(np.asarray(np.logical_or.reduce(masks)), box, (crop.size, crop.size))


def _picture_note(scene: Scene, person: PersonLabels, hands: Mapping[Side, FoundHand], size_px: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "source_width": size_px,
        "source_height": size_px,
        "width": size_px,
        "height": size_px,
        "image_scale": 1.0,
        "gesture": scene.gesture,
        "persons": len(scene.people),
        "body": _listed(person.points),
        "keypoint_source": "drawing",
        "segmenter": "drawing",
        "caption": scene.caption,
        "captioner": "drawing",
        "hand_boxes_xywh": [[float(side) for side in extent_xywh(hand.points)] for hand in hands.values()],
    }
    for side in SIDES:
        found = side in hands
        row[f"hand_{side}"] = _listed(hands[side].points if found else missing_points())
        row[f"hand_{side}_found"] = found
        row[f"hand_{side}_checks"] = [] if found else None
        row[f"hand_{side}_by"] = "drawing" if found else None
        row[f"mask_{side}"] = encode_rle(person.hand_masks[side]) if found else None
        row[f"mask_{side}_px"] = int(person.hand_masks[side].sum()) if found else None
        row[f"mask_{side}_quality"] = 1.0 if found else None
    return row


def _crop_note(crop: Crop, hands: Mapping[Side, FoundHand], mask: Bool[np.ndarray, "s s"]) -> dict[str, Any]:
    points = {
        f"keypoints_{side}": _listed(crop.points(hands[side].points) if side in crop.sides else missing_points())
        for side in SIDES
    }
    box = [float(side) for side in crop.box_xywh]
    return {**points, "hands": crop.hands, "crop_box_xywh": box, "mask": encode_rle(mask), "mask_px": int(mask.sum())}


def _image_rows(note: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    picture = {"bytes": (out / note["path"]).read_bytes(), "path": f"{note['name'].replace('/', '_')}.jpg"}
    row = note["row"]
    points = {name: _unlisted(row[name]) for name in ("body", "hand_left", "hand_right")}
    return [
        {
            **row, **points, **_names(note), "id": note["name"], "image": picture,
            "source_path": note["path"], "source_sha256": note["sha256"],
        }
    ]  # fmt: skip


def _hand_rows(note: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    rows = []
    for crop in note["crops"]:
        name = f"{note['name']}/{crop['hands']}"
        data = (out / _crop_path(note["path"], crop["hands"])).read_bytes()
        points = {key: _unlisted(crop[key]) for key in ("keypoints_left", "keypoints_right")}
        picture = {"bytes": data, "path": f"{name.replace('/', '_')}.jpg"}
        told = {"gesture": note["row"]["gesture"], "caption": note["row"]["caption"]}
        rows.append({**crop, **points, **_names(note), **told, "id": name, "image_id": note["name"], "image": picture})
    return rows


def _names(note: Mapping[str, Any]) -> dict[str, str]:
    return {"source": SOURCE, "split": note["split"], "subject": note["subject"]}


def _crop_path(path: str, hands: str) -> str:
    return path.replace(".jpg", f"_{hands}.jpg")


def _listed(points: Float32[np.ndarray, "n 3"]) -> list[float | None]:
    """Flat, with None where a point is missing: JSON has no NaN."""
    return [None if np.isnan(number) else float(number) for number in points.flatten()]


def _unlisted(numbers: Sequence[float | None]) -> list[float]:
    return [float("nan") if number is None else number for number in numbers]
