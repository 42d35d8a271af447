"""Results laid out as the paper's tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from h2d.eval.measured import Measured
from h2d.eval.methods import ABLATION
from h2d.eval.published import TABLE_1, TABLE_2, Published
from h2d.eval.report_remarks import Remark, gathered
from h2d.eval.results import MethodResult, Results

NO_NUMBER: Final = "–"
IS_REAL: Final = "the real pictures are what is compared with"
BLEND_TITLES: Final = dict(zip(ABLATION, ("Bounding box", "Naive", "Sequential mask expansion"), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One measure as a column."""

    name: str
    """Of a measure's `column`."""
    heading: str
    decimals: int
    higher_is_better: bool

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.higher_is_better else "↓"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A number as it is shown, or a dash and why."""

    text: str
    interval: str = ""
    is_best: bool = False
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """Why there is no number, and what must be known of it."""
        return "; ".join(filter(None, (self.reason, *self.notes)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One row."""

    title: str
    kind: str
    """`published`, `real` or `ours`."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows and columns."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    has_published: bool

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why there is a dash, for each that is not the paper's."""
        return gathered_reasons(self._measured, self._titles)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be known of the numbers."""
        return gathered_notes(self._measured, self._titles)

    @property
    def _titles(self) -> list[str]:
        return [line.title for line in self.lines if line.kind != "published"]

    @property
    def _measured(self) -> list[tuple[str, str, Cell]]:
        return [
            (column.heading, line.title, cell)
            for line in self.lines
            if line.kind != "published"
            for column, cell in zip(self.columns, line.cells, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A table of words."""

    section: str
    title: str = ""
    """Below the section's; empty where it has one table alone."""
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    reasons: tuple[str, ...] = ()
    """Why there is a dash, for each."""
    notes: tuple[str, ...] = ()
    """What must be known of the numbers."""
    shorts: tuple[str, ...] = ()
    """The measures in it."""


def gathered_reasons(cells: Iterable[tuple[str, str, Cell]], methods: Sequence[str]) -> tuple[str, ...]:
    """Why there are dashes, of cells that have a measure and a method."""
    return gathered(
        [Remark(what=what, method=method, text=cell.reason) for what, method, cell in cells if cell.text == NO_NUMBER],
        methods,
    )


def gathered_notes(cells: Iterable[tuple[str, str, Cell]], methods: Sequence[str]) -> tuple[str, ...]:
    """What must be known of the numbers, of the same."""
    return gathered(
        [Remark(what=what, method=method, text=note) for what, method, cell in cells for note in cell.notes], methods
    )


def main_table(results: Results) -> Table:
    """The paper's Table I: its rows, the real pictures as the detector sees them, then the methods of the run."""
    columns = [*_COLUMNS, *_quality_columns(results, fg=True)]
    return _table(results, columns, TABLE_1, list(results.methods))


def ablation_table(results: Results) -> Table | None:
    """The paper's Table II, where at least two blends were measured."""
    by_name = {one.name: one for one in results.methods}
    blends = [by_name[name] for name in ABLATION if name in by_name]
    if len(blends) < 2:
        return None
    columns = [
        *(column for column in _quality_columns(results, fg=False) if column.name != "kid"),
        _DAP,
        _MPJPE,
    ]
    return _table(results, columns, TABLE_2, blends, titles=BLEND_TITLES)


def _column(name: str, heading: str, decimals: int, *, higher: bool = False) -> Column:
    return Column(name=name, heading=heading, decimals=decimals, higher_is_better=higher)


_DAP: Final = _column("dap", "DAP", 2, higher=True)
_MPJPE: Final = _column("mpjpe", "MPJPE", 3)
_COLUMNS: Final = (
    _DAP,
    _column("dap_hands", "DAP hands", 2, higher=True),
    _MPJPE,
    _column("mpjpe_hands", "MPJPE hands", 3),
    _column("clipsim", "CLIPSIM", 2, higher=True),
)


def _quality_columns(results: Results, *, fg: bool) -> list[Column]:
    """FID and KID, and what was computed where Inception's weights were not there, by its own name."""
    end, tail = ("_fg", " fg") if fg else ("", "")
    columns = [_column(name + end, heading + tail, 2) for name, heading in (("fid", "FID"), ("kid", "KID"))]
    if any(measured_in(f"random{end}", method) for method in results.methods):
        columns.append(_column(f"random{end}", f"random features{tail}", 2))
    return columns


