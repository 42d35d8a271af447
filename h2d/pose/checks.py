"""What is missing in a pose, and what cannot be: each finding with its number, its limit and its remedy.

Only points that skeletons show count (`LEAST_CONFIDENCE`). A hand's size is the longer side of the box around its
points. Lengths of the body that are not known pass every check. Axis legend: n points.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32

from h2d.pose.layouts import (
    BODY,
    ELBOWS,
    EYES,
    FACE,
    FEET,
    HANDS,
    HIPS,
    NUM_HAND_POINTS,
    SHOULDERS,
    SIDES,
    WRIST,
    WRISTS,
    Side,
)
from h2d.pose.points import LEAST_CONFIDENCE, extent_xywh, present
from h2d.pose.pose import Pose

Level: TypeAlias = Literal["error", "warning"]

LATENT_CELL_PX: Final = 8
"""Stable Diffusion's autoencoder makes one cell of so many pixels."""

MIN_CELLS: Final = 4.0
"""At four cells a finger is half a cell wide, and nothing keeps five of them apart. Our choice."""
SMALL_CELLS: Final = 8.0
"""A finger is one cell wide from here on: 64 pixels, where HandRefiner also puts its limit (60). Our choice."""
_MAX_TO_TORSO: Final = 1.0
"""Of 25 hands in photographs none was larger than 0.53 torsos or 0.68 shoulder widths (`annotate.keypoints.checks`)."""
_MAX_WRIST_DISTANCE: Final = 0.6
"""In hand sizes; the same photographs had 0.21 at most."""
_MAX_SHARE_OUTSIDE: Final = 0.5
_SAME_PLACE: Final = 0.12
"""Mean distance of like points in hand sizes; two hands pressed together in prayer are 0.18 apart."""
_MIN_EYES_TO_SHOULDERS: Final = -0.1
"""Eyes are 0.17 shoulder widths apart; a head that is turned aside has one over the other, and less is noise."""
_MIN_SHOULDERS_TO_TORSO: Final = 0.3
"""Shoulders that are narrower are seen from the side."""
_MIN_POINTS: Final = 3
"""Fewer cannot say where a hand lies."""


class Check(NamedTuple):
    """What a finding of a name means."""

    level: Level
    meaning: str
    unit: str
    bound: Literal["at least", "at most"]
    """How the limit limits."""


CHECKS: Final[dict[str, Check]] = {
    "canvas_not_stated": Check("warning", "the file names no canvas; this one just holds the points", "", "at least"),
    "canvas_off_grid": Check("warning", "the canvas is no whole number of latent cells", "px left over", "at most"),
    "no_hand": Check("warning", "there is no hand: nothing for the hand's stage to do", "hands", "at least"),
    "unsure_points": Check("warning", "points are too unsure to be drawn, and count as missing", "points", "at most"),
    "hand_incomplete": Check("warning", "points of the hand are missing", "points", "at least"),
    "hand_has_no_forearm": Check("warning", "the body has a wrist for the hand but no elbow", "elbows", "at least"),
    "hand_is_cut": Check("warning", "the hand reaches out of the canvas", "of its points outside", "at most"),
    "hand_small": Check("warning", "a finger is thinner than a latent cell", "latent cells", "at least"),
    "shoulders_swapped": Check(
        "warning",
        "eyes and shoulders disagree about left and right",
        "shoulder widths from right eye to left",
        "at least",
    ),
    "hand_too_few_points": Check("error", "the hand's points cannot say where it lies", "points", "at least"),
    "hand_outside_canvas": Check("error", "the hand lies outside the canvas", "of its points outside", "at most"),
    "hand_below_grid": Check("error", "the latent grid cannot hold so small a hand", "latent cells", "at least"),
    "hand_has_no_arm": Check("error", "the body has no wrist for the hand to hang on", "wrists", "at least"),
    "hand_larger_than_torso": Check("error", "the hand is larger than the torso", "torsos", "at most"),
    "wrist_apart": Check("error", "the hand's wrist is far from the body's", "hand sizes", "at most"),
    "left_is_right": Check("error", "the hand hangs on the wrist of the other side", "hand sizes", "at most"),
    "hands_coincide": Check("error", "both hands are in one place, point for point", "hand sizes apart", "at least"),
}
"""Every finding's name, in the order in which they are told; errors make `h2d pose validate` fail."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is missing or cannot be."""

    name: str
    """A key of `CHECKS`."""
    person: int | None = None
    """As numbered in the pose; None for the canvas."""
    side: Side | None = None
    """The hand's, the person's own."""
    measured: float
    limit: float
    remedy: str

    @property
    def level(self) -> Level:
        """Whether sampling it makes sense."""
        return CHECKS[self.name].level

    def line(self) -> str:
        """The finding in one line."""
        check = CHECKS[self.name]
        who = "canvas" if self.person is None else f"person {self.person}"
        part = f", {self.side} hand" if self.side else ""
        numbers = f" ({self.measured:.3g} {check.unit}, {check.bound} {self.limit:.3g})" if check.unit else ""
        return f"{who}{part}: {self.name}: {check.meaning}{numbers}: {self.remedy}"


