"""The numbers of a run, as they lie in `results.json`: what reports are made from and compared by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from h2d.config import as_plain
from h2d.errors import UserError
from h2d.eval.measured import Interval, Measured
from h2d.manifests.files import write_json

RESULTS_FILE: Final = "results.json"
_FORMAT: Final = "h2d_evaluation"
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some pictures of the list: those of a gesture, or with hands of a size."""

    name: str
    num_pictures: int
    measures: Mapping[str, Measured]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A method's number less another's on the same pictures, or why there is none."""

    method: str
    than: str
    short: str
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """All that was measured of one method, or of the real pictures."""

    name: str
    title: str
    is_real: bool
    made: Mapping[str, Any]
    """How its pictures were made."""
    measures: Mapping[str, Measured]
    gestures: tuple[Part, ...] = ()
    hand_sizes: tuple[Part, ...] = ()
    pck: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Share of points within each of `Results.pck_thresholds`: of `all` and of `hands`."""
    best: tuple[int, ...] = ()
    worst: tuple[int, ...] = ()
    """Numbers of pictures, by how their hands fit the pose."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """With what they were made in effect, as far as it is said."""
    seconds_per_picture: float | None = None
    lost: Mapping[str, str] = field(default_factory=dict)
    """Pictures at which looking died, by their id, and how: they count as if nobody were in them."""
    num_notes: Mapping[str, int] = field(default_factory=dict)
    """What making the pictures remarked, and how often."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """A run."""

    picture_list: Mapping[str, Any]
    """The list's facts, with its `sha256` and `count`."""
    methods: tuple[MethodResult, ...]
    differences: tuple[Difference, ...]
    missing: Mapping[str, str]
    """What was not measured at all, and why."""
    pck_thresholds: tuple[float, ...]
    intervals: Mapping[str, Any]
    """Resamples, level, and by what pictures were grouped."""
    options: Mapping[str, Any]
    software: Mapping[str, str]
    looks: Mapping[str, str] = field(default_factory=dict)
    """The fingerprint of each look: what was seen in a folder's pictures lies in its `looks/<look>/<fingerprint>`."""
    measured_on: str = ""
    """Year, month and day, UTC."""
    unfinished: Mapping[str, str] = field(default_factory=dict)
    """Methods that the run holds but that are not measured, by name: which pictures lack, and what makes them."""

    def write(self, out: Path) -> Path:
        """Into a run's folder, atomically."""
        path = out / RESULTS_FILE
        write_json(path, {_FORMAT: VERSION, **as_plain(self)})
        return path


def read_results(path: Path) -> Results:
    """Of a run's folder or the file itself; raises `UserError` in one line."""
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        version = int(plain.pop(_FORMAT))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}: measure first: h2d evaluate run") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: not the results of h2d evaluate") from None
    if version > VERSION:
        raise UserError(f"{file}: version {version} is newer than {VERSION}, which this h2d reads: upgrade h2d")
    try:
        return _results(plain)
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(
            f"{file}: damaged ({type(error).__name__}: {error}): h2d evaluate report makes it again"
        ) from None


def _results(plain: Mapping[str, Any]) -> Results:
    facts = plain["picture_list"]
    return Results(
        **{
            **plain,
            "picture_list": {"sha256": facts["sha256"], "count": facts["count"], **facts},
            "methods": tuple(_method(method) for method in plain["methods"]),
            "differences": tuple(
                Difference(**{**one, "interval": _interval(one["interval"])}) for one in plain["differences"]
            ),
            "pck_thresholds": tuple(plain["pck_thresholds"]),
        }
    )


def _method(plain: Mapping[str, Any]) -> MethodResult:
    parts = {
        name: tuple(Part(**{**part, "measures": _measures(part["measures"])}) for part in plain[name])
        for name in ("gestures", "hand_sizes")
    }
    return MethodResult(
        **{
            **plain,
            **parts,
            "measures": _measures(plain["measures"]),
            "pck": {name: tuple(curve) for name, curve in plain["pck"].items()},
            "best": tuple(plain["best"]),
            "worst": tuple(plain["worst"]),
        }
    )


def _measures(plain: Mapping[str, Any]) -> dict[str, Measured]:
    return {
        short: Measured(**{**one, "interval": _interval(one["interval"]), "notes": tuple(one["notes"])})
        for short, one in plain.items()
    }


def _interval(plain: Mapping[str, Any] | None) -> Interval | None:
    return None if plain is None else Interval(**plain)
