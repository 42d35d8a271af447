"""From a run's measures to its results: intervals, parts, differences, best and worst. Axis legend: n pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from h2d.config import as_plain
from h2d.eval.feature_distance import FrechetDistance
from h2d.eval.intervals import paired_difference, with_interval
from h2d.eval.looking import Looks
from h2d.eval.looks.base import problems_in
from h2d.eval.measured import Measure, Measured, Measures, Ratio, Statistic, Undefined
from h2d.eval.options import MeasureConfig
from h2d.eval.pairing import paired_people
from h2d.eval.parts import by_gesture, by_hand_size, hand_shares
from h2d.eval.picture_list import PictureList
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.placing import Watch
from h2d.eval.pose_accuracy import PCK_THRESHOLDS, PoseConventions, pck
from h2d.eval.poses import PoseSet
from h2d.eval.results import Difference, MethodResult, Part, Results
from h2d.eval.settings import settings_of
from h2d.machine import version_of
from h2d.pose.layouts import LEFT_HAND, RIGHT_HAND

PER_PICTURE_FILE: Final = "per_picture.parquet"
IN_PARTS: Final = ("dap", "dap_hands", "oks_hands", "mpjpe_hands", "found_hands", "finger_count", "clipsim")
"""What is measured of each gesture and hand size: distances between sets of pictures want more of them."""
COMPARED: Final = ("dap", "dap_hands", "mpjpe", "mpjpe_hands", "clipsim")
NO_RESAMPLING: Final = "no resampling was asked for"
_NUM_SHOWN: Final = 4
"""Best and worst pictures."""
_PACKAGES: Final = ("hand-to-diffusion", "mediapipe", "torch", "torchvision", "diffusers", "transformers", "numpy")


@dataclass(kw_only=True)
class Subject:
    """A folder with what was seen in its pictures."""

    folder: PictureFolder
    made: Mapping[str, Any]
    tables: Mapping[str, pa.Table]
    measures: Measures = field(default_factory=dict)
    found: PoseSet | None = None

    @property
    def name(self) -> str:
        """Of the method."""
        return str(self.made["name"])

    @property
    def is_real(self) -> bool:
        """Whether these are the real pictures."""
        return self.name == REAL


def truth_of(pictures: PictureList, conventions: PoseConventions) -> PoseSet:
    """The poses that were asked for, as far as the conventions take their points as labelled."""
    asked = PoseSet.of([entry.pose for entry in pictures.entries])
    return asked.labelled(above=conventions.truth_above, inside=conventions.truth_inside)


def summarise(
    subjects: Sequence[Subject],
    pictures: PictureList,
    looks: Looks,
    choices: MeasureConfig,
    watch: Watch,
) -> Results | None:
    """The results of a run; None when stopped."""
    groups = groups_of(pictures)
    methods = [subject for subject in subjects if not subject.is_real]
    reference = next((one for one in methods if one.name == "two-stage"), methods[0] if methods else None)
    results, differences = [], []
    watch.started("intervals", len(subjects), 0)
    try:
        for subject in subjects:
            if watch.should_stop():
                return None
            results.append(_method_result(subject, pictures, groups, choices))
            if reference is not None and not subject.is_real and subject is not reference:
                shorts = [one for one in COMPARED if one in reference.measures and one in subject.measures]
                differences += [_difference(reference, subject, short, groups, choices) for short in shorts]
            watch.worked(1)
    finally:
        watch.ended("intervals")
    return Results(
        picture_list={"sha256": pictures.sha256, "count": len(pictures), **pictures.facts},
        methods=tuple(results),
        differences=tuple(differences),
        missing=looks.missing,
        pck_thresholds=PCK_THRESHOLDS,
        intervals={
            "resamples": choices.resamples,
            "distance_resamples": min(choices.resamples, choices.distance_resamples),
            "level": choices.level,
            "seed": choices.seed,
            "grouped_by": "subject" if groups is not None else "picture",
        },
        options=as_plain(choices),
        software=_software(),
        looks=looks.fingerprints,
        measured_on=datetime.now(timezone.utc).date().isoformat(),
    )


def _method_result(
    subject: Subject, pictures: PictureList, groups: Int64[np.ndarray, " n"] | None, choices: MeasureConfig
) -> MethodResult:
    measured = {}
    for short, measure in subject.measures.items():
        if choices.resamples and measure.has_interval:
            measured[short] = with_interval(measure, groups=groups, **resampling(measure.statistic, choices))
        else:
            measured[short] = measure.measured()
    best, worst = _best_and_worst(subject.measures)
    about = [] if subject.is_real else [subject.folder.about(entry.name) for entry in pictures.entries]
    seconds = [one["seconds"] for one in about if "seconds" in one]
    return MethodResult(
        name=subject.name,
        title=str(subject.made.get("title", "Real pictures")),
        is_real=subject.is_real,
        made=subject.made,
        measures=measured,
        gestures=_parts(subject, by_gesture(pictures.entries, least=choices.part_pictures), choices.part_pictures),
        hand_sizes=_parts(subject, by_hand_size(pictures.entries), choices.part_pictures),
        pck=_pck_curves(subject, pictures, choices),
        best=best,
        worst=worst,
        lost=_lost(subject, pictures),
        settings={} if subject.is_real else settings_of(subject.made, about),
        seconds_per_picture=float(np.mean(seconds)) if seconds else None,
        num_notes=dict(Counter(note for one in about for note in one.get("notes", ())).most_common(20)),
    )


def _lost(subject: Subject, pictures: PictureList) -> dict[str, str]:
    problems: dict[int, str] = {}
    for look, table in subject.tables.items():
        for number, how in problems_in(table).items():
            problems.setdefault(number, f"{look}: {how}")
    return {pictures.entries[number].id: how for number, how in sorted(problems.items())}


def _parts(subject: Subject, parts: Mapping[str, Int64[np.ndarray, " n"]], least: int) -> tuple[Part, ...]:
    measures = {short: subject.measures[short] for short in IN_PARTS if short in subject.measures}
    return tuple(
        Part(
            name=name,
            num_pictures=int(counts.sum()),
            measures={short: _of_enough(measure.measured(counts), least) for short, measure in measures.items()},
        )
        for name, counts in parts.items()
    )


def _of_enough(measured: Measured, least: int) -> Measured:
    """Without its number where that is of few pictures, and would be read as a figure."""
    if measured.num_pictures >= least:
        return measured
    return replace(measured, value=None, reason=f"fewer than {least} pictures")


def _difference(
    first: Subject, second: Subject, short: str, groups: Int64[np.ndarray, " n"] | None, choices: MeasureConfig
) -> Difference:
    nothing = Difference(method=first.name, than=second.name, short=short)
    if not choices.resamples:
        return replace(nothing, reason=NO_RESAMPLING)
    try:
        found = paired_difference(
            first.measures[short].statistic, second.measures[short].statistic,
            groups=groups, **resampling(first.measures[short].statistic, choices),
        )  # fmt: skip
    except Undefined as why:
        return replace(nothing, reason=str(why))
    return replace(nothing, difference=found.difference, interval=found.interval, p_value=found.p_value)


def resampling(statistic: Statistic, choices: MeasureConfig) -> dict[str, Any]:
    """How a number's pictures are drawn anew, as `paired_difference` takes it; `choices` ask for some."""
    distance = isinstance(statistic, FrechetDistance)
    return {
        "rng": np.random.default_rng(choices.seed),
        "resamples": min(choices.resamples, choices.distance_resamples) if distance else choices.resamples,
        "level": choices.level,
        "method": "centred" if distance else "percentile",
    }


