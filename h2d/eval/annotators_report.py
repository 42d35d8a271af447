"""What came out of judging annotators: rates, errors and overlaps by gesture and hand size. Axis legend: n pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from h2d.errors import UserError
from h2d.eval.intervals import with_interval
from h2d.eval.measured import Measure, Measured, Ratio
from h2d.eval.parts import HAND_SIZES
from h2d.eval.report_remarks import Remark, gathered
from h2d.manifests.files import write_json, write_text

GOALS: Final[Mapping[str, float]] = {"body": 0.95, "hand": 0.85, "side": 0.98, "error": 0.06, "iou": 0.80}
"""On drawn pictures. Our choice."""
_COLUMNS: Final = {
    "body": ("body found", "body_found", True, "no pictures"),
    "hand": ("hand found", "found", True, "no true hand"),
    "side": ("own side", "own_side", True, "no hand was found"),
    "error": ("joint error", "error", False, "no hand was found"),
    "iou": ("mask IoU", "iou", True, "no mask was compared"),
}


def report_on(
    hands: pa.Table, out: Path, names: Mapping[str, str], *, manifest: str, resamples: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write the report of hands that were judged by the annotators of these names; its rows, and what they are of.

    Raises `UserError` where there is no hand.
    """
    frame = hands.to_pandas()
    if not len(frame):
        raise UserError(f"{manifest}: no hand in its first pictures: give a manifest of people who show hands")
    facts = {
        "manifest": manifest, "pictures": int(frame["number"].nunique()), **names, "lost": lost_pictures(frame),
    }  # fmt: skip
    rows = table_rows(frame, names, resamples=resamples)
    write_report(out, frame, rows, facts)
    return rows, facts


def as_plain_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [
        {key: value.as_plain() if isinstance(value, Measured) else value for key, value in row.items()} for row in rows
    ]


def measures(hands: pd.DataFrame, num_pictures: int, conventions: Mapping[str, Any]) -> dict[str, Measure]:
    """By short name; hands of a picture are resampled together."""
    return {
        short: Measure(
            name=name,
            statistic=_ratio(hands, column, num_pictures, nothing),
            higher_is_better=higher,
            conventions={"unit": "hand sizes", **conventions} if short == "error" else conventions,
        )
        for short, (name, column, higher, nothing) in _COLUMNS.items()
    }


def table_rows(
    hands: pd.DataFrame, conventions: Mapping[str, Any], *, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """All hands, then by gesture, side and size: `part`, `name`, `hands` and the measures."""
    rows = []
    for part, name, some in _parts(hands):
        numbers, pictures = np.unique(some["number"], return_inverse=True)
        found = measures(some.assign(number=pictures), len(numbers), conventions)
        whole = part == "all"
        measured: dict[str, Measured] = {
            short: with_interval(measure, rng=np.random.default_rng(seed), resamples=resamples)
            if whole and resamples
            else measure.measured()
            for short, measure in found.items()
        }
        rows.append({"part": part, "name": name, "hands": len(some), **measured})
    return rows


def lost_pictures(hands: pd.DataFrame) -> dict[str, str]:
    """Pictures of which the detector died, by their id, and how: their hands count as not found."""
    lost = hands[hands["detector_problem"].notna()].drop_duplicates("id")
    return dict(zip(lost["id"], lost["detector_problem"], strict=True))


def write_report(out: Path, hands: pd.DataFrame, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Write `annotators.json`, `annotators.md` and `hands.parquet`."""
    write_json(out / "annotators.json", {**facts, "rows": as_plain_rows(rows)})
    write_text(out / "annotators.md", markdown(rows, facts))
    hands.to_parquet(out / "hands.parquet")


def markdown(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """The tables as GitHub's Markdown."""
    lines = [
        "# Annotators on known truth",
        "",
        f"{facts['pictures']} pictures, {rows[0]['hands']} hands of {facts['manifest']}; keypoints by"
        f" {facts['detector']}, masks by {facts['segmenter']}.",
        "A hand is found when its joints lie on average within half a hand's size; joint errors are in hand sizes.",
        *(f"The detector died of {name}, whose hands it missed: {how}." for name, how in facts["lost"].items()),
        "",
    ]
    for part in dict.fromkeys(row["part"] for row in rows):
        lines += [
            f"| {part} | hands | " + " | ".join(name for name, *_ in _COLUMNS.values()) + " |",
            "|---|---:|" + "---:|" * 5,
        ]
        these = [row for row in rows if row["part"] == part]
        lines += [
            f"| {row['name']} | {row['hands']} | " + " | ".join(shown(row[key]) for key in _COLUMNS) + " |"
            for row in these
        ]
        lines += ["", *(f"- {remark}" for remark in _remarks(these)), ""]
    return "\n".join(lines)


def _remarks(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why there are dashes, and what must be known of the numbers."""
    cells = [(row["name"], row[key]) for row in rows for key in _COLUMNS]
    return gathered(
        [
            Remark(what=one.name, method=name, text=text)
            for name, one in cells
            for text in (*([one.reason] if one.reason else []), *one.notes)
        ],
        [row["name"] for row in rows],
    )


def shown(measured: Measured) -> str:
    """The number, with its interval if it has one, or a dash."""
    if measured.value is None:
        return "–"
    text = f"{measured.value:.3f}"
    interval = measured.interval
    return text if interval is None else f"{text} ({interval.low:.3f} to {interval.high:.3f})"


def _ratio(hands: pd.DataFrame, column: str, num_pictures: int, nothing: str) -> Ratio:
    known = hands[hands[column].notna()]
    picture = known["number"].to_numpy(np.int64)
    values = known[column].to_numpy(np.float64)
    return Ratio(
        sums=np.bincount(picture, weights=values, minlength=num_pictures).astype(np.float64),
        weights=np.bincount(picture, minlength=num_pictures).astype(np.float64),
        nothing=nothing,
    )


def _parts(hands: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    parts = [("all", "all hands", hands)]
    parts += [("side", str(side), some) for side, some in hands.groupby("side")]
    for low, high in HAND_SIZES:
        some = hands[(hands["hand_share"] >= low) & (hands["hand_share"] < high)]
        if len(some):
            name = (
                f"below {high:.0%}" if low == 0 else f"{low:.0%} and more" if high > 1 else f"{low:.0%} to {high:.0%}"
            )
            parts.append(("hand size, of the picture", name, some))
    parts += [("gesture", str(name), some) for name, some in hands.fillna({"gesture": "(none)"}).groupby("gesture")]
    return parts
