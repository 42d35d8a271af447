"""A number of a report, and what it is computed from.

A `Statistic` gives its number for any choice of its pictures, so that one object serves the value, a break-down by
gesture or size, a bootstrap interval and a paired difference. Where there is no number it says why: no NaN gets out.
Axis legend: n pictures, s subsets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from h2d.config import as_plain

Counts: TypeAlias = Int64[np.ndarray, " n"]
"""How often each picture of the list is taken: ones for the whole list, 0 and 1 for a part of it."""


class Undefined(ValueError):  # noqa: N818  # not a mistake of anybody
    """There is no number for these pictures; the message says why in a few words."""


@runtime_checkable
class Statistic(Protocol):
    """A number of a list of pictures."""

    @property
    def num_pictures(self) -> int:
        """How long the list is."""

    def on(self, counts: Counts | None = None) -> float:
        """The number for the pictures taken `counts` times, by default each once; raises `Undefined`."""


REPEATS: Final = "a resample repeats pictures, and repeated pictures bias a kernel distance"
"""Why a statistic over subsets has no bootstrap interval."""
NO_SPREAD: Final = "no spread: there is one subset alone"


@runtime_checkable
class OverSubsets(Statistic, Protocol):
    """A number that is the mean over random subsets of the list: these have a spread, and it has no interval."""

    def over_subsets(self, counts: Counts | None = None) -> Float64[np.ndarray, " s"]:
        """The number of each subset, of one alone where all would be the same; raises `Undefined`."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ratio:
    """Sum over sum. A mean over pictures, people or joints, as `weights` counts one for each of them."""

    sums: Float64[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"]
    nothing: str = "nothing to measure"
    """Why there is no number where all weights are 0."""

    def __post_init__(self) -> None:
        assert self.sums.shape == self.weights.shape
        assert np.isfinite(self.sums).all(), "a picture without a value has sum 0 and weight 0"
        assert (self.weights >= 0).all()

    @property
    def num_pictures(self) -> int:
        """How long the list is."""
        return len(self.sums)

    @property
    def per_picture(self) -> Float64[np.ndarray, " n"]:
        """Each picture's own mean; NaN where it has none."""
        means = np.full(len(self.sums), np.nan)
        return np.divide(self.sums, self.weights, out=means, where=self.weights > 0)

    def on(self, counts: Counts | None = None) -> float:
        """The weighted mean; raises `Undefined` where nothing counts."""
        total = self.weights.sum() if counts is None else self.weights @ counts
        if total <= 0:
            raise Undefined(self.nothing)
        return float((self.sums.sum() if counts is None else self.sums @ counts) / total)


def mean_of(values: Float64[np.ndarray, " n"], *, nothing: str = "nothing to measure") -> Ratio:
    """The mean over pictures; those with NaN are left out."""
    there = np.isfinite(values)
    return Ratio(sums=np.where(there, values, 0.0), weights=there.astype(np.float64), nothing=nothing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where the number may lie, by resampling the pictures."""

    low: float
    high: float
    level: float
    """Between 0 and 1: 0.95 holds the true number in 95 of 100 such lists."""
    resamples: int
    """How many had a number."""
    method: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One number with all that it takes to read it; `value` is None exactly where `reason` says why."""

    name: str
    """For people: `DAP hands`."""
    value: float | None
    num_pictures: int
    higher_is_better: bool
    column: str = ""
    """Of the paper's tables, `dap_hands` or `fid_fg`, or beside them, `random_fg`; empty where it has none."""
    decimals: int = 3
    """With which it is shown."""
    is_distance: bool = False
    """Between sets of pictures: it may be so small that it takes more decimals."""
    conventions: Mapping[str, Any] = field(default_factory=dict)
    """Whatever changes the number, JSON-ready: two numbers compare only where these are equal."""
    reason: str | None = None
    spread: float | None = None
    """Standard deviation over random subsets, where the number is a mean over several."""
    interval: Interval | None = None
    notes: tuple[str, ...] = ()
    """What a reader must know of this number, a sentence each."""

    def __post_init__(self) -> None:
        assert (self.value is None) == (self.reason is not None), "a number, or the reason why there is none"
        assert self.value is None or np.isfinite(self.value), self.name

    def as_plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return as_plain(self)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measure:
    """A statistic with its name and conventions: a number as soon as it is said of which pictures."""

    name: str
    statistic: Statistic
    higher_is_better: bool
    conventions: Mapping[str, Any]
    column: str = ""
    decimals: int = 3
    is_distance: bool = False
    """As of the number."""
    has_interval: bool = True
    """Whether a report resamples its pictures; figures beside another that it does take time alone."""
    notes: tuple[str, ...] = ()

    def measured(self, counts: Counts | None = None) -> Measured:
        """The number, or why there is none, of the whole list or of the pictures that `counts` takes."""
        value, spread, reason, notes = None, None, None, self.notes
        try:
            if isinstance(self.statistic, OverSubsets):
                values = self.statistic.over_subsets(counts)
                value = float(values.mean())
                spread = float(values.std()) if len(values) > 1 else None
                notes = notes if len(values) > 1 else (*notes, NO_SPREAD)
            else:
                value = self.statistic.on(counts)
        except Undefined as why:
            reason = str(why)
        return Measured(
            name=self.name,
            value=value,
            reason=reason,
            spread=spread,
            num_pictures=self.statistic.num_pictures if counts is None else int(counts.sum()),
            higher_is_better=self.higher_is_better,
            column=self.column,
            decimals=self.decimals,
            is_distance=self.is_distance,
            conventions=self.conventions,
            notes=notes,
        )


Measures: TypeAlias = dict[str, Measure]
"""By short name, as `dap_hands`, in the order of a table."""