def validate(pose: Pose) -> list[Finding]:
    """Everything that is missing or cannot be, person by person; empty when nothing is."""
    order = list(CHECKS)
    findings = list(_of_canvas(pose))
    shown = pose.shown()
    for person in range(pose.num_people):
        found = [replace(finding, person=person) for finding in _of_person(pose, shown, person)]
        for side in SIDES:
            if shown.has_hand(person, side):
                found += [replace(one, person=person, side=side) for one in _of_hand(shown, person, side)]
        findings += sorted(found, key=lambda finding: (finding.side or "", order.index(finding.name)))
    return findings


def inventory(pose: Pose) -> list[dict[str, int]]:
    """How many points of each part of each person are shown: body of 17, feet of 6, face of 68, each hand of 21."""
    parts = {"body": BODY, "feet": FEET, "face": FACE, **{f"{side}_hand": part for side, part in HANDS.items()}}
    return [{name: int(present(person[part]).sum()) for name, part in parts.items()} for person in pose.shown().people]


def _of_canvas(pose: Pose) -> Iterator[Finding]:
    if not pose.canvas_stated:
        remedy = f"give the picture's size with --size, if it is not {pose.width}x{pose.height}"
        yield Finding(name="canvas_not_stated", measured=0, limit=1, remedy=remedy)
    left_over = max(pose.width % LATENT_CELL_PX, pose.height % LATENT_CELL_PX)
    if left_over:
        remedy = f"h2d pose convert --resize {_grown(pose, 1)}"
        yield Finding(name="canvas_off_grid", measured=left_over, limit=0, remedy=remedy)


def _of_person(pose: Pose, shown: Pose, person: int) -> Iterator[Finding]:
    points = shown.people[person]
    num_hands = sum(shown.has_hand(person, side) for side in SIDES)
    if num_hands == 0:
        remedy = "add one in an editor, or let h2d sample make the body alone"
        yield Finding(name="no_hand", measured=0, limit=1, remedy=remedy)
    num_unsure = int(present(pose.people[person]).sum() - present(points).sum())
    if num_unsure:
        remedy = f"where they are right, set their confidence to {LEAST_CONFIDENCE} or more"
        yield Finding(name="unsure_points", measured=num_unsure, limit=0, remedy=remedy)
    shoulders_px = _across(points, SHOULDERS)
    frontal = abs(shoulders_px) > _MIN_SHOULDERS_TO_TORSO * _torso_px(points)
    eyes_to_shoulders = _across(points, EYES) / shoulders_px if frontal else math.nan
    if eyes_to_shoulders < _MIN_EYES_TO_SHOULDERS:
        remedy = "swap left and right of the body, unless the person looks back over a shoulder"
        yield Finding(name="shoulders_swapped", measured=eyes_to_shoulders, limit=0, remedy=remedy)
    if num_hands == len(SIDES):
        apart = _mean_distance(shown.hand(person, "left"), shown.hand(person, "right"))
        if apart < _SAME_PLACE:
            remedy = "leave out the one that is not there"
            yield Finding(name="hands_coincide", measured=apart, limit=_SAME_PLACE, remedy=remedy)


def _of_hand(shown: Pose, person: int, side: Side) -> Iterator[Finding]:
    """The findings about a hand of which at least one point is shown."""
    hand, body = shown.hand(person, side), shown.people[person]
    num_points = int(present(hand).sum())
    if num_points < _MIN_POINTS:
        remedy = "add the others, or leave the hand out"
        yield Finding(name="hand_too_few_points", measured=num_points, limit=_MIN_POINTS, remedy=remedy)
        return
    if num_points < NUM_HAND_POINTS:
        remedy = "add them: fingers without points are left to chance"
        yield Finding(name="hand_incomplete", measured=num_points, limit=NUM_HAND_POINTS, remedy=remedy)
    yield from _where(shown, hand)
    yield from _how_large(shown, hand, body)
    yield from _on_which_arm(hand, body, person, side)


def _where(shown: Pose, hand: Float32[np.ndarray, "21 3"]) -> Iterator[Finding]:
    there = hand[present(hand), :2]
    outside = 1 - float(((there >= 0) & (there <= (shown.width, shown.height))).all(axis=1).mean())
    if outside > _MAX_SHARE_OUTSIDE:
        remedy = "move it in, enlarge the canvas, or leave the hand out"
        yield Finding(name="hand_outside_canvas", measured=outside, limit=_MAX_SHARE_OUTSIDE, remedy=remedy)
    elif outside > 0:
        remedy = "move it in, or accept that a part of it is not drawn"
        yield Finding(name="hand_is_cut", measured=outside, limit=0, remedy=remedy)


