"""How good the annotators are where the truth is known: keypoints, sides and masks against a drawn manifest.

A hand is found when its joints lie on average less than half a hand's size from the truth; it has its own side when the
hand that is reported there is of that side, so of two hands that touch both may count. A hand's size is the longer
side of the true joints' box. Axis legend: h w picture size, n pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate import keypoints
from h2d.annotate.base import Detection, FoundHand, HandView, KeypointDetector, Segmenter
from h2d.annotate.crops import CropConfig, cut, plan_crops
from h2d.annotate.in_child import InChild, InThisProcess, Lost
from h2d.annotate.masks import SEGMENTERS
from h2d.config import validate_config
from h2d.errors import UserError
from h2d.eval.placing import Shard, Watch, do_all, shards_of
from h2d.hashes import short_hash
from h2d.images import decode_rgb
from h2d.manifests.files import write_parquet
from h2d.manifests.rle import decode_rle
from h2d.manifests.store import Manifest, Place, points_of
from h2d.models import weights
from h2d.pose.layouts import HANDS, SIDES, Side
from h2d.pose.points import extent_xywh, present
from h2d.registry import resolve

SHARD: Final = 16
FOUND_WITHIN: Final = 0.5
"""Of a hand's size."""
_COLUMNS: Final = (
    "id", "image", "gesture", "width", "height", "body", "hand_left_found", "hand_right_found", "mask_left",
    "mask_right", "keypoint_source", "segmenter",
)  # fmt: skip

