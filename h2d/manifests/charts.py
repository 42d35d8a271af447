"""Numbers laid out as bars, in the units of a 480 x 200 drawing; the report's template draws them as SVG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from h2d.manifests.spread import Spread

WIDTH: Final = 480
HEIGHT: Final = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 462, 10, 170
_STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A number beside an axis, at a place along it."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """A histogram, laid out."""

    title: str
    about: str
    bars: tuple[Bar, ...]
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]
    median: Mark


def histogram(
    title: str, spread: Spread, *, unit: str = "", limits: tuple[float, float] | None = None
) -> Histogram | None:
    """Lay out a histogram of about twenty bars; the largest half percent share the last bar; None without values."""
    if not len(spread):
        return None
    low, high = limits or (spread.quantile(0), spread.quantile(0.995))
    step = _nice_step((high - low) / 20) if high > low else max(1.0, abs(low) * 0.05)
    first = np.floor(low / step + 1e-9)
    num_bins = max(1, int(np.ceil(high / step - 1e-9) - first), 1 if high > low else 8)
    if high == low:
        first -= num_bins // 2
    edges = (first + np.arange(num_bins + 1)) * step
    counts, _ = np.histogram(np.clip(spread.values, edges[0], edges[-1]), edges, weights=spread.counts)
    y_step = max(1.0, _nice_step(float(counts.max()) / 4))
    y_top = float(np.ceil(counts.max() / y_step) * y_step)
    slot = (_RIGHT - _LEFT) / num_bins

    def x_of(value: float) -> float:
        return round(float(_LEFT + (value - edges[0]) / step * slot), 2)

    def y_of(count: float) -> float:
        return round(float(_BOTTOM - count / y_top * (_BOTTOM - _TOP)), 2)

    bars = tuple(
        Bar(
            x=round(_LEFT + number * slot + 0.75, 2),
            y=y_of(count),
            width=round(slot - 1.5, 2),
            height=round(_BOTTOM - y_of(count), 2),
            about=f"{edges[number]:g} to {edges[number + 1]:g}{unit}: {count:,}",
        )
        for number, count in enumerate(counts.tolist())
        if count
    )
    every = max(1, -(-num_bins // 6))
    median = spread.quantile(0.5)
    return Histogram(
        title=title,
        about=f"median {median:.3g}{unit}, {len(spread):,} values",
        bars=bars,
        x_marks=tuple(Mark(at=x_of(edge), text=f"{edge:g}") for edge in edges[::every].tolist()),
        y_marks=tuple(
            Mark(at=y_of(count), text=_short(count)) for count in np.arange(0, y_top + y_step / 2, y_step).tolist()
        ),
        median=Mark(at=x_of(median), text=f"median {median:.3g}{unit}"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A part of a whole, as a bar in a table."""

    part: int
    whole: int

    @property
    def share(self) -> float:
        """0..1; 0 of an empty whole."""
        return self.part / self.whole if self.whole else 0.0

    @property
    def text(self) -> str:
        """As a percentage; 100 % and 0 % only when it is exactly that."""
        if not self.whole:
            return "–"
        percent = round(self.share * 100)
        if 0 < self.part < self.whole:
            percent = min(99, max(1, percent))
        return f"{percent} %"


@dataclass(frozen=True, kw_only=True, slots=True)
class RateRow:
    """One line of the table of rates."""

    name: str
    num_pictures: int
    rates: Mapping[str, Rate]


def _nice_step(rough: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(rough, 1e-9)))
    return float(next(step * power for step in _STEPS if step * power >= rough * 0.999))


def _short(count: float) -> str:
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:g}{letter}"
    return f"{count:g}"
