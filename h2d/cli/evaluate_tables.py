"""What an evaluation says at its end: the table, what is missing from it, and where the report lies."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable
from rich.text import Text

from h2d.cli.console import console
from h2d.cli.output import say
from h2d.cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from h2d.eval.compare import Comparison
    from h2d.eval.report_tables import Table
    from h2d.eval.results import Results


def tell(results: "Results", out: Path) -> None:
    """Print the tables without the paper's rows, the warnings, and the report's place."""
    from h2d.eval.report import HTML_FILE, warnings
    from h2d.eval.report_tables import ablation_table, main_table

    for table in (main_table(results), ablation_table(results)):
        if table is not None:
            print_table(table)
    for warning in warnings(results):
        say(warning)
    say(f"Report:      {out / HTML_FILE} (also report.md, report.tex, results.json, per_picture.parquet)")


def print_table(table: "Table") -> None:
    """The lines of this run, without the columns in which none has a number."""
    lines = [line for line in table.lines if line.kind != "published"]
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    shown.add_column("method", overflow="fold")
    kept = [number for number in range(len(table.columns)) if any(not line.cells[number].reason for line in lines)]
    for number in kept:
        column = table.columns[number]
        shown.add_column(f"{column.heading} {column.arrow}", justify="right", overflow="fold")
    for line in lines:
        cells = [line.cells[number] for number in kept]
        shown.add_row(Text(line.title), *(Text(cell.text, style="bold" if cell.is_best else "") for cell in cells))
    console.print(shown)


def print_comparison(rows: "Sequence[Comparison]") -> None:
    """Both numbers of each measure, and what is known of their difference; below them, why nothing is."""
    from h2d.eval.report_tables import NO_NUMBER, number_text

    method = ""
    lacking: dict[str, list[str]] = {}
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for heading in ("measure", "A", "B", "A less B", "interval", "p", ""):
        shown.add_column(heading, justify="left" if heading in ("measure", "") else "right")
    for row in rows:
        decimals, paired = row.first.decimals, row.paired
        if row.method != method:
            method = row.method
            shown.add_row(Text(method, style="bold"))
        numbers = [
            NO_NUMBER if one.value is None else number_text(one.value, decimals) for one in (row.first, row.second)
        ]
        if paired is None:
            shown.add_row(Text(row.first.name), *map(Text, numbers))
            lacking.setdefault(row.reason, []).append(row.first.name)
            continue
        low, high = paired.interval.low, paired.interval.high
        apart = not low <= 0 <= high
        verdict = (
            ("A" if (paired.difference > 0) == row.first.higher_is_better else "B") + " is better" if apart else ""
        )
        shown.add_row(
            Text(row.first.name), *map(Text, numbers), f"{paired.difference:+.{decimals}f}",
            f"{low:+.{decimals}f} to {high:+.{decimals}f}", f"{paired.p_value:.3f}", verdict,
        )  # fmt: skip
    console.print(shown)
    for reason, names in lacking.items():
        say(f"No difference of {', '.join(dict.fromkeys(names))}: {reason}")


def print_annotators(rows: "Sequence[Mapping[str, Any]]", facts: "Mapping[str, Any]", out: Path) -> None:
    """All hands against the goals, then the parts."""
    from h2d.eval.annotators_report import GOALS, shown

    say(
        f"{counted(facts['pictures'], 'picture')}, {counted(rows[0]['hands'], 'hand')};"
        f" keypoints by {facts['detector']}, masks by {facts['segmenter']}"
    )
    for name, how in facts["lost"].items():
        say(f"  the detector died of {name}, whose hands it missed: {how}")
    for short, goal in GOALS.items():
        one = rows[0][short]
        if one.value is None:
            say(f"  {one.name:<12} – ({one.reason})")
            continue
        met = one.value >= goal if one.higher_is_better else one.value <= goal
        say(f"  {one.name:<12} {shown(one):<26} goal {goal:.2f} {'met' if met else 'missed'}")
    shown_table = RichTable(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "hands", *(rows[0][short].name for short in GOALS)):
        shown_table.add_column(heading, justify="left" if heading == "part" else "right")
    for row in rows[1:]:
        shown_table.add_row(Text(str(row["name"])), str(row["hands"]), *(shown(row[short]) for short in GOALS))
    console.print(shown_table)
    say(f"Wrote:       {out / 'annotators.md'} (also annotators.json, hands.parquet)")