ROWS: Final = pa.schema(
    [
        pa.field("number", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("gesture", pa.string()),
        pa.field("side", pa.string(), nullable=False),
        pa.field("hand_share", pa.float64(), nullable=False),
        pa.field("body_found", pa.bool_(), nullable=False),
        pa.field("found", pa.bool_(), nullable=False),
        pa.field("own_side", pa.bool_()),
        pa.field("error", pa.float64()),
        pa.field("iou", pa.float64()),
        pa.field("mask_problem", pa.string()),
        pa.field("detector_problem", pa.string()),
    ]
)
"""One row a true hand. `error` is in hand sizes; `own_side` and `error` are null where the hand was not found, `iou`
where there is no true mask; `detector_problem` says how the detector died of the picture, whose hands it then missed.
"""


@dataclass(frozen=True, kw_only=True)
class Annotators:
    """What is judged."""

    detector: KeypointDetector
    segmenter: Segmenter | None
    names: Mapping[str, str]
    """Of the two in their tables: `detector`, `segmenter`."""

    @property
    def fingerprint(self) -> str:
        """Changes when anything that shapes the answers does."""
        segmenter = None if self.segmenter is None else self.segmenter.identity()
        return short_hash([self.detector.identity(), segmenter, ROWS.names])


def choose_annotators(detector: str, segmenter: str) -> Annotators:
    """By the names of their tables; segmenter `none`: keypoints alone. Raises `UserError` where weights are missing."""
    options: dict[str, Any] = {}
    if segmenter == "sam":
        known = weights.weights_named("sam-vit-h").files[0].sha256
        options = {"checkpoint": weights.locate("sam-vit-h"), "checkpoint_sha256": known}
    return Annotators(
        detector=resolve(keypoints.DETECTORS, detector, kind="detector")(),
        segmenter=None
        if segmenter == "none"
        else validate_config(resolve(SEGMENTERS, segmenter, kind="segmenter"), options, where=f"segmenter {segmenter}"),
        names={"detector": detector, "segmenter": segmenter},
    )


def judge(
    manifest: Manifest,
    out: Path,
    annotators: Annotators,
    watch: Watch,
    *,
    split: str | None = None,
    count: int | None = None,
    workers: int = 1,
    address: str | None = None,
) -> pa.Table | None:
    """One row of `ROWS` for each true hand of the first `count` pictures; None when stopped.

    The detector is shown boxes around the true masks, as `prepare` shows it a dataset's. What is done is kept in `out`.
    Raises `UserError` where the manifest's truth is by the detector that is judged, or there are no pictures.
    """
    places = _places(manifest, split, count, annotators)
    work = Judging(places=places, annotators=annotators, out=out / "parts" / annotators.fingerprint)
    shards = shards_of(range(len(places)), SHARD)
    waiting = [shard for shard in shards if not _is_done(work.part(shard), shard, places)]
    done = len(places) - sum(map(len, waiting))
    name = " and ".join(annotators.names.values())
    if not do_all(name, work, waiting, num_done=done, watch=watch, workers=workers, address=address):
        return None
    return pa.concat_tables([pq.read_table(work.part(shard)) for shard in shards])


@dataclass(kw_only=True)
class Judging:
    """The work of judging: a part file a shard."""

    places: Sequence[Place]
    annotators: Annotators
    out: Path
    needs_gpu: bool = False

    def __post_init__(self) -> None:
        detector, name = self.annotators.detector, self.annotators.names["detector"]
        self._detector: InChild | InThisProcess = (
            InChild(detector, "detect", name=name) if name in keypoints.NATIVE else InThisProcess(detector, "detect")
        )

    def part(self, shard: Shard) -> Path:
        """Where a shard's rows lie."""
        return self.out / f"part-{shard[0]:05d}.parquet"

    def title(self, shard: Shard) -> str:
        """For messages."""
        return f"pictures {shard[0]} to {shard[-1]}"

    def setup(self) -> None:
        """Open both."""
        import torch

        torch.set_num_threads(1)
        self._detector.setup()
        if self.annotators.segmenter is not None:
            self.annotators.segmenter.setup()

    def run(self, shard: Shard) -> None:
        """Judge the pictures and commit their rows."""
        rows = []
        for number, values in zip(shard, _read([self.places[number] for number in shard]), strict=True):
            rows += [{"number": number, **row} for row in self._rows(values)]
        table = pa.Table.from_pylist(rows, schema=ROWS.with_metadata({"places": _named(shard, self.places)}))
        write_parquet(self.part(shard), table)

    def close(self) -> None:
        """Close both."""
        self._detector.close()
        if self.annotators.segmenter is not None:
            self.annotators.segmenter.close()

    def _rows(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        picture = decode_rgb(values["image"]["bytes"])
        body = points_of(values["body"])
        masks = {side: decode_rle(values[f"mask_{side}"]) for side in SIDES if values[f"mask_{side}"] is not None}
        boxes = np.array([mask_box(mask) for mask in masks.values() if mask.any()], np.float32).reshape(-1, 4)
        problem = None
        try:
            answer = self._detector.ask(f"picture {values['id']}", picture, boxes)
        except Lost as why:
            answer, problem = Detection(num_persons=0), str(why)
        rows = []
        for side in SIDES:
            true = body[HANDS[side]]
            if not (values[f"hand_{side}_found"] and present(true).any()):
                continue
            row: dict[str, Any] = {
                "id": values["id"],
                "gesture": values["gesture"],
                "side": side,
                "hand_share": max(extent_xywh(true)[2:]) / min(picture.shape[:2]),
                "body_found": answer.num_persons > 0,
                "detector_problem": problem,
                **judged_hand(answer.hands, side, true),
            }
            if self.annotators.segmenter is not None and side in masks:
                row |= mask_agreement(self.annotators.segmenter, picture, true, side, masks[side])
            rows.append(row)
        return rows


def judged_hand(found: Mapping[Side, FoundHand], side: Side, true: Float32[np.ndarray, "21 3"]) -> dict[str, Any]:
    """Whether the true hand was found, as its own side, and how far off its joints are in hand sizes."""
    match = matching_side(found, side, true)
    if match is None:
        return {"found": False, "own_side": None, "error": None}
    both = present(true) & present(found[match].points)
    distances = np.hypot(*(found[match].points - true)[both, :2].T)
    return {"found": True, "own_side": match == side, "error": float(distances.mean()) / hand_size(true)}


def matching_side(found: Mapping[Side, FoundHand], side: Side, true: Float32[np.ndarray, "21 3"]) -> Side | None:
    """Which found hand lies where the true one does: the one of its own side if that does, else the other."""
    for name in (side, *(other for other in SIDES if other != side)):
        if name in found:
            both = present(true) & present(found[name].points)
            apart = np.hypot(*(found[name].points - true)[both, :2].T)
            if len(apart) and apart.mean() < FOUND_WITHIN * hand_size(true):
                return name
    return None


def hand_size(true: Float32[np.ndarray, "21 3"]) -> float:
    """The longer side of the true joints' box, pixels."""
    return max(1e-6, *extent_xywh(true)[2:])


def mask_agreement(
    segmenter: Segmenter,
    picture: UInt8[np.ndarray, "h w 3"],
    true: Float32[np.ndarray, "21 3"],
    side: Side,
    mask: Bool[np.ndarray, "h w"],
) -> dict[str, Any]:
    """IoU in the hand's crop of the true mask and the one drawn from the true joints; 0 where none is drawn."""
    hand = FoundHand(points=true, found_by="truth")
    for crop in plan_crops({side: hand}, (picture.shape[0], picture.shape[1]), CropConfig()):
        view = HandView(picture=cut(picture, crop), hands={side: crop.points(true)})
        answer = segmenter.segment([view])[0][side]
        white = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
        expected = cut(white, crop)[..., 0] >= 128
        if answer.mask is None:
            return {"iou": 0.0, "mask_problem": answer.problem}
        return {"iou": iou(answer.mask, expected), "mask_problem": None}
    return {"iou": None, "mask_problem": "no crop"}


def iou(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union; 1 of two empty masks."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 1.0


def mask_box(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """The tight box of a mask that is not empty: left, top, width, height."""
    rows, columns = np.nonzero(mask)
    left, top = columns.min(), rows.min()
    return float(left), float(top), float(columns.max() + 1 - left), float(rows.max() + 1 - top)


def _places(manifest: Manifest, split: str | None, count: int | None, annotators: Annotators) -> list[Place]:
    places: list[Place] = []
    for place, table in manifest.row_groups("images", ["id", "keypoint_source"], split):
        for number, source in enumerate(table["keypoint_source"].to_pylist()):
            if source == annotators.names["detector"]:
                raise UserError(
                    f"{manifest.root}: its keypoints are by {source}, which is what is to be judged: give a manifest"
                    " whose truth is known: h2d synth manifest"
                )
            if count is None or len(places) < count:
                places.append(Place(path=place.path, group=place.group, row=number))
    if not places:
        has = ", ".join(manifest.splits("images")) or "none"
        raise UserError(f"{manifest.root}: no pictures in split {split!r}: it has {has}")
    return places


def _read(places: Sequence[Place]) -> list[dict[str, Any]]:
    """The rows; each row group is read once."""
    from h2d.manifests.store import open_part, read_group

    rows: list[dict[str, Any]] = []
    opened: tuple[Any, int, pa.Table] | None = None
    for place in places:
        if opened is None or opened[:2] != (place.path, place.group):
            with open_part(place.path) as file:
                opened = (place.path, place.group, read_group(file, place.path, place.group, list(_COLUMNS)))
        rows.append(opened[2].slice(place.row, 1).to_pylist()[0])
    return rows


def _named(shard: Shard, places: Sequence[Place]) -> str:
    return " ".join(f"{places[number].path}:{places[number].group}:{places[number].row}" for number in shard)


def _is_done(part: Path, shard: Shard, places: Sequence[Place]) -> bool:
    if not part.exists():
        return False
    try:
        metadata = pq.read_schema(part).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return False
    return bool(metadata.get(b"places", b"").decode() == _named(shard, places))
