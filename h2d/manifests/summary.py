"""What a manifest holds, counted file by file: in memory that does not grow with its rows.

Axis legend: n pictures of a file, f found hands of a side.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from h2d.manifests.spread import Least, Spread
from h2d.manifests.store import Manifest, points_array
from h2d.pose.layouts import SIDES, Side

NO_GESTURE: Final = "(none)"
TOOLS: Final = ("keypoint_source", "segmenter", "captioner")
"""Columns that say by what a picture was worked on."""
SIZES: Final = ("source_width", "source_height", "width", "height")
HAND_MEASURES: Final = (
    "size_px", "source_size_px", "confidence", "mask_px", "quality", "accepted_quality", "coverage",
)  # fmt: skip
"""`size_px` is the long side of its points in the stored picture, `source_size_px` in the original; `accepted_quality`
is of masks that were kept, `coverage` their share of the picture."""

MOST_WORST: Final = 8
MOST_NAMES: Final = 8

_PICTURES: Final = ("split", "gesture", "subject", "image_scale", *SIZES, *TOOLS)
_HANDS: Final = tuple(f"hand_{side}{what}" for side in SIDES for what in ("", "_found", "_by", "_checks"))
_MASKS: Final = tuple(f"mask_{side}{what}" for side in SIDES for what in ("_px", "_quality", "_problem"))


PictureKey: TypeAlias = tuple[str, str, int]
"""Gesture, split, found hands."""
HandKey: TypeAlias = tuple[str, Side, str, bool, bool]
"""Gesture, side, what found it, whether it has a mask, whether it passes every check."""


@dataclass(kw_only=True, slots=True)
class Rejects:
    """The pictures that were left out, by stage, status and reason."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    names: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    """The first few."""
    messages: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The first that says something."""
    first: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    """By stage and reason, the first few rows that say where the picture lies."""


