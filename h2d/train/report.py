"""`report.html` of a run: its curves, its previews, its configuration; one page, without network."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from h2d.manifests.files import write_text
from h2d.pages import page_template

REPORT_FILE: Final = "report.html"
_WIDTH, _HEIGHT, _MAX_POINTS, _MAX_PREVIEWS = 720, 200, 500, 6
_HIDDEN: Final = ("step",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One logged value by step, as an SVG polyline."""

    name: str
    points: str
    lowest: str
    highest: str
    last_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A preview, embedded."""

    name: str
    data: str


def write_report(
    out: Path, records: Sequence[dict[str, Any]], config: dict[str, Any], *, panels: Sequence[str]
) -> Path:
    """Write a run's report into its folder; `panels` are what its previews show from left to right."""
    names = list(dict.fromkeys(name for record in records for name in record if name not in _HIDDEN))
    pictures = sorted((out / "previews").glob("step-*.png"))[-_MAX_PREVIEWS:]
    page = page_template(Path(__file__).with_name("report.html.j2")).render(
        title=f"Training {config['stage']}",
        steps=records[-1]["step"],
        last_loss=f"{records[-1]['loss']:.4g}",
        curves=[curve(name, [(r["step"], r[name]) for r in records if name in r]) for name in names],
        previews=[Preview(name=p.stem, data=base64.b64encode(p.read_bytes()).decode()) for p in pictures],
        panels=", ".join(panels),
        config=json.dumps(config, indent=2),
    )
    write_text(out / REPORT_FILE, page)
    return out / REPORT_FILE


def curve(name: str, values: Sequence[tuple[int, float]]) -> Curve:
    """Averaged to at most 500 points."""
    size = -(-len(values) // _MAX_POINTS)
    groups = [values[first : first + size] for first in range(0, len(values), size)]
    steps = [sum(step for step, _ in group) / len(group) for group in groups]
    means = [sum(value for _, value in group) / len(group) for group in groups]
    low, high = min(means), max(means)
    across, up = max(steps[-1] - steps[0], 1), (high - low) or 1
    points = " ".join(
        f"{(step - steps[0]) / across * _WIDTH:.1f},{(high - mean) / up * (_HEIGHT - 10) + 5:.1f}"
        for step, mean in zip(steps, means, strict=True)
    )
    return Curve(name=name, points=points, lowest=f"{low:.4g}", highest=f"{high:.4g}", last_step=values[-1][0])
