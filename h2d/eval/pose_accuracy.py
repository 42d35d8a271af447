"""Pose accuracy as the paper measures it (IV-C): whether the person drawn stands as the pose asked for.

`truth` are the poses that were asked for, or those of the real pictures; `found` those that the detector finds in the
generated ones. Every figure names the conventions it is computed under, for the paper states few of them.
"""

import math
from typing import Any, Final, get_args

import numpy as np

from h2d.config import config
from h2d.eval.average_precision import AveragePrecision, AverageRecall, Ties, detection_rate, mean_oks
from h2d.eval.instances import SLICES, HandArea, Points, Score, found_people, true_people
from h2d.eval.joint_error import PENALTY, Averaged, CorrectPoints, Missing, Reference, correct_points, joint_error
from h2d.eval.matching import MAX_DETECTIONS, Matches, match
from h2d.eval.measured import Measure, Measures, Statistic
from h2d.eval.oks import SIGMAS_133, SIGMAS_HANDS
from h2d.eval.pairing import PairedPeople, paired_people
from h2d.eval.poses import PoseSet, on_canvas_of

PCK_THRESHOLDS: Final = tuple(round(0.01 * step, 2) for step in range(31))
"""Shares of the reference length."""


@config
class PoseConventions:
    """What the paper leaves open, with our defaults."""

    score: Score = "constant"
    """MediaPipe has no score of a person, and AP depends on one: with a constant, on the order of the list too."""
    ties: Ties = "list-order"
    truth_above: float = 0.0
    """True points of at most this confidence are taken as not labelled."""
    truth_inside: bool = False
    """Whether true points beyond the picture's edges, which MediaPipe guesses, are taken as not labelled."""
    averaged: Averaged = "people"
    penalty: float = PENALTY
    """Of a missing joint, in widths and heights of the picture."""
    pck_reference: Reference = "points"

    def __post_init__(self) -> None:
        if not 0 <= self.truth_above < 1:
            raise ValueError(f"truth_above is {self.truth_above}: give a confidence, from 0 to below 1")
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"penalty is {self.penalty}: give a distance of at least 0, {PENALTY} is a side")


def pose_measures(truth: PoseSet, found: PoseSet, conventions: PoseConventions | None = None) -> Measures:
    """All measures of pose accuracy.

    Short names: `dap`, `dap_50`, `dap_75`, `ar`, `oks`, `found`, `mpjpe` (missing joints at zero), `mpjpe_skip`,
    `mpjpe_penalty` and `pck` (area under the curve), of all 133 points; each with `_hands` of the 42 of both hands, and
    those that depend on an area also with `_hands_bbox`: by the area of the hands instead of the person's.

    Raises `UserError` where the lists differ in length or a picture in shape.
    """
    conventions = conventions or PoseConventions()
    truth = truth.labelled(above=conventions.truth_above, inside=conventions.truth_inside)
    found = on_canvas_of(found, truth)
    people = paired_people(truth, found)
    measures: Measures = {}
    for points, hand_area, suffix in _VARIANTS:
        measures |= _oks_measures(truth, found, points, hand_area, suffix, conventions)
        if suffix != "_hands_bbox":
            measures |= _error_measures(people.of(SLICES[points]), points, suffix, conventions)
    return measures


_VARIANTS: Final[tuple[tuple[Points, HandArea, str], ...]] = (
    ("all", "person", ""),
    ("hands", "person", "_hands"),
    ("hands", "hand_bbox", "_hands_bbox"),
)


def matched(
    truth: PoseSet,
    found: PoseSet,
    *,
    points: Points = "all",
    hand_area: HandArea = "person",
    score: Score = "constant",
) -> Matches:
    """Detections matched to true people, by all points or both hands as one instance; raises as `pose_measures`."""
    return match(
        true_people(truth, points=points, hand_area=hand_area),
        found_people(on_canvas_of(found, truth), points=points, score=score),
        SIGMAS_133 if points == "all" else SIGMAS_HANDS,
        num_pictures=truth.num_pictures,
    )


def _oks_measures(
    truth: PoseSet, found: PoseSet, points: Points, hand_area: HandArea, suffix: str, conventions: PoseConventions
) -> Measures:
    matches = matched(truth, found, points=points, hand_area=hand_area, score=conventions.score)
    ties = conventions.ties
    rows: dict[str, tuple[str, Statistic]] = {
        "dap": ("DAP", AveragePrecision(matches=matches, ties=ties)),
        "dap_50": ("DAP at OKS 0.50", AveragePrecision(matches=matches, threshold=0.5, ties=ties)),
        "dap_75": ("DAP at OKS 0.75", AveragePrecision(matches=matches, threshold=0.75, ties=ties)),
        "ar": ("AR", AverageRecall(matches=matches)),
        "oks": ("mean OKS", mean_oks(matches)),
        "found": ("detection rate", detection_rate(matches)),
    }
    if suffix == "_hands_bbox":
        del rows["found"]  # depends on no area
    stated = {
        "points": points,
        "area": "person" if points == "all" else hand_area,
        "score": conventions.score,
        "ties": ties,
        "max_detections": MAX_DETECTIONS,
        **_truth_conventions(conventions),
    }
    return {
        short + suffix: Measure(
            name=name + _WORDS[suffix],
            statistic=statistic,
            higher_is_better=True,
            column=short + suffix if short == "dap" and suffix in ("", "_hands") else "",
            has_interval=short not in ("dap_50", "dap_75", "ar"),
            conventions=stated,
        )
        for short, (name, statistic) in rows.items()
    }


_WORDS: Final = {"": "", "_hands": " hands", "_hands_bbox": " hands, by their own area"}


def _error_measures(people: PairedPeople, points: Points, suffix: str, conventions: PoseConventions) -> Measures:
    measures: Measures = {}
    for missing in get_args(Missing):
        statistic = joint_error(people, missing=missing, averaged=conventions.averaged, penalty=conventions.penalty)
        stated = {
            "points": points,
            "unit": "picture width and height",
            "missing": missing,
            "averaged": conventions.averaged,
            **({"penalty": conventions.penalty} if missing == "penalty" else {}),
            **_truth_conventions(conventions),
        }
        measures["mpjpe" + ("" if missing == "zero" else f"_{missing}") + suffix] = Measure(
            name=f"MPJPE{_WORDS[suffix]}" + _MISSING_WORDS[missing],
            statistic=statistic,
            higher_is_better=False,
            column=f"mpjpe{suffix}" if missing == "zero" else "",
            conventions=stated,
        )
    measures["pck" + suffix] = Measure(
        name=f"PCK area{_WORDS[suffix]}",
        statistic=pck(people, conventions),
        higher_is_better=True,
        conventions={
            "points": points,
            "reference": conventions.pck_reference,
            "up_to": PCK_THRESHOLDS[-1],
            "missing": "wrong",
            **_truth_conventions(conventions),
        },
    )
    return measures


_MISSING_WORDS: Final[dict[Missing, str]] = {
    "zero": "",
    "skip": ", missing joints skipped",
    "penalty": ", missing joints penalised",
}


def pck(people: PairedPeople, conventions: PoseConventions) -> CorrectPoints:
    """The PCK curve of these points; `paired_people(...).of(...)` gives them."""
    return correct_points(people, thresholds=np.array(PCK_THRESHOLDS), reference=conventions.pck_reference)


def _truth_conventions(conventions: PoseConventions) -> dict[str, Any]:
    return {"truth_above": conventions.truth_above, "truth_inside": conventions.truth_inside}
