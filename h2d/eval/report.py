"""A run's report: one page without network, and the same tables as Markdown and LaTeX.

Names, prompts and notes are strangers' text: the page escapes everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from h2d.eval.measured import Measured
from h2d.eval.picture_list import PictureList
from h2d.eval.pictures import flat
from h2d.eval.published import CONVENTIONS
from h2d.eval.report_charts import CURVE_HEIGHT, CURVE_WIDTH, DOTS_RIGHT, colours_of, dots, pck_curves
from h2d.eval.report_formats import as_latex, as_markdown
from h2d.eval.report_pictures import ASKED_COLOUR, FOUND_COLOUR, galleries
from h2d.eval.report_tables import (
    NO_NUMBER,
    Table,
    ablation_table,
    grows,
    interval_text,
    main_table,
    number_text,
    with_spread,
)
from h2d.eval.results import MethodResult, Part, Results
from h2d.manifests.files import write_text
from h2d.pages import page_template

HTML_FILE: Final = "report.html"
MARKDOWN_FILE: Final = "report.md"
LATEX_FILE: Final = "report.tex"
_MAX_NAMED: Final = 5
FEW_PICTURES: Final = 1000
"""Below it the page says that distances between sets are rough. Our choice."""
_PART_MEASURES: Final = (
    ("dap_hands", 2),
    ("mpjpe_hands", 3),
    ("oks_hands", 2),
    ("found_hands", 2),
    ("finger_count", 2),
    ("dap", 2),
    ("clipsim", 2),
)
_FORMATS: Final = {"mpjpe": 3, "random": 3, "clipsim": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTable:
    """One measure by part of the list and method."""

    title: str
    better: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[tuple[str, float, str], ...]], ...]
    """Name, pictures, and for each method text, share of the bar and reason."""


def write_reports(results: Results, pictures: PictureList, out: Path) -> Path:
    """Write `report.html`, `report.md` and `report.tex` into a run's folder; the page's path."""
    tables = {"main": main_table(results), "ablation": ablation_table(results)}
    write_text(out / MARKDOWN_FILE, markdown(results, tables))
    write_text(out / LATEX_FILE, latex_tables(results, tables))
    write_text(out / HTML_FILE, page(results, pictures, out, tables))
    return out / HTML_FILE


def page(results: Results, pictures: PictureList, out: Path, tables: Mapping[str, Table | None]) -> str:
    """The page."""
    main = tables["main"]
    assert main is not None
    colours = colours_of(results)
    methods = [method for method in results.methods if not method.is_real]
    return page_template(Path(__file__).with_name("report.html.j2")).render(
        results=results,
        main=main,
        ablation=tables["ablation"],
        methods=methods,
        warnings=warnings(results),
        published=CONVENTIONS,
        charts=[drawn for column in main.columns if (drawn := dots(column, results.methods, colours))],
        legend=[(method.title, colours[method.name]) for method in results.methods],
        curves=[
            one
            for title, which in (("All points", "all"), ("Points of the hands", "hands"))
            if (one := pck_curves(title, which, results, colours))
        ],
        sizes={"curve": (CURVE_WIDTH, CURVE_HEIGHT), "dots": DOTS_RIGHT + 12},
        gestures=part_tables(results.methods, "gestures"),
        hand_sizes=part_tables(results.methods, "hand_sizes"),
        differences=difference_rows(results),
        galleries=galleries(results.methods, pictures, out),
        skeletons={"asked for": ASKED_COLOUR, "found": FOUND_COLOUR},
        every=every_measure(results.methods),
        conventions=conventions(results.methods),
        made={method.title: flat(dict(method.made.get("identity", {}))) for method in methods},
        options=flat(dict(results.options)),
    )


def warnings(results: Results) -> list[str]:
    """What a reader must know before any number."""
    count, said = int(results.picture_list["count"]), []
    if count < FEW_PICTURES:
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        said.append(f"{pictures}: too few for distances between sets, and intervals are wide; the paper has 12,000.")
    said += [f"Left out: {name}: {why}." for name, why in results.unfinished.items()]
    said += [f"{what.capitalize()}: {why}." for what, why in results.missing.items()]
    for method in results.methods:
        if method.lost:
            named = ", ".join(f"{name} ({how})" for name, how in list(method.lost.items())[:_MAX_NAMED])
            more = f" and {len(method.lost) - _MAX_NAMED} more" if len(method.lost) > _MAX_NAMED else ""
            said.append(f"{method.title}: read as if nobody were in them: {named}{more}.")
    return said


def part_tables(methods: Sequence[MethodResult], which: str) -> list[PartTable]:
    """By gesture or hand size, a table for each measure that any method has."""
    tables = []
    for short, decimals in _PART_MEASURES:
        shown = [method for method in methods if short in method.measures]
        if not shown:
            continue
        parts: list[tuple[Part, ...]] = [getattr(method, which) for method in shown]
        measured = [[part.measures[short] for part in column] for column in parts]
        most = max((one.value for column in measured for one in column if one.value is not None), default=0) or 1
        first = measured[0][0] if measured[0] else shown[0].measures[short]
        rows = tuple(
            (
                parts[0][number].name,
                parts[0][number].num_pictures,
                tuple(_bar(column[number], decimals, most) for column in measured),
            )
            for number in range(len(parts[0]))
        )
        better = "higher is better" if first.higher_is_better else "lower is better"
        heads = tuple(method.title for method in shown)
        tables.append(PartTable(title=first.name, better=better, heads=heads, rows=rows))
    return tables


def _bar(one: Measured, decimals: int, most: float) -> tuple[str, float, str]:
    if one.value is None:
        return NO_NUMBER, 0.0, one.reason or ""
    return number_text(one.value, decimals), max(0.0, one.value / most), ""


def difference_rows(results: Results) -> list[dict[str, str]]:
    """Paired differences in words."""
    titles = {method.name: method.title for method in results.methods}
    rows = []
    for one in results.differences:
        measured = next(m.measures[one.short] for m in results.methods if one.short in m.measures)
        decimals = 3
        row = {"method": titles[one.method], "than": titles[one.than], "measure": measured.name, "verdict": ""}
        if one.difference is None or one.interval is None:
            rows.append({**row, "difference": NO_NUMBER, "interval": "", "p": "", "verdict": one.reason or ""})
            continue
        apart = not one.interval.low <= 0 <= one.interval.high
        better = (one.difference > 0) == measured.higher_is_better
        rows.append(
            {
                **row,
                "difference": f"{one.difference:+.{decimals}f}",
                "interval": f"{one.interval.low:+.{decimals}f} to {one.interval.high:+.{decimals}f}",
                "p": f"{one.p_value:.3f}" if one.p_value is not None else "",
                "verdict": ("better" if better else "worse") if apart else "not told apart",
            }
        )
    return rows


def every_measure(methods: Sequence[MethodResult]) -> list[dict[str, Any]]:
    """Everything that was measured: a row a measure, a cell a method."""
    shorts = list(dict.fromkeys(short for method in methods for short in method.measures))
    rows = []
    for short in shorts:
        named = next(method.measures[short] for method in methods if short in method.measures)
        cells = []
        for method in methods:
            one = method.measures.get(short)
            if one is None:
                cells.append({"text": NO_NUMBER, "interval": "", "reason": "not measured of these pictures"})
            elif one.value is None:
                cells.append({"text": NO_NUMBER, "interval": "", "reason": one.reason or ""})
            else:
                decimals, grow = decimals_of(short), grows(short)
                text = with_spread(one, decimals, grow=grow)
                interval = interval_text(one, decimals, grow=grow)
                cells.append({"text": text, "interval": interval, "reason": "; ".join(one.notes)})
        rows.append(
            {"short": short, "name": named.name, "arrow": "↑" if named.higher_is_better else "↓", "cells": cells}
        )
    return rows


def decimals_of(short: str) -> int:
    """How many a measure is shown with."""
    return next((decimals for name, decimals in _FORMATS.items() if short.startswith(name)), 3)


def conventions(methods: Sequence[MethodResult]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of each measure, all that changes its number; measures that share everything stand together."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for method in methods:
        for measured in method.measures.values():
            stated = tuple((name, str(value)) for name, value in sorted(flat(dict(measured.conventions)).items()))
            names = groups.setdefault(stated, [])
            if measured.name not in names:
                names.append(measured.name)
    return [(", ".join(names), list(stated)) for stated, names in groups.items()]


def markdown(results: Results, tables: Mapping[str, Table | None]) -> str:
    """The tables as GitHub's Markdown."""
    facts = results.picture_list
    level = f"{results.intervals['level']:.0%}"
    lines = [
        "# Evaluation",
        "",
        f"{facts['count']} pictures of {facts.get('source')} {facts.get('split')}, list {str(facts['sha256'])[:12]}."
        f" In brackets: {level} intervals, {results.intervals['resamples']} resamples by"
        f" {results.intervals['grouped_by']}.",
        "",
        *(f"> {warning}  " for warning in warnings(results)),
        "",
        "## Methods",
        "",
    ]
    main, ablation = tables["main"], tables["ablation"]
    assert main is not None
    lines += [as_markdown(main), "", CONVENTIONS, ""]
    lines += _reasons(main)
    if ablation is not None:
        lines += ["## Blending", "", as_markdown(ablation), "", *_reasons(ablation)]
    rows = difference_rows(results)
    if rows:
        lines += [
            "## Paired differences",
            "",
            "| measure | method | difference | interval | p | |",
            "|---|---|---:|---|---:|---|",
        ]
        lines += [
            f"| {row['measure']} | {row['method']} less {row['than']} | {row['difference']} | {row['interval']} |"
            f" {row['p']} | {row['verdict']} |"
            for row in rows
        ]
        lines.append("")
    lines += ["## Conventions", ""]
    for names, stated in conventions(results.methods):
        lines += [f"**{names}**: " + "; ".join(f"{name} {value}" for name, value in stated), ""]
    return "\n".join(lines)


def _reasons(table: Table) -> list[str]:
    """Why there is a dash, for each that is not the paper's."""
    said = dict.fromkeys(
        f"- {line.title}, {column.heading}: {cell.reason}"
        for line in table.lines
        if line.kind != "published"
        for column, cell in zip(table.columns, line.cells, strict=True)
        if cell.text == NO_NUMBER
    )
    return ["No number:", "", *said, ""] if said else []


def latex_tables(results: Results, tables: Mapping[str, Table | None]) -> str:
    """The tables for a paper."""
    count = results.picture_list["count"]
    about = f"{count} pictures; brackets: {results.intervals['level']:.0%} bootstrap intervals. {CONVENTIONS}"
    parts = [
        as_latex(table, f"{title} {about}")
        for title, table in (("Comparison of methods.", tables["main"]), ("Blending.", tables["ablation"]))
        if table is not None
    ]
    return "% \\usepackage{booktabs,xcolor}\n" + "\n\n".join(parts) + "\n"
