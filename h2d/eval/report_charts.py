"""The report's drawings as numbers: dots with intervals, and PCK curves; the template draws them as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from h2d.eval.report_tables import Column, interval_text, measured_in, number_text, with_spread
from h2d.eval.results import MethodResult, Results

COLOURS: Final = ("#0f766e", "#c2410c", "#4f46e5", "#be185d", "#a16207", "#0369a1", "#4d7c0f", "#7e22ce")
REAL_COLOUR: Final = "#6b7280"

CURVE_WIDTH, CURVE_HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 446, 12, 222
DOTS_LEFT, DOTS_RIGHT, _ROW = 12, 288, 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """A method's number on an axis, with its interval."""

    title: str
    colour: str
    y: float
    x: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dots:
    """One measure of all methods."""

    title: str
    better: str
    dots: tuple[Dot, ...]
    marks: tuple[tuple[float, str], ...]
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A method's PCK."""

    title: str
    colour: str
    points: str
    is_real: bool
    area: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """PCK of some points of all methods."""

    title: str
    curves: tuple[Curve, ...]
    x_marks: tuple[tuple[float, str], ...]
    y_marks: tuple[tuple[float, str], ...]


def colours_of(results: Results) -> dict[str, str]:
    """A colour for each method, ours first."""
    names = [method.name for method in reversed(results.methods) if not method.is_real]
    chosen = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    return {method.name: chosen.get(method.name, REAL_COLOUR) for method in results.methods}


def dots(column: Column, methods: Sequence[MethodResult], colours: Mapping[str, str]) -> Dots | None:
    """Dots of one measure; None where no method has a number."""
    found = [(method, measured) for method in methods if (measured := measured_in(column.name, method))]
    known = [(method, measured, measured.value) for method, measured in found if measured.value is not None]
    if not known:
        return None
    ends = [
        end for _, one, value in known for end in ((one.interval.low, one.interval.high) if one.interval else (value,))
    ]
    low, high, step = _axis(min(ends), max(ends))
    drawn = []
    for number, (method, measured, value) in enumerate(known):
        interval = measured.interval
        said = interval_text(measured, column.decimals)
        drawn.append(
            Dot(
                title=method.title,
                colour=colours[method.name],
                y=14 + number * _ROW,
                x=_at(value, low, high),
                low=None if interval is None else _at(interval.low, low, high),
                high=None if interval is None else _at(interval.high, low, high),
                text=with_spread(measured, column.decimals) + (f" ({said})" if said else ""),
            )
        )
    marks = np.arange(low, high + step / 2, step)
    return Dots(
        title=column.heading,
        better="higher is better" if column.higher_is_better else "lower is better",
        dots=tuple(drawn),
        marks=tuple((_at(float(mark), low, high), f"{mark:g}") for mark in np.round(marks, 9)),
        height=14 + len(known) * _ROW + 22,
    )


def pck_curves(title: str, which: str, results: Results, colours: Mapping[str, str]) -> Curves | None:
    """PCK by threshold; None where no method has one."""
    thresholds = results.pck_thresholds
    drawn = []
    for method in results.methods:
        if which in method.pck:
            points = " ".join(
                f"{_x(threshold / thresholds[-1]):.1f},{_y(share):.1f}"
                for threshold, share in zip(thresholds, method.pck[which], strict=True)
            )
            area = method.measures.get("pck" if which == "all" else f"pck_{which}")
            drawn.append(
                Curve(
                    title=method.title, colour=colours[method.name], points=points, is_real=method.is_real,
                    area="" if area is None or area.value is None else number_text(area.value, 2),
                )
            )  # fmt: skip
    if not drawn:
        return None
    return Curves(
        title=title,
        curves=tuple(drawn),
        x_marks=tuple((_x(share), f"{share * thresholds[-1]:.2f}") for share in (0, 1 / 3, 2 / 3, 1)),
        y_marks=tuple((_y(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)),
    )


def _axis(low: float, high: float) -> tuple[float, float, float]:
    """Limits around the values at round numbers, and the step between marks."""
    span = (high - low) or max(abs(high), 1e-3) * 0.2
    rough = span / 3
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999))
    first, last = float(np.floor(low / step + 1e-9) * step), float(np.ceil(high / step - 1e-9) * step)
    return first, max(last, first + step), step


def _at(value: float, low: float, high: float) -> float:
    return round(DOTS_LEFT + (value - low) / (high - low) * (DOTS_RIGHT - DOTS_LEFT), 1)


def _x(share: float) -> float:
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def _y(share: float) -> float:
    return round(_BOTTOM - share * (_BOTTOM - _TOP), 1)
