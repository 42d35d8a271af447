"""`report.html`: one page, without network, by which a person judges a manifest.

It reads the light columns of every row, and of the pictures only those few that it shows.
Names, captions and messages are strangers' text: the template escapes everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from h2d.manifests.charts import HEIGHT, WIDTH, Histogram, Rate, RateRow, histogram
from h2d.manifests.files import write_text
from h2d.manifests.io import Location
from h2d.manifests.overlay import FINGER_COLOURS, SIDE_COLOURS
from h2d.manifests.report_figures import crop_group, picture_groups, reject_figures
from h2d.manifests.stats import Frames, load_frames
from h2d.manifests.store import Manifest
from h2d.manifests.wording import STAGES, flat, readable, tools

REPORT_FILE: Final = "report.html"
_MAX_ROWS: Final = 60
"""Of a table; the rest are summed up in one row."""
_MAX_NAMES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A reason or a kind of finding, how often it occurs and the first names."""

    title: str
    count: int
    names: tuple[str, ...]
    detail: str = ""


def write_report(root: Location, source_root: Location | None = None, *, seed: int = 0) -> Location:
    """Write `report.html` into a manifest's folder; with the dataset's folder, rejected pictures are shown too."""
    manifest = Manifest(root)
    frames = load_frames(manifest)
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html.j2")
    random = np.random.default_rng(seed)
    page = template.render(
        manifest=manifest,
        totals=_totals(frames, manifest),
        made_by=_made_by(frames, manifest),
        rates=_rates(frames),
        charts=_charts(frames),
        chart_size=(WIDTH, HEIGHT),
        gestures=_gestures(frames),
        groups=picture_groups(manifest, frames, random),
        crops=crop_group(manifest, frames, random),
        rejects=_reject_listings(frames),
        reject_figures=reject_figures(frames, source_root),
        source_given=source_root is not None,
        findings=_findings(manifest),
        fingers=FINGER_COLOURS,
        sides=SIDE_COLOURS,
    )
    path = root / REPORT_FILE
    write_text(path, page)
    return path


def _totals(frames: Frames, manifest: Manifest) -> dict[str, Any]:
    counts = manifest.counts
    pictures, hands = frames.pictures, frames.hands
    return {
        "indexed": counts["indexed"],
        "accepted": len(pictures),
        "rejected": len(frames.rejects),
        "adds_up": len(pictures) + len(frames.rejects) == counts["indexed"],
        "hands": len(hands),
        "crops": len(frames.crops),
        "with_hand": Rate(part=int((pictures["num_hands"] > 0).sum()), whole=len(pictures)),
        "with_two": Rate(part=int((pictures["num_hands"] > 1).sum()), whole=len(pictures)),
        "masked": Rate(part=int(hands["mask_px"].notna().sum()), whole=len(hands)),
        "clean": Rate(part=int((hands["num_failed"] == 0).sum()), whole=len(hands)),
        "splits": [(split, int((pictures["split"] == split).sum())) for split in manifest.splits("images")],
        "people": int(pictures["subject"].nunique()),
    }


def _made_by(frames: Frames, manifest: Manifest) -> list[dict[str, Any]]:
    columns = {"pose": "keypoint_source", "mask": "segmenter", "caption": "captioner"}
    made_by = []
    for name, facts in manifest.facts.get("stages", {}).items():
        values = flat(facts)
        fingerprint, annotator = values.pop("fingerprint", ""), values.pop("annotator", "")
        used = set(frames.pictures[columns[name]].dropna()) if name in columns else set()
        made_by.append(
            {
                "title": STAGES.get(name, readable(name).capitalize()),
                "tools": tools(used or ({annotator} if annotator else ())),
                "fingerprint": fingerprint,
                "options": {key.removeprefix("options."): value for key, value in values.items()},
            }
        )
    return made_by