def _how_large(shown: Pose, hand: Float32[np.ndarray, "21 3"], body: Float32[np.ndarray, "133 3"]) -> Iterator[Finding]:
    size_px = max(extent_xywh(hand)[2:])
    num_cells = size_px / LATENT_CELL_PX
    if num_cells < SMALL_CELLS:
        remedy = "let h2d sample --zoom-hands outpaint around it once more, enlarged"
        if num_cells > 0.5:
            remedy = f"h2d pose convert --resize {_grown(shown, SMALL_CELLS / num_cells)}, or {remedy}"
        name, limit = ("hand_below_grid", MIN_CELLS) if num_cells < MIN_CELLS else ("hand_small", SMALL_CELLS)
        yield Finding(name=name, measured=num_cells, limit=limit, remedy=remedy)
    in_torsos = size_px / _torso_px(body)
    if in_torsos > _MAX_TO_TORSO:
        remedy = "shrink the hand about its wrist"
        yield Finding(name="hand_larger_than_torso", measured=in_torsos, limit=_MAX_TO_TORSO, remedy=remedy)


def _on_which_arm(
    hand: Float32[np.ndarray, "21 3"], body: Float32[np.ndarray, "133 3"], person: int, side: Side
) -> Iterator[Finding]:
    other: Side = "right" if side == "left" else "left"
    if not present(body[[WRISTS[side]]])[0]:
        remedy = "add the elbow and the wrist, or let h2d sample add an arm"
        yield Finding(name="hand_has_no_arm", measured=0, limit=1, remedy=remedy)
    elif not present(body[[ELBOWS[side]]])[0]:
        remedy = "add the elbow: no forearm is drawn without it"
        yield Finding(name="hand_has_no_forearm", measured=0, limit=1, remedy=remedy)
    size_px = max(*extent_xywh(hand)[2:], 1e-6)
    own, others = (_distance(hand[WRIST], body[WRISTS[one]]) / size_px for one in (side, other))
    if others <= _MAX_WRIST_DISTANCE and not own <= _MAX_WRIST_DISTANCE:
        remedy = f"h2d pose convert --swap-hands {person}"
        yield Finding(name="left_is_right", measured=own, limit=_MAX_WRIST_DISTANCE, remedy=remedy)
    elif own > _MAX_WRIST_DISTANCE:
        remedy = "move the hand to the wrist, or the wrist to the hand"
        yield Finding(name="wrist_apart", measured=own, limit=_MAX_WRIST_DISTANCE, remedy=remedy)


def _grown(pose: Pose, factor: float) -> str:
    """A canvas that is larger by at least the factor, in whole cells: WIDTHxHEIGHT."""
    width, height = (math.ceil(side * factor / LATENT_CELL_PX) * LATENT_CELL_PX for side in (pose.width, pose.height))
    return f"{width}x{height}"


def _torso_px(body: Float32[np.ndarray, "133 3"]) -> float:
    """The longest that is known of the shoulders' width and shoulder to hip; without hips, of the arms too.

    One of them at least is seen from its side. Infinite when none is known.
    """
    lengths = [_distance(body[SHOULDERS["left"]], body[SHOULDERS["right"]])]
    trunk = [_distance(body[SHOULDERS[side]], body[HIPS[side]]) for side in SIDES]
    if np.isnan(trunk).all():
        arms = [(SHOULDERS, ELBOWS), (ELBOWS, WRISTS)]
        trunk = [_distance(body[start[side]], body[end[side]]) for start, end in arms for side in SIDES]
    return max([max(length, 1e-6) for length in (*lengths, *trunk) if not math.isnan(length)], default=math.inf)


def _across(body: Float32[np.ndarray, "133 3"], pair: dict[Side, int]) -> float:
    """From the right one to the left one along x, pixels; NaN when one is not there."""
    return float(body[pair["left"], 0].astype(np.float64) - body[pair["right"], 0])


def _mean_distance(left: Float32[np.ndarray, "21 3"], right: Float32[np.ndarray, "21 3"]) -> float:
    """Between like points of two hands, in sizes of the larger; NaN when they have none in common."""
    both = present(left) & present(right)
    if not both.any():
        return math.nan
    apart = float(np.linalg.norm(left[both, :2] - right[both, :2], axis=1).mean())
    return apart / max(*extent_xywh(left)[2:], *extent_xywh(right)[2:], 1e-6)


def _distance(point: Float32[np.ndarray, " 3"], other: Float32[np.ndarray, " 3"]) -> float:
    """Pixels; NaN, which exceeds no limit, when one of them is not there."""
    return float(np.linalg.norm(point[:2].astype(np.float64) - other[:2]))
