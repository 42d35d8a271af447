"""A manifest in figures: pandas tables over pictures, hands and rejects. Reads no picture.

`load_frames` streams the tables into two tidy frames, one row per picture and one per found hand; everything else,
the report included, is counted from these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int64

from h2d.manifests.schema import IMAGES
from h2d.manifests.store import Manifest, points_array
from h2d.pose.layouts import SIDES

Columns: TypeAlias = dict[str, np.ndarray]

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

_PICTURES: Final = (
    "id", "split", "gesture", "subject", "persons", "width", "height", "source_width", "source_height",
    "image_scale", "hand_left_found", "hand_right_found", "keypoint_source", "segmenter", "captioner",
)  # fmt: skip
_HAND_COLUMNS: Final[Mapping[str, str]] = {
    "picture": "int64", "side": "object", "by": "object", "checks": "object", "num_failed": "int64",
    "size_px": "float64", "confidence": "float64", "mask_px": "float64", "coverage": "float64",
    "quality": "float64", "problem": "object",
}  # fmt: skip
_HANDS: Final = ("by", "checks")
_MASKS: Final = ("px", "quality", "problem")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The manifest's rows without pixels, points and masks."""

    pictures: pd.DataFrame
    """One row per accepted picture; `part`, `group` and `row` say where it lies, `num_hands` and `num_failed` count."""
    hands: pd.DataFrame
    """One row per found hand; `picture` is its row in `pictures`, sizes are the long side of its box in pixels."""
    crops: pd.DataFrame
    """One row per training crop, in the order of the table."""
    rejects: pd.DataFrame
    """The rejects, in the order of the table."""


def load_frames(manifest: Manifest) -> Frames:
    """Read everything that figures need, row group by row group."""
    columns = [*_PICTURES, "hand_left", "hand_right"]
    columns += [f"hand_{side}_{name}" for side in SIDES for name in _HANDS]
    columns += [f"mask_{side}_{name}" for side in SIDES for name in _MASKS]
    parts = {path: number for number, path in enumerate(manifest.parts("images"))}
    pictures = [pa.schema([IMAGES.field(name) for name in _PICTURES]).remove_metadata().empty_table()]
    places: list[Int64[np.ndarray, "n 3"]] = [np.zeros((0, 3), np.int64)]
    hands: list[Columns] = [{name: np.zeros(0, kind) for name, kind in _HAND_COLUMNS.items()}]
    before = 0
    for place, rows in manifest.row_groups("images", columns):
        pictures.append(rows.select(list(_PICTURES)))
        row = np.arange(rows.num_rows)
        places.append(np.stack([np.full_like(row, parts[place.path]), np.full_like(row, place.group), row], axis=1))
        hands.extend(_hands_of(rows, side, before) for side in SIDES)
        before += rows.num_rows
    all_pictures = pa.concat_tables(pictures).to_pandas()
    all_pictures[["part", "group", "row"]] = np.concatenate(places)
    all_hands = pd.DataFrame({name: np.concatenate([part[name] for part in hands]) for name in _HAND_COLUMNS})
    all_hands = all_hands.sort_values(["picture", "side"], ignore_index=True)
    per_picture = all_hands.groupby("picture").agg(num_hands=("side", "size"), num_failed=("num_failed", "sum"))
    counts = per_picture.reindex(range(len(all_pictures)), fill_value=0).astype("int64")
    all_pictures[["num_hands", "num_failed"]] = counts
    labels = all_pictures[["split", "gesture", "image_scale"]].rename_axis("picture").reset_index()
    all_hands = all_hands.merge(labels, on="picture", how="left")
    all_hands["source_size_px"] = all_hands["size_px"] / all_hands["image_scale"]
    return Frames(
        pictures=all_pictures,
        hands=all_hands,
        crops=_crops(manifest.table("hands", ["split", "hands", "crop_box_xywh", "mask_px"])),
        rejects=manifest.table("rejects").to_pandas(),
    )


def statistics(frames: Frames) -> dict[str, pd.DataFrame]:
    """Every table that `h2d manifest stats` prints, by its name."""
    pictures, hands, rejects = frames.pictures, frames.hands, frames.rejects
    return {
        "pictures by gesture and split": _crosstab(_named(pictures, "gesture"), "gesture", "split"),
        "hands per picture": _crosstab(pictures, "num_hands", "split"),
        "hands found by": _crosstab(_named(hands, "by"), "by", "side"),
        "checks failed": _crosstab(hands.explode("checks").dropna(subset=["checks"]), "checks", "side"),
        "masks": mask_rates(frames),
        "why there is no mask": _crosstab(hands.dropna(subset=["problem"]), "problem", "side"),
        "rejects": _counted(rejects, ["stage", "status", "reason"]),
        "crops": _crosstab(frames.crops, "hands", "split"),
        "sizes": size_quantiles(frames),
    }