def measured_in(column: str, method: MethodResult) -> Measured | None:
    """A method's number in a column; None where there is none."""
    return next((one for one in method.measures.values() if one.column == column), None)


def _table(
    results: Results,
    columns: Sequence[Column],
    published: Sequence[Published],
    methods: Sequence[MethodResult],
    *,
    titles: Mapping[str, str] | None = None,
) -> Table:
    best = {column.name: _best(column, methods) for column in columns}
    lines = [_published_line(row, columns) for row in published]
    for method in sorted(methods, key=lambda one: not one.is_real):
        cells = tuple(_cell(column, method, results, best[column.name]) for column in columns)
        title = (titles or {}).get(method.name, method.title)
        lines.append(Line(title=title, kind="real" if method.is_real else "ours", cells=cells))
    return Table(columns=tuple(columns), lines=tuple(lines), has_published=bool(published))


def _best(column: Column, methods: Sequence[MethodResult]) -> float | None:
    """Of at least two methods that are not all alike; the real pictures are no method."""
    values = [
        measured.value
        for method in methods
        if not method.is_real and (measured := measured_in(column.name, method)) and measured.value is not None
    ]
    if len({round(value, column.decimals) for value in values}) < 2:
        return None
    return max(values) if column.higher_is_better else min(values)


def _cell(column: Column, method: MethodResult, results: Results, best: float | None) -> Cell:
    measured = measured_in(column.name, method)
    if measured is None:
        return Cell(text=NO_NUMBER, reason=_why_not(column, method, results))
    if measured.value is None:
        return Cell(text=NO_NUMBER, reason=measured.reason or "", notes=measured.notes)
    value, leading = (
        None if one is None else number_text(one, column.decimals, grow=measured.is_distance)
        for one in (measured.value, best)
    )
    return Cell(
        text=with_spread(measured, column.decimals),
        interval=interval_text(measured, column.decimals),
        is_best=not method.is_real and value == leading,
        notes=measured.notes,
    )


def _why_not(column: Column, method: MethodResult, results: Results) -> str:
    if method.is_real and column.name != "clipsim":
        return IS_REAL
    if column.name.endswith("_fg") and "foreground" in results.missing:
        return results.missing["foreground"]
    return results.missing.get("text" if column.name == "clipsim" else "features", "not measured")


def with_spread(measured: Measured, decimals: int | None = None) -> str:
    """The number, by its own decimals or others, and its standard deviation over subsets where it has one."""
    assert measured.value is not None
    numbers = [one for one in (measured.value, measured.spread) if one is not None]
    return " ± ".join(_shown(measured, number, decimals) for number in numbers)


def interval_text(measured: Measured, decimals: int | None = None) -> str:
    """`0.74 to 0.79`, or nothing."""
    if measured.interval is None:
        return ""
    ends = measured.interval.low, measured.interval.high
    return " to ".join(_shown(measured, end, decimals) for end in ends)


def _shown(measured: Measured, number: float, decimals: int | None) -> str:
    return number_text(number, measured.decimals if decimals is None else decimals, grow=measured.is_distance)


def number_text(value: float, decimals: int, *, grow: bool = False) -> str:
    """With so many decimals, or with `grow` up to four where fewer show zeros alone; no minus before zero."""
    shown = next((more for more in range(decimals, 5) if float(f"{value:.{more}f}")), decimals) if grow else decimals
    text = f"{value:.{shown}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _published_line(row: Published, columns: Sequence[Column]) -> Line:
    cells = []
    for column in columns:
        if column.name not in row.values:
            cells.append(Cell(text=NO_NUMBER, reason="the paper has no such number"))
            continue
        text = f"{row.values[column.name]:.{column.decimals}f}"
        if column.name in row.spread:
            text += f" ± {row.spread[column.name]:.{row.decimals.get(column.name + '_spread', 2)}f}"
        cells.append(Cell(text=text))
    return Line(title=row.title, kind="published", cells=tuple(cells))
