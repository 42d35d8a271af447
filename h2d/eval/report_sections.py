"""What a report has beside its main tables: parts of the list, paired differences, every measure, and conventions.

The page draws them; as `Sheet`s they are tables of words for Markdown and LaTeX.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from h2d.eval.measured import Measured
from h2d.eval.pictures import flat
from h2d.eval.report_making import making_sheet
from h2d.eval.report_remarks import Remark, gathered
from h2d.eval.report_tables import (
    IS_REAL,
    NO_NUMBER,
    Cell,
    Sheet,
    gathered_notes,
    gathered_reasons,
    interval_text,
    number_text,
    with_spread,
)
from h2d.eval.results import MethodResult, Part, Results

_PART_MEASURES: Final = (
    ("dap_hands", 2),
    ("mpjpe_hands", 3),
    ("oks_hands", 2),
    ("found_hands", 2),
    ("finger_count", 2),
    ("dap", 2),
    ("clipsim", 2),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTable:
    """One measure by part of the list and method."""

    short: str
    title: str
    better: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[tuple[str, float, str], ...]], ...]
    """Name, pictures, and for each method text, share of the bar and reason."""

    @property
    def has_numbers(self) -> bool:
        """Whether there is any."""
        return any(not reason for _, _, bars in self.rows for _, _, reason in bars)


def sheets(results: Results) -> list[Sheet]:
    """All but the main tables, in the order of the page."""
    parts = (("By gesture", "gesture", "gestures"), ("By hand size", "hand size", "hand_sizes"))
    made = making_sheet(results)
    return [
        *([made] if made is not None else []),
        *_difference_sheets(results),
        *(
            _part_sheet(section, first, table)
            for section, first, which in parts
            for table in part_tables(results.methods, which)
        ),
        every_sheet(results),
    ]


def _difference_sheets(results: Results) -> list[Sheet]:
    rows = tuple(
        (
            row["measure"], f"{row['method']} less {row['than']}", row["difference"], row["interval"], row["p"],
            row["verdict"],
        )
        for row in difference_rows(results)
    )  # fmt: skip
    if not rows:
        return []
    return [
        Sheet(
            section="Paired differences",
            heads=("measure", "methods", "difference", "interval", "p", "verdict"),
            rows=rows,
            shorts=tuple(dict.fromkeys(one.short for one in results.differences)),
        )
    ]


def _part_sheet(section: str, first: str, table: PartTable) -> Sheet:
    return Sheet(
        section=section,
        title=f"{table.title}, {table.better}",
        heads=(first, "pictures", *table.heads),
        rows=tuple((name, str(count), *(text for text, _, _ in bars)) for name, count, bars in table.rows),
        reasons=gathered(
            [
                Remark(what=name, method=head, text=reason)
                for name, _, bars in table.rows
                for head, (_, _, reason) in zip(table.heads, bars, strict=True)
                if reason
            ],
            table.heads,
        ),
        shorts=(table.short,),
    )


def every_sheet(results: Results) -> Sheet:
    """Everything that was measured."""
    every = every_measure(results.methods)
    titles = tuple(method.title for method in results.methods)
    cells = [(row["name"], title, cell) for row in every for title, cell in zip(titles, row["cells"], strict=True)]
    return Sheet(
        section="All measures",
        heads=("measure", *titles),
        rows=tuple(
            (
                f"{row['name']} {row['arrow']}",
                *(f"{cell.text} ({cell.interval})" if cell.interval else cell.text for cell in row["cells"]),
            )
            for row in every
        ),
        reasons=gathered_reasons(cells, titles),
        notes=gathered_notes(cells, titles),
        shorts=tuple(row["short"] for row in every),
    )


def part_tables(methods: Sequence[MethodResult], which: str) -> list[PartTable]:
    """By gesture or hand size, a table for each measure that any method has; one alone where none has a number."""
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
        tables.append(PartTable(short=short, title=first.name, better=better, heads=heads, rows=rows))
    return [table for table in tables if table.has_numbers] or tables[:1]


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
        row = {"method": titles[one.method], "than": titles[one.than], "measure": measured.name, "verdict": ""}
        if one.difference is None or one.interval is None:
            rows.append({**row, "difference": NO_NUMBER, "interval": "", "p": "", "verdict": one.reason or ""})
            continue
        apart = not one.interval.low <= 0 <= one.interval.high
        better = (one.difference > 0) == measured.higher_is_better
        rows.append(
            {
                **row,
                "difference": f"{one.difference:+.{measured.decimals}f}",
                "interval": f"{one.interval.low:+.{measured.decimals}f} to {one.interval.high:+.{measured.decimals}f}",
                "p": f"{one.p_value:.3f}" if one.p_value is not None else "",
                "verdict": ("better" if better else "worse") if apart else "not told apart",
            }
        )
    return rows


def every_measure(methods: Sequence[MethodResult]) -> list[dict[str, Any]]:
    """Everything that was measured: a row a measure, a `Cell` a method."""
    shorts = list(dict.fromkeys(short for method in methods for short in method.measures))
    rows = []
    for short in shorts:
        named = next(method.measures[short] for method in methods if short in method.measures)
        cells = []
        for method in methods:
            one = method.measures.get(short)
            if one is None:
                cells.append(Cell(text=NO_NUMBER, reason=IS_REAL if method.is_real else "not measured"))
            elif one.value is None:
                cells.append(Cell(text=NO_NUMBER, reason=one.reason or "", notes=one.notes))
            else:
                cells.append(Cell(text=with_spread(one), interval=interval_text(one), notes=one.notes))
        rows.append(
            {"short": short, "name": named.name, "arrow": "↑" if named.higher_is_better else "↓", "cells": cells}
        )
    return rows


def about_intervals(results: Results) -> str:
    """How intervals were found; nothing where there are none."""
    facts = results.intervals
    if not facts["resamples"]:
        return ""
    whole = ", whole persons at a time" if facts["grouped_by"] == "subject" else ""
    said = f"{facts['level'] * 100:g}% intervals by bootstrap, {facts['resamples']:,} resamples of the pictures{whole}."
    found = {one.interval.method for method in results.methods for one in method.measures.values() if one.interval}
    if "centred" in found:
        said += (
            f" Those of Frechet's distance: {facts['distance_resamples']:,} resamples, moved so that their median is"
            " the distance itself, for repeated pictures raise it, and cut at 0."
        )
    return said


def conventions(
    methods: Sequence[MethodResult], shorts: Collection[str] | None = None
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of each measure, or of some, all that changes its number; measures that share everything stand together."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for method in methods:
        for short, measured in method.measures.items():
            if shorts is not None and short not in shorts:
                continue
            stated = tuple((name, str(value)) for name, value in sorted(flat(dict(measured.conventions)).items()))
            names = groups.setdefault(stated, [])
            if measured.name not in names:
                names.append(measured.name)
    return [("; ".join(names), list(stated)) for stated, names in groups.items()]