def mask_rates(frames: Frames) -> pd.DataFrame:
    """Per side: hands found, masks accepted, their share, and the median share of the picture that a mask covers."""
    rows = {}
    for side in SIDES:
        hands = frames.hands[frames.hands["side"] == side]
        masks = hands.dropna(subset=["mask_px"])
        rows[side] = {
            "found": len(hands),
            "with mask": len(masks),
            "share": len(masks) / len(hands) if len(hands) else np.nan,
            "median coverage": masks["coverage"].median(),
            "median quality": masks["quality"].median(),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").astype({"found": "int64", "with mask": "int64"})
    return _frame(table.rename_axis("side"))


def size_quantiles(frames: Frames) -> pd.DataFrame:
    """Quantiles of every size and score."""
    pictures, hands, crops = frames.pictures, frames.hands, frames.crops
    columns = {
        "original width px": pictures["source_width"],
        "original height px": pictures["source_height"],
        "working width px": pictures["width"],
        "working height px": pictures["height"],
        "hand px": hands["size_px"],
        "hand in original px": hands["source_size_px"],
        "hand confidence": hands["confidence"],
        "mask px": hands["mask_px"],
        "mask quality": hands["quality"],
        "crop in original px": crops["crop_px"],
    }
    quantiles = {name: values.astype("float64").quantile(list(QUANTILES)) for name, values in columns.items()}
    names = [f"{share:.0%}" if 0 < share < 1 else ("min", "max")[int(share)] for share in QUANTILES]
    return _frame(pd.DataFrame(quantiles).T.rename_axis("size").set_axis(names, axis=1))


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON-ready rows; what is not there is None."""
    rows: list[dict[str, Any]] = []
    for row in table.reset_index().to_dict(orient="records"):
        rows.append({str(key): _plain(value) for key, value in row.items()})
    return rows


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _hands_of(rows: pa.Table, side: str, before: int) -> Columns:
    """The found hands of a side, as columns."""
    found = rows[f"hand_{side}_found"].to_numpy()
    points = points_array(rows[f"hand_{side}"])[found].astype(np.float64)
    points[points[..., 2] <= 0] = np.nan
    area = (rows["width"].to_numpy().astype(np.float64) * rows["height"].to_numpy())[found]

    def column(name: str, kind: str = "object") -> np.ndarray:
        return np.asarray(rows[name].to_pandas().astype(kind)[found])

    checks = np.empty(int(found.sum()), object)
    checks[:] = [tuple(names) if names is not None else () for names in column(f"hand_{side}_checks")]
    mask_px = column(f"mask_{side}_px", "float64")
    hands = {
        "picture": np.flatnonzero(found) + before,
        "side": np.full(len(checks), side, object),
        "by": column(f"hand_{side}_by"),
        "checks": checks,
        "num_failed": np.asarray([len(names) for names in checks], np.int64),
        "size_px": (np.nanmax(points[..., :2], axis=1) - np.nanmin(points[..., :2], axis=1)).max(axis=1),
        "confidence": np.nanmean(points[..., 2], axis=1),
        "mask_px": mask_px,
        "coverage": mask_px / area,
        "quality": column(f"mask_{side}_quality", "float64"),
        "problem": column(f"mask_{side}_problem"),
    }
    assert list(hands) == list(_HAND_COLUMNS)
    return hands


def _crops(table: pa.Table) -> pd.DataFrame:
    frame = table.select(["split", "hands", "mask_px"]).to_pandas()
    boxes = table["crop_box_xywh"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
    return _frame(frame.assign(crop_px=boxes[:, 2].astype(np.float64)))


def _frame(values: Any) -> pd.DataFrame:
    """A frame by its type's name: pandas' stubs know it on Python 3.11 and later only."""
    frame: pd.DataFrame = pd.DataFrame(values)
    return frame


def _named(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return _frame(frame.assign(**{column: frame[column].fillna("(none)")}))


def _crosstab(frame: pd.DataFrame, row: str, column: str) -> pd.DataFrame:
    """Counts by two columns, with totals; columns in the order train, val, test, others."""
    counts = frame.groupby([row, column], observed=True).size().unstack(column, fill_value=0).astype("int64")
    usual = [name for name in ("train", "val", "test") if name in counts.columns]
    counts = counts[usual + [name for name in counts.columns if name not in usual]]
    counts.columns.name = None
    if len(counts.columns) > 1:
        counts["all"] = counts.sum(axis=1)
    if len(counts) > 1:
        counts.loc["all"] = counts.sum()
    return _frame(counts)


def _counted(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    counts = frame.groupby(columns, observed=True).size().sort_values(ascending=False)
    return _frame({"pictures": counts})
