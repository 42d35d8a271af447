"""`report.html`: one page, without network, by which a person judges a manifest.

It reads the light columns of every row, and of the pictures only those few that it shows.
Names, captions and messages are strangers' text: the template escapes everything.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from h2d.manifests.charts import HEIGHT, WIDTH, Histogram, Rate, RateRow, histogram
from h2d.manifests.files import write_text
from h2d.manifests.io import Location
from h2d.manifests.overlay import FINGER_COLOURS, SIDE_COLOURS
from h2d.manifests.report_figures import crop_group, picture_groups, reject_figures
from h2d.manifests.spread import together
from h2d.manifests.store import Manifest
from h2d.manifests.summary import MOST_NAMES, TOOLS, HandKey, PictureKey, Rejects, Summary, summarise
from h2d.manifests.wording import STAGES, flat, readable, tools
from h2d.pages import page_template

REPORT_FILE: Final = "report.html"
_MAX_ROWS: Final = 60
"""Of a table; the rest are summed up in one row."""


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
    summary = summarise(manifest)
    random = np.random.default_rng(seed)
    page = page_template(Path(__file__).with_name("report.html.j2")).render(
        manifest=manifest,
        totals=_totals(summary, manifest),
        made_by=_made_by(summary, manifest),
        rates=_rates(summary),
        charts=_charts(summary),
        chart_size=(WIDTH, HEIGHT),
        gestures=_gestures(summary),
        groups=picture_groups(manifest, summary, random),
        crops=crop_group(manifest, summary.crops.total(), random),
        rejects=_reject_listings(summary.rejects),
        reject_figures=reject_figures(summary.rejects, source_root),
        source_given=source_root is not None,
        findings=_findings(manifest),
        fingers=FINGER_COLOURS,
        sides=SIDE_COLOURS,
    )
    path = root / REPORT_FILE
    write_text(path, page)
    return path


def _totals(summary: Summary, manifest: Manifest) -> dict[str, Any]:
    counts = manifest.counts
    pictures, hands, rejected = summary.num_pictures, summary.num_hands, summary.rejects.counts.total()
    all_pictures = _rate_row("all", list(summary.pictures.items()), list(summary.hands.items()))
    return {
        "indexed": counts["indexed"],
        "accepted": pictures,
        "rejected": rejected,
        "adds_up": pictures + rejected == counts["indexed"],
        "hands": hands,
        "crops": summary.crops.total(),
        "with_hand": all_pictures.rates["a hand found"],
        "with_two": all_pictures.rates["both hands"],
        "masked": all_pictures.rates["mask accepted"],
        "clean": all_pictures.rates["passes all checks"],
        "splits": [
            (split, sum(count for (_, own, _), count in summary.pictures.items() if own == split))
            for split in manifest.splits("images")
        ],
        "people": len(summary.subjects),
    }


def _made_by(summary: Summary, manifest: Manifest) -> list[dict[str, Any]]:
    columns = dict(zip(("pose", "mask", "caption"), TOOLS, strict=True))
    made_by = []
    for name, facts in manifest.facts.get("stages", {}).items():
        values = flat(facts)
        fingerprint, annotator = values.pop("fingerprint", ""), values.pop("annotator", "")
        used = summary.tools[columns[name]] if name in columns else set()
        made_by.append(
            {
                "title": STAGES.get(name, readable(name).capitalize()),
                "tools": tools(used or ({annotator} if annotator else ())),
                "fingerprint": fingerprint,
                "options": {key.removeprefix("options."): value for key, value in values.items()},
            }
        )
    return made_by


def _rates(summary: Summary) -> list[RateRow]:
    """A row for each gesture, the rarest together, and one for all."""
    counts = _by_gesture(summary)
    kept = sorted(counts) if len(counts) <= _MAX_ROWS else sorted(name for name, _ in counts.most_common(_MAX_ROWS - 1))
    others = f"({len(counts) - len(kept)} others)"
    names = [*kept, others] if len(kept) < len(counts) else kept
    pictures: dict[str, list[tuple[PictureKey, int]]] = {name: [] for name in names}
    hands: dict[str, list[tuple[HandKey, int]]] = {name: [] for name in names}
    for picture in summary.pictures.items():
        pictures[picture[0][0] if picture[0][0] in pictures else others].append(picture)
    for hand in summary.hands.items():
        hands[hand[0][0] if hand[0][0] in hands else others].append(hand)
    rows = [_rate_row(name, pictures[name], hands[name]) for name in names]
    everything = _rate_row("all", list(summary.pictures.items()), list(summary.hands.items()))
    return [*rows, everything] if len(rows) != 1 else rows


def _rate_row(name: str, pictures: Sequence[tuple[PictureKey, int]], hands: Sequence[tuple[HandKey, int]]) -> RateRow:
    num_pictures, num_hands = sum(count for _, count in pictures), sum(count for _, count in hands)

    def with_hands(least: int) -> Rate:
        return Rate(part=sum(count for key, count in pictures if key[2] >= least), whole=num_pictures)

    return RateRow(
        name=name,
        num_pictures=num_pictures,
        rates={
            "a hand found": with_hands(1),
            "both hands": with_hands(2),
            "mask accepted": Rate(part=sum(count for key, count in hands if key[3]), whole=num_hands),
            "passes all checks": Rate(part=sum(count for key, count in hands if key[4]), whole=num_hands),
        },
    )


def _charts(summary: Summary) -> list[Histogram]:
    def of_hands(title: str, name: str, **layout: Any) -> Histogram | None:
        return histogram(title, together(summary.measure(name)), **layout)

    charts = (
        of_hands("Hand size in the original", "source_size_px", unit=" px"),
        histogram("Crop size in the original", summary.sizes["crop"], unit=" px"),
        of_hands("Keypoint confidence", "confidence", limits=(0, 1)),
        of_hands("Mask quality", "quality", limits=(0, 1)),
    )
    return [chart for chart in charts if chart is not None]


def _by_gesture(summary: Summary) -> Counter[str]:
    counts = Counter[str]()
    for (gesture, _, _), count in summary.pictures.items():
        counts[gesture] += count
    return counts


def _gestures(summary: Summary) -> list[tuple[str, Rate]]:
    counts = _by_gesture(summary).most_common()
    most = counts[0][1] if counts else 0
    kept = [(name, Rate(part=count, whole=most)) for name, count in counts]
    if len(kept) <= _MAX_ROWS:
        return kept
    others = sum(count for _, count in counts[_MAX_ROWS - 1 :])
    return [
        *kept[: _MAX_ROWS - 1],
        (f"({len(kept) - _MAX_ROWS + 1} others)", Rate(part=others, whole=max(most, others))),
    ]


def _reject_listings(rejects: Rejects) -> list[Listing]:
    listings = [
        Listing(
            title=readable(reason),
            count=rejects.counts[stage, status, reason],
            names=tuple(rejects.names[stage, status, reason]),
            detail=f"{STAGES.get(stage, stage)}, {status}"
            + (f": {rejects.messages[stage, status, reason]}" if (stage, status, reason) in rejects.messages else ""),
        )
        for stage, status, reason in sorted(rejects.counts)
    ]
    return _shortened(sorted(listings, key=lambda listing: -listing.count))


def _findings(manifest: Manifest) -> list[Listing]:
    splits: dict[str, Counter[str]] = {}
    names: dict[str, list[str]] = {}
    for rows in manifest.findings():
        for kind, split, name in zip(*(rows[column].to_pylist() for column in ("kind", "split", "name")), strict=True):
            splits.setdefault(kind, Counter())[split] += 1
            if len(first := names.setdefault(kind, [])) < MOST_NAMES:
                first.append(name)
    listings = [
        Listing(
            title=readable(kind),
            count=counts.total(),
            names=tuple(names[kind]),
            detail=", ".join(f"{split} {count:,}" for split, count in counts.most_common()),
        )
        for kind, counts in sorted(splits.items())
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
