"""Two reports side by side, or why they cannot be: numbers compare only on one list and under equal conventions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h2d.errors import UserError
from h2d.eval.evidence import Evidence, evidence_of
from h2d.eval.intervals import PairedDifference, paired_difference
from h2d.eval.measured import Measured, Undefined
from h2d.eval.pictures import flat
from h2d.eval.results import MethodResult, Results, read_results
from h2d.eval.summary import NO_RESAMPLING, resampling

_MAX_NAMED = 3
_SAME = 1e-6
"""Two computations of one number differ by less, relative and absolute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One measure of one method in two reports."""

    method: str
    short: str
    first: Measured
    second: Measured
    paired: PairedDifference | None
    """First less second on the same pictures."""
    reason: str = ""
    """Why there is no such difference."""


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
    return [row for pair in pairs for row in _rows((first, second), results, pair)]


def _rows(
    reports: tuple[Path, Path], results: tuple[Results, Results], pair: tuple[MethodResult, MethodResult]
) -> Iterator[Comparison]:
    """Of one method, measure by measure."""
    one, other = pair
    evidence, lacking = [], ""
    try:
        evidence = [
            evidence_of(report if report.is_dir() else report.parent, result, method.name)
            for report, result, method in zip(reports, results, pair, strict=True)
        ]
    except Undefined as why:
        lacking = str(why)
    for short in (short for short in one.measures if short in other.measures):
        paired, reason = None, lacking
        numbers = one.measures[short], other.measures[short]
        if evidence:
            try:
                paired = _paired(evidence, numbers, short)
            except Undefined as why:
                reason = str(why)
        yield Comparison(
            method=one.title if one.name == other.name else f"{one.title} / {other.title}",
            short=short,
            first=numbers[0],
            second=numbers[1],
            paired=paired,
            reason=reason,
        )


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
        named = (one.measures.get(short) or other.measures[short]).name
        lines.append(("", f"{named}: measured in one of them only"))
    unique = {name or line: line for name, line in sorted(lines, key=lambda line: line[1], reverse=True)}
    return sorted(unique.values())


def _paired(evidence: Sequence[Evidence], numbers: tuple[Measured, Measured], short: str) -> PairedDifference:
    """Both resampled alike, by the first report's options; raises `Undefined`."""
    for one, number in zip(evidence, numbers, strict=True):
        if short not in one.statistics:
            raise Undefined(f"{one.run} was measured by another h2d: h2d evaluate report {one.run}")
        again = one.statistics[short].on()
        if number.value is None or not math.isclose(again, number.value, rel_tol=_SAME, abs_tol=_SAME):
            raise Undefined(f"{one.run} holds other pictures than its report is of: h2d evaluate report {one.run}")
    choices = evidence[0].choices
    if not choices.resamples:
        raise Undefined(NO_RESAMPLING)
    first, second = (one.statistics[short] for one in evidence)
    return paired_difference(first, second, groups=evidence[0].groups, **resampling(first, choices))


def as_plain_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [
        {
            "method": one.method, "measure": one.short, "first": one.first.value, "second": one.second.value,
            "difference": None if one.paired is None else one.paired.difference,
            "low": None if one.paired is None else one.paired.interval.low,
            "high": None if one.paired is None else one.paired.interval.high,
            "p_value": None if one.paired is None else one.paired.p_value,
            "reason": one.reason or None,
        }
        for one in comparisons
    ]  # fmt: skip
