"""Two reports side by side, or why they cannot be: numbers compare only on one list and under equal conventions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from h2d.errors import UserError
from h2d.eval.intervals import PairedDifference, paired_difference
from h2d.eval.measured import Measured, Undefined, mean_of
from h2d.eval.pictures import flat
from h2d.eval.results import MethodResult, Results, read_results
from h2d.eval.summary import PER_PICTURE_FILE, groups_of

_MAX_NAMED = 3
_SAME_MEAN = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One measure of one method in two reports."""

    method: str
    short: str
    first: Measured
    second: Measured
    paired: PairedDifference | None
    """First less second on the same pictures, where the number is a mean over them."""


def compare(first: Path, second: Path) -> list[Comparison]:
    """Compare the methods that two runs have in common, or their only ones.

    Raises `UserError` where lists or conventions differ, naming the first differences, or where no method is common.
    """
    results = read_results(first), read_results(second)
    _check_lists(results, first, second)
    pairs = _pairs(results, first, second)
    differing = [line for one, other in pairs for line in _differing(one, other)]
    if differing:
        more = f"; {len(differing) - _MAX_NAMED} more differ" if len(differing) > _MAX_NAMED else ""
        raise UserError(
            f"{first} and {second} cannot be compared: {'; '.join(differing[:_MAX_NAMED])}{more}: measure both alike"
        )
    tables = _per_picture(first), _per_picture(second)
    return [
        Comparison(
            method=one.title if one.name == other.name else f"{one.title} / {other.title}",
            short=short,
            first=one.measures[short],
            second=other.measures[short],
            paired=_paired(tables, (one, other), short, results[0]),
        )
        for one, other in pairs
        for short in one.measures
        if short in other.measures
    ]


def _check_lists(results: tuple[Results, Results], first: Path, second: Path) -> None:
    one, other = (str(result.picture_list["sha256"]) for result in results)
    if one != other:
        sizes = " and ".join(str(result.picture_list["count"]) for result in results)
        raise UserError(
            f"{first} and {second} cannot be compared: they are of different lists ({one[:12]}, {other[:12]}; {sizes}"
            " pictures): measure both on one list"
        )


def _pairs(results: tuple[Results, Results], first: Path, second: Path) -> list[tuple[MethodResult, MethodResult]]:
    ours, theirs = ([method for method in result.methods if not method.is_real] for result in results)
    by_name = {method.name: method for method in theirs}
    common = [(method, by_name[method.name]) for method in ours if method.name in by_name]
    if common:
        return common
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    names = [", ".join(method.name for method in methods) for methods in (ours, theirs)]
    raise UserError(f"{first} has {names[0]}, {second} has {names[1]}: no method is in both")


def _differing(one: MethodResult, other: MethodResult) -> list[str]:
    lines = []
    for short in one.measures.keys() & other.measures.keys():
        stated = [flat(dict(method.measures[short].conventions)) for method in (one, other)]
        for name in sorted(stated[0].keys() | stated[1].keys()):
            values = [one_stated.get(name) for one_stated in stated]
            if values[0] != values[1]:
                lines.append((name, f"{one.measures[short].name}: {name} is {values[0]!r} and {values[1]!r}"))
    for short in one.measures.keys() ^ other.measures.keys():
        if short.startswith(("fid", "kid", "random", "clipsim")):
            named = (one.measures.get(short) or other.measures[short]).name
            lines.append(("", f"{named}: measured in one of them only"))
    unique = {name or line: line for name, line in sorted(lines, key=lambda line: line[1], reverse=True)}
    return sorted(unique.values())


def _per_picture(run: Path) -> pd.DataFrame | None:
    folder = run if run.is_dir() else run.parent
    file = folder / PER_PICTURE_FILE
    return pd.read_parquet(file) if file.is_file() else None


def _paired(
    tables: Sequence[pd.DataFrame | None], methods: tuple[MethodResult, MethodResult], short: str, results: Results
) -> PairedDifference | None:
    """Of a number that is the plain mean of the pictures' own; None for others, as AP and FID."""
    resamples = int(results.intervals["resamples"])
    values = []
    for table, method in zip(tables, methods, strict=True):
        if table is None or short not in table or resamples < 2:
            return None
        rows = table[table["method"] == method.name].sort_values("number")
        statistic = mean_of(rows[short].to_numpy(np.float64))
        whole = method.measures[short].value
        try:
            if whole is None or abs(statistic.on() - whole) > _SAME_MEAN:
                return None
        except Undefined:
            return None
        values.append((statistic, rows))
    rows = values[0][1]
    persons = rows["subject"].fillna(rows["id"]).tolist()
    try:
        return paired_difference(
            values[0][0], values[1][0], rng=np.random.default_rng(int(results.intervals["seed"])),
            resamples=resamples, level=float(results.intervals["level"]), groups=groups_of(persons),
        )  # fmt: skip
    except Undefined:
        return None


def as_plain_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [
        {
            "method": one.method, "measure": one.short, "first": one.first.value, "second": one.second.value,
            "difference": None if one.paired is None else one.paired.difference,
            "low": None if one.paired is None else one.paired.interval.low,
            "high": None if one.paired is None else one.paired.interval.high,
            "p_value": None if one.paired is None else one.paired.p_value,
            "reason": one.first.reason or one.second.reason,
        }
        for one in comparisons
    ]  # fmt: skip