def _rates(frames: Frames) -> list[RateRow]:
    pictures = frames.pictures[["gesture", "num_hands"]].fillna({"gesture": "(none)"})
    hands = frames.hands[["gesture", "mask_px", "num_failed"]].fillna({"gesture": "(none)"})
    names = list(pictures["gesture"].value_counts().sort_index().index)
    if len(names) > _MAX_ROWS:
        kept = set(pictures["gesture"].value_counts().index[: _MAX_ROWS - 1])
        others = f"({len(names) - len(kept)} others)"
        for frame in (pictures, hands):
            frame["gesture"] = frame["gesture"].where(frame["gesture"].isin(kept), others)
        names = [*sorted(kept), others]
    rows = [_rate_row(name, pictures[pictures["gesture"] == name], hands[hands["gesture"] == name]) for name in names]
    return [*rows, _rate_row("all", pictures, hands)] if len(rows) != 1 else rows


def _rate_row(name: str, pictures: pd.DataFrame, hands: pd.DataFrame) -> RateRow:
    return RateRow(
        name=name,
        num_pictures=len(pictures),
        rates={
            "a hand found": Rate(part=int((pictures["num_hands"] > 0).sum()), whole=len(pictures)),
            "both hands": Rate(part=int((pictures["num_hands"] > 1).sum()), whole=len(pictures)),
            "mask accepted": Rate(part=int(hands["mask_px"].notna().sum()), whole=len(hands)),
            "passes all checks": Rate(part=int((hands["num_failed"] == 0).sum()), whole=len(hands)),
        },
    )


def _charts(frames: Frames) -> list[Histogram]:
    hands = frames.hands
    charts = (
        histogram("Hand size in the original", hands["source_size_px"].to_numpy("float64"), unit=" px"),
        histogram("Crop size in the original", frames.crops["crop_px"].to_numpy("float64"), unit=" px"),
        histogram("Keypoint confidence", hands["confidence"].to_numpy("float64"), limits=(0, 1)),
        histogram("Mask quality", hands["quality"].to_numpy("float64"), limits=(0, 1)),
    )
    return [chart for chart in charts if chart is not None]


def _gestures(frames: Frames) -> list[tuple[str, Rate]]:
    counts = frames.pictures["gesture"].fillna("(none)").value_counts()
    most = int(counts.max()) if len(counts) else 0
    kept = [(str(name), Rate(part=int(count), whole=most)) for name, count in counts.items()]
    if len(kept) <= _MAX_ROWS:
        return kept
    others = int(counts.iloc[_MAX_ROWS - 1 :].sum())
    return [
        *kept[: _MAX_ROWS - 1],
        (f"({len(kept) - _MAX_ROWS + 1} others)", Rate(part=others, whole=max(most, others))),
    ]


def _reject_listings(frames: Frames) -> list[Listing]:
    groups = frames.rejects.groupby(["stage", "status", "reason"])
    listings = [
        Listing(
            title=readable(str(reason)),
            count=len(rows),
            names=tuple(rows["id"].head(_MAX_NAMES)),
            detail=f"{STAGES.get(str(stage), stage)}, {status}" + _first_message(rows),
        )
        for (stage, status, reason), rows in groups
    ]
    return _shortened(sorted(listings, key=lambda listing: -listing.count))


def _first_message(rows: pd.DataFrame) -> str:
    messages = rows["message"].dropna()
    return f": {messages.iloc[0]}" if len(messages) else ""


def _findings(manifest: Manifest) -> list[Listing]:
    found = manifest.unmatched.to_pandas()
    listings = [
        Listing(
            title=readable(str(kind)),
            count=len(rows),
            names=tuple(rows["name"].head(_MAX_NAMES)),
            detail=", ".join(f"{split} {count:,}" for split, count in rows["split"].value_counts().items()),
        )
        for kind, rows in found.groupby("kind")
    ]
    return _shortened(sorted(listings, key=lambda listing: -listing.count))


def _shortened(listings: Sequence[Listing]) -> list[Listing]:
    rest = listings[_MAX_ROWS:]
    if not rest:
        return list(listings)
    return [
        *listings[:_MAX_ROWS],
        Listing(title=f"{len(rest)} rarer ones", count=sum(one.count for one in rest), names=()),
    ]
