"""From poses to what OKS compares: which points, by whose area, with which score. Axis legend: p people, k points."""

from typing import Final, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64

from h2d.errors import UserError
from h2d.eval.oks import Found, Truth
from h2d.eval.poses import PoseSet, extents_xywh, is_there
from h2d.pose.layouts import LEFT_HAND, NUM_POINTS, RIGHT_HAND

Points: TypeAlias = Literal["all", "hands"]
"""All 133, or the 42 of both hands as one instance of a person."""
HandArea: TypeAlias = Literal["person", "hand_bbox"]
"""The area by which errors at the hands are judged: the person's, as COCO-WholeBody does, or that of the hands' points,
as HumanSD does. 6 pixels off may score 0.94 by one and 0.54 by the other."""
Score: TypeAlias = Literal["constant", "confidence", "given"]
"""What a detection's score is: 1 for all; the mean confidence of its points; or the set's own `scores`."""

SLICES: Final[dict[Points, slice]] = {"all": slice(0, NUM_POINTS), "hands": slice(LEFT_HAND.start, RIGHT_HAND.stop)}


def true_people(truth: PoseSet, *, points: Points = "all", hand_area: HandArea = "person") -> Truth:
    """The truth as OKS takes it.

    Areas are width x height of the extent of labelled points, as HumanSD's, but missing points do not widen it. A
    person's extent is that of all 133 points, also where only the hands are compared.
    """
    there = is_there(truth.points)
    xy = np.where(there[..., None], truth.points[..., :2], 0).astype(np.float64)
    person = extents_xywh(xy, there)
    which = SLICES[points]
    own = person if points == "all" or hand_area == "person" else extents_xywh(xy[:, which], there[:, which])
    return Truth(
        picture=truth.picture, xy=xy[:, which], labelled=there[:, which], area=own[:, 2] * own[:, 3], box_xywh=person
    )


def found_people(found: PoseSet, *, points: Points = "all", score: Score = "constant") -> Found:
    """The detections as OKS takes them; who has none of the points is not one.

    Raises `UserError` where `score` is "given" and there are no scores.
    """
    which = SLICES[points]
    there = is_there(found.points[:, which])
    somebody = there.any(axis=1)
    xy = np.where(there[..., None], found.points[:, which, :2], 0).astype(np.float64)
    return Found(
        picture=found.picture[somebody], xy=xy[somebody], scores=_scores(found, points, there, score)[somebody]
    )


def _scores(found: PoseSet, points: Points, there: Bool[np.ndarray, "p k"], score: Score) -> Float64[np.ndarray, " p"]:
    if score == "constant":
        return np.ones(len(there))
    if score == "given":
        if found.scores is None:
            raise UserError("score is 'given', but these poses have no scores: choose 'constant' or 'confidence'")
        return found.scores
    confidence = np.where(there, found.points[:, SLICES[points], 2], 0).astype(np.float64)
    return np.asarray(confidence.sum(axis=1) / np.maximum(there.sum(axis=1), 1))