def _pck_curves(subject: Subject, pictures: PictureList, choices: MeasureConfig) -> dict[str, tuple[float, ...]]:
    assert subject.found is not None
    people = paired_people(truth_of(pictures, choices.pose), subject.found)
    curves = {}
    for name, points in (("all", slice(None)), ("hands", slice(LEFT_HAND.start, RIGHT_HAND.stop))):
        try:
            curves[name] = tuple(float(share) for share in pck(people.of(points), choices.pose).curve())
        except Undefined:
            continue  # no true point: the table says so of PCK's area
    return curves


def _best_and_worst(measures: Measures) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """By the similarity of the hands, and by the distance of their points where that is equal."""
    oks, error = _per_picture_of(measures["oks_hands"]), _per_picture_of(measures["mpjpe_hands"])
    order = [int(number) for number in np.lexsort((error, -oks)) if np.isfinite(oks[number])]
    count = min(_NUM_SHOWN, len(order) // 2) or len(order)
    return tuple(order[:count]), tuple(order[::-1][:count]) if len(order) > 1 else ()


def _per_picture_of(measure: Measure) -> np.ndarray:
    assert isinstance(measure.statistic, Ratio)
    return measure.statistic.per_picture


def per_picture_table(subjects: Sequence[Subject], pictures: PictureList) -> pa.Table:
    """One row a picture and method, with the picture's own numbers."""
    tables = []
    for subject in subjects:
        columns: dict[str, Any] = {
            "method": [subject.name] * len(pictures),
            "number": np.arange(len(pictures), dtype=np.int32),
            "id": [entry.id for entry in pictures.entries],
            "gesture": [entry.gesture for entry in pictures.entries],
            "subject": [entry.subject for entry in pictures.entries],
            "hand_share": hand_shares(pictures.entries),
        }
        for short, measure in subject.measures.items():
            if isinstance(measure.statistic, Ratio):
                columns[short] = measure.statistic.per_picture
        tables.append(pa.table(columns))
    return pa.concat_tables(tables, promote_options="default")


def groups_of(pictures: PictureList) -> Int64[np.ndarray, " n"] | None:
    """A number for each person; None where the list knows no person, or each once."""
    persons = [entry.subject or entry.id for entry in pictures.entries]
    names, numbers = np.unique(persons, return_inverse=True)
    return None if len(names) == len(persons) else numbers.astype(np.int64)


def _software() -> dict[str, str]:
    return {package: version_of(package) or "not installed" for package in _PACKAGES}
