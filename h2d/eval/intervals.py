"""Bootstrap: how far a number would move with other pictures, and whether two methods really differ on the same ones.

Pictures are drawn anew with replacement, whole groups of them (a person's pictures) where groups are given.
Axis legend: n pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int64

from h2d.errors import UserError
from h2d.eval.measured import REPEATS, Counts, Interval, Measure, Measured, OverSubsets, Statistic, Undefined

Method: TypeAlias = Literal["percentile", "centred"]
"""`percentile`: the quantiles of the resampled numbers. `centred`: the same, moved so that their median is the number
itself, for one that repeated pictures shift: Frechet's distance grows by them, beyond any percentile. By the median
and not the mean, so that the interval always holds the number; a distance's is cut at 0, below which there is none."""

MIN_SHARE_DEFINED = 0.9
"""An interval needs a number on this share of the resamples. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """The first method's number less the second's, on the same pictures."""

    difference: float
    interval: Interval
    p_value: float
    """Two-sided: twice the smaller share of resamples on one side of zero; never below 2 / (resamples + 1)."""


def bootstrap(
    statistic: Statistic,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method = "percentile",
    groups: Int64[np.ndarray, " n"] | None = None,
    counts: Counts | None = None,
) -> Interval:
    """The number's interval; `counts` restricts it to a part of the list.

    Raises `Undefined` where there is no number, fewer than two pictures or groups to draw from, no number on more than
    a tenth of the resamples, the same number on all, or for a kernel distance; `UserError` where options are out of
    range.
    """
    check_resampling(resamples, level)
    _check_repeats(statistic)
    centre = statistic.on(counts)
    values, reason = [], ""
    for drawn in _resampled(statistic.num_pictures, rng, resamples, groups, counts):
        try:
            values.append(statistic.on(drawn))
        except Undefined as why:
            reason = str(why)
    interval = _interval(values, reason, centre, resamples, level, method)
    if min(values) == max(values):
        raise Undefined("every resample has the same number")
    return replace(interval, low=max(0.0, interval.low)) if method == "centred" else interval


def with_interval(
    measure: Measure,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method = "percentile",
    groups: Int64[np.ndarray, " n"] | None = None,
    counts: Counts | None = None,
) -> Measured:
    """The number with its interval; where only the interval cannot be had, a note says why."""
    measured = measure.measured(counts)
    if measured.value is None:
        return measured
    try:
        interval = bootstrap(
            measure.statistic,
            rng=rng, resamples=resamples, level=level, method=method, groups=groups, counts=counts,
        )  # fmt: skip
    except Undefined as why:
        return replace(measured, notes=(*measured.notes, f"no interval: {why}"))
    return replace(measured, interval=interval)


def paired_difference(
    first: Statistic,
    second: Statistic,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method = "percentile",
    groups: Int64[np.ndarray, " n"] | None = None,
    counts: Counts | None = None,
) -> PairedDifference:
    """How two methods differ on one list: each resample takes the same pictures of both.

    Raises `UserError` where the lists are not equally long, otherwise as `bootstrap`.
    """
    check_resampling(resamples, level)
    _check_repeats(first)
    if first.num_pictures != second.num_pictures:
        raise UserError(
            f"{first.num_pictures} and {second.num_pictures} pictures cannot be paired: measure both on the same list"
        )
    centre = first.on(counts) - second.on(counts)
    differences, reason = [], ""
    for drawn in _resampled(first.num_pictures, rng, resamples, groups, counts):
        try:
            differences.append(first.on(drawn) - second.on(drawn))
        except Undefined as why:
            reason = str(why)
    interval = _interval(differences, reason, centre, resamples, level, method)
    values = np.array(differences)
    if method == "centred":
        values += centre - np.median(values)
    one_side = 1 + min((values <= 0).sum(), (values >= 0).sum())
    return PairedDifference(
        difference=centre, interval=interval, p_value=float(min(1.0, 2 * one_side / (len(values) + 1)))
    )


def check_resampling(resamples: int, level: float = 0.95, *, name: str = "resamples") -> None:
    """Raise `UserError` where options are out of range."""
    if resamples < 2:
        raise UserError(f"{name} is {resamples}: give at least 2, 1000 for figures that are reported")
    if not 0 < level < 1:
        raise UserError(f"level is {level}: give a share between 0 and 1, as 0.95")


def _check_repeats(statistic: Statistic) -> None:
    if isinstance(statistic, OverSubsets):
        raise Undefined(REPEATS)


def _resampled(
    num_pictures: int,
    rng: np.random.Generator,
    resamples: int,
    groups: Int64[np.ndarray, " n"] | None,
    counts: Counts | None,
) -> Iterator[Counts]:
    """How often each picture is taken, once for each resample; only pictures of `counts` take part."""
    taken = np.ones(num_pictures, np.int64) if counts is None else counts
    if groups is not None and len(groups) != num_pictures:
        raise UserError(f"{len(groups)} groups for {num_pictures} pictures: give one group for each picture")
    names = np.arange(num_pictures) if groups is None else groups
    present = np.unique(names[taken > 0])
    if len(present) < 2:
        what = "picture" if groups is None else "group"
        raise Undefined(f"only {len(present)} {what} to resample")
    number = np.searchsorted(present, names).clip(max=len(present) - 1)
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, len(present), len(present)), minlength=len(present))
        yield np.where(taken > 0, drawn[number] * taken, 0)


def _interval(
    values: list[float], reason: str, centre: float, resamples: int, level: float, method: Method
) -> Interval:
    if not values:
        raise Undefined(reason)
    if len(values) < MIN_SHARE_DEFINED * resamples:
        raise Undefined(f"only {len(values)} of {resamples} resamples have a number: {reason}")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    if method == "centred":
        shift = centre - np.median(values)
        low, high = low + shift, high + shift
    return Interval(low=float(low), high=float(high), level=level, resamples=len(values), method=method)
