"""Results laid out as the paper's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from h2d.eval.measured import Measured
from h2d.eval.methods import ABLATION
from h2d.eval.published import TABLE_1, TABLE_2, Published
from h2d.eval.results import MethodResult, Results

NO_NUMBER: Final = "–"
BLEND_TITLES: Final = dict(zip(ABLATION, ("Bounding box", "Naive", "Sequential mask expansion"), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One measure as a column."""

    short: str
    """Of the results."""
    published: str | None
    """Of the paper's rows; None where the paper has no such number, as of random features."""
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


def main_table(results: Results) -> Table:
    """The paper's Table I: its rows, the real pictures as the detector sees them, then the methods of the run."""
    return _table(results, _columns(results), TABLE_1, list(results.methods))


def ablation_table(results: Results) -> Table | None:
    """The paper's Table II, where at least two blends were measured."""
    by_name = {one.name: one for one in results.methods}
    blends = [by_name[name] for name in ABLATION if name in by_name]
    if len(blends) < 2:
        return None
    columns = [
        *(
            column
            for column in _quality_columns(results, "")
            if "kernel" not in column.short and column.published != "kid"
        ),
        _column(results, "dap", "DAP", 2, True),
        _column(results, "mpjpe", "MPJPE", 3, False),
    ]
    return _table(results, columns, TABLE_2, blends, titles=BLEND_TITLES)


def _columns(results: Results) -> list[Column]:
    return [
        _column(results, "dap", "DAP", 2, True),
        _column(results, "dap_hands", "DAP hands", 2, True),
        _column(results, "mpjpe", "MPJPE", 3, False),
        _column(results, "mpjpe_hands", "MPJPE hands", 3, False),
        _column(results, "clipsim", "CLIPSIM", 2, True),
        *_quality_columns(results, "_foreground"),
    ]


def _column(results: Results, short: str, heading: str, decimals: int, higher: bool) -> Column:
    return Column(short=short, published=short, heading=heading, decimals=decimals, higher_is_better=higher)


def _quality_columns(results: Results, region: str) -> list[Column]:
    """FID and KID, as far as Inception's weights were there; else what was computed instead, by its own name."""
    shorts = {
        short for one in results.methods for short in one.measures if short.endswith(region or tuple("0123456789"))
    }
    tail = " fg" if region else ""
    published = "_fg" if region else ""
    columns = [
        Column(short=short, published=name + published, heading=heading + tail, decimals=2, higher_is_better=False)
        for name, heading in (("fid", "FID"), ("kid", "KID"))
        for short in [next((one for one in sorted(shorts) if one.startswith(f"{name}_")), f"{name}{region}")]
    ]
    for name, heading in (("random_features_frechet", "random features"),):
        columns += [
            Column(short=short, published=None, heading=heading + tail, decimals=2, higher_is_better=False)
            for short in sorted(shorts)
            if short.startswith(name)
        ]
    return columns


def _table(
    results: Results,
    columns: Sequence[Column],
    published: Sequence[Published],
    methods: Sequence[MethodResult],
    *,
    titles: Mapping[str, str] | None = None,
) -> Table:
    best = {column.short: _best(column, methods) for column in columns}
    lines = [_published_line(row, columns) for row in published]
    for method in sorted(methods, key=lambda one: not one.is_real):
        cells = tuple(_cell(column, method, results, best[column.short]) for column in columns)
        title = (titles or {}).get(method.name, method.title)
        lines.append(Line(title=title, kind="real" if method.is_real else "ours", cells=cells))
    return Table(columns=tuple(columns), lines=tuple(lines), has_published=bool(published))


def _best(column: Column, methods: Sequence[MethodResult]) -> float | None:
    """Of at least two methods that are not all alike; the real pictures are no method."""
    values = [
        measured.value
        for method in methods
        if not method.is_real and (measured := method.measures.get(column.short)) and measured.value is not None
    ]
    if len({round(value, column.decimals) for value in values}) < 2:
        return None
    return max(values) if column.higher_is_better else min(values)


def _cell(column: Column, method: MethodResult, results: Results, best: float | None) -> Cell:
    measured = method.measures.get(column.short)
    if measured is None:
        return Cell(text=NO_NUMBER, reason=_why_not(column, method, results))
    if measured.value is None:
        return Cell(text=NO_NUMBER, reason=measured.reason or "", notes=measured.notes)

    def shown(value: float) -> str:
        return number_text(value, column.decimals, grow=grows(column.short))

    return Cell(
        text=with_spread(measured, column.decimals, grow=grows(column.short)),
        interval=interval_text(measured, column.decimals, grow=grows(column.short)),
        is_best=best is not None and not method.is_real and shown(measured.value) == shown(best),
        notes=measured.notes,
    )


def _why_not(column: Column, method: MethodResult, results: Results) -> str:
    if method.is_real and column.published != "clipsim":
        return "the real pictures are what is compared with"
    if column.short.endswith("foreground") and "foreground" in results.missing:
        return results.missing["foreground"]
    for name in ("features", "text") if column.published in (None, "fid", "kid", "fid_fg", "kid_fg") else ("text",):
        if name in results.missing:
            return results.missing[name]
    return "not measured"


def with_spread(measured: Measured, decimals: int, *, grow: bool = False) -> str:
    """The number, and its standard deviation over subsets where it has one."""
    assert measured.value is not None
    text = number_text(measured.value, decimals, grow=grow)
    return text if measured.spread is None else f"{text} ± {number_text(measured.spread, decimals, grow=grow)}"


def number_text(value: float, decimals: int, *, grow: bool = False) -> str:
    """With so many decimals, or with `grow` up to four where fewer show zeros alone; no minus before zero."""
    shown = next((more for more in range(decimals, 5) if float(f"{value:.{more}f}")), decimals) if grow else decimals
    text = f"{value:.{shown}f}"
    return text.lstrip("-") if float(text) == 0 else text


def grows(short: str) -> bool:
    """Whether a measure may be so small that its usual decimals show nothing: distances between sets."""
    return short.startswith(("fid", "kid", "random"))


def interval_text(measured: Measured, decimals: int, *, grow: bool = False) -> str:
    """`0.74 to 0.79`, or nothing."""
    if measured.interval is None:
        return ""
    low, high = (number_text(end, decimals, grow=grow) for end in (measured.interval.low, measured.interval.high))
    return f"{low} to {high}"


def _published_line(row: Published, columns: Sequence[Column]) -> Line:
    cells = []
    for column in columns:
        if column.published is None or column.published not in row.values:
            cells.append(Cell(text=NO_NUMBER, reason="the paper has no such number"))
            continue
        text = f"{row.values[column.published]:.{column.decimals}f}"
        if column.published in row.spread:
            text += f" ± {row.spread[column.published]:.{row.decimals.get(column.published + '_spread', 2)}f}"
        cells.append(Cell(text=text))
    return Line(title=row.title, kind="published", cells=tuple(cells))