@dataclass(kw_only=True, slots=True)
class Summary:
    """The manifest's rows without pixels, points and masks, counted."""

    pictures: Counter[PictureKey] = field(default_factory=Counter)
    hands: Counter[HandKey] = field(default_factory=Counter)
    checks: Counter[tuple[str, Side]] = field(default_factory=Counter)
    """Failed ones."""
    problems: Counter[tuple[str, Side]] = field(default_factory=Counter)
    """Why there is no mask."""
    crops: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By hands and split."""
    rejects: Rejects = field(default_factory=Rejects)
    subjects: set[str] = field(default_factory=set)
    tools: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in TOOLS})
    sizes: dict[str, Spread] = field(default_factory=lambda: {name: Spread() for name in (*SIZES, "crop")})
    """Pixels; of crops in the original."""
    measures: dict[tuple[str, Side], Spread] = field(
        default_factory=lambda: {(name, side): Spread() for name in HAND_MEASURES for side in SIDES}
    )
    """Of the found hands of a side."""
    worst: dict[str, Least] = field(
        default_factory=lambda: {name: Least(MOST_WORST) for name in ("quality", "checks", "source_size_px")}
    )
    """Of hands, numbered by twice their picture and their side: with the least mask quality, the most failed checks,
    and the smallest."""

    @property
    def num_pictures(self) -> int:
        """Accepted ones."""
        return self.pictures.total()

    @property
    def num_hands(self) -> int:
        """Found ones."""
        return self.hands.total()

    def measure(self, name: str) -> Sequence[Spread]:
        """Of both sides."""
        return [self.measures[name, side] for side in SIDES]


def summarise(manifest: Manifest) -> Summary:
    """Read the light columns of every row, one file in memory at a time."""
    summary = Summary()
    before = 0
    for _, rows in manifest.files("images", [*_PICTURES, *_HANDS, *_MASKS]):
        _add_pictures(summary, rows, before)
        before += len(rows)
    for _, rows in manifest.files("hands", ["split", "hands", "crop_box_xywh"]):
        summary.crops.update(zip(rows["hands"].to_pylist(), rows["split"].to_pylist(), strict=True))
        boxes = rows["crop_box_xywh"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        summary.sizes["crop"].add(boxes.reshape(-1, 4)[:, 2])
    for _, rows in manifest.files("rejects", ["id", "source_path", "stage", "status", "reason", "message"]):
        _add_rejects(summary.rejects, rows.to_pylist())
    return summary


def _add_pictures(summary: Summary, rows: pa.Table, before: int) -> None:
    gestures = rows["gesture"].fill_null(NO_GESTURE).to_pylist()
    found = [rows[f"hand_{side}_found"].to_numpy() for side in SIDES]
    num_hands = np.sum(found, axis=0).tolist()
    summary.pictures.update(zip(gestures, rows["split"].to_pylist(), num_hands, strict=True))
    summary.subjects.update(rows["subject"].drop_null().unique().to_pylist())
    for name in TOOLS:
        summary.tools[name].update(rows[name].drop_null().unique().to_pylist())
    for name in SIZES:
        summary.sizes[name].add(rows[name].to_numpy())
    for number, side in enumerate(SIDES):
        _add_hands(summary, rows, gestures, side, np.flatnonzero(found[number]), 2 * before + number)


def _add_hands(
    summary: Summary, rows: pa.Table, gestures: Sequence[str], side: Side, there: Int64[np.ndarray, " f"], first: int
) -> None:
    """The found hands of a side; `first` is the number of the file's first hand of it."""

    def cells(name: str) -> list[Any]:
        values: list[Any] = rows[name].take(there).to_pylist()
        return values

    measures = _measures(rows, side, there)
    for name, values in measures.items():
        summary.measures[name, side].add(values)
    failed = [names or () for names in cells(f"hand_{side}_checks")]
    num_failed = np.array([len(names) for names in failed], np.int64)
    has_mask = np.isfinite(measures["mask_px"]).tolist()
    by = [name or NO_GESTURE for name in cells(f"hand_{side}_by")]
    mine = [gestures[row] for row in there.tolist()]
    sides = [side] * len(mine)
    summary.hands.update(zip(mine, sides, by, has_mask, (num_failed == 0).tolist(), strict=True))
    summary.checks.update((name, side) for names in failed for name in names)
    summary.problems.update((problem, side) for problem in cells(f"mask_{side}_problem") if problem is not None)
    numbers = 2 * there + first
    summary.worst["quality"].add(measures["quality"], numbers)
    summary.worst["checks"].add(np.where(num_failed > 0, -num_failed, np.nan), numbers)
    summary.worst["source_size_px"].add(measures["source_size_px"], numbers)


def _measures(rows: pa.Table, side: Side, there: Int64[np.ndarray, " f"]) -> dict[str, Float64[np.ndarray, " f"]]:
    def numbers(name: str) -> Float64[np.ndarray, " f"]:
        values: Float64[np.ndarray, " n"] = np.asarray(rows[name].to_pandas(), np.float64)
        chosen: Float64[np.ndarray, " f"] = values[there]
        return chosen

    points = points_array(rows[f"hand_{side}"])[there].astype(np.float64)
    points[points[..., 2] <= 0] = np.nan
    size = (np.nanmax(points[..., :2], axis=1) - np.nanmin(points[..., :2], axis=1)).max(axis=1)
    mask_px, quality = numbers(f"mask_{side}_px"), numbers(f"mask_{side}_quality")
    return {
        "size_px": size,
        "source_size_px": size / numbers("image_scale"),
        "confidence": np.nanmean(points[..., 2], axis=1),
        "mask_px": mask_px,
        "quality": quality,
        "accepted_quality": np.where(np.isfinite(mask_px), quality, np.nan),
        "coverage": mask_px / (numbers("width") * numbers("height")),
    }


def _add_rejects(rejects: Rejects, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        kind = row["stage"], row["status"], row["reason"]
        rejects.counts[kind] += 1
        names = rejects.names.setdefault(kind, [])
        if len(names) < MOST_NAMES:
            names.append(row["id"])
        if row["message"] is not None:
            rejects.messages.setdefault(kind, row["message"])
        first = rejects.first.setdefault((row["stage"], row["reason"]), [])
        if len(first) < MOST_NAMES and row["source_path"] is not None:
            first.append(row)
