"""Keypoints by MediaPipe Holistic, with MediaPipe Hands where Holistic misses a hand that must be there.

The answer depends on the picture and its boxes alone: not on the pictures before it, the process or the machine's load.
Axis legend: h height, w width, n boxes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from h2d.annotate.base import NOTHING_GIVEN, Detection, FoundHand, GivenHands
from h2d.annotate.keypoints import hints
from h2d.annotate.keypoints.checks import failed_checks
from h2d.annotate.keypoints.graphs import Graphs, Person
from h2d.annotate.keypoints.installed import mediapipe_version, model_hashes
from h2d.config import as_plain, config
from h2d.images import fit_long_side, resize
from h2d.pose.layouts import (
    BODY,
    FACE,
    FACE468_TO_68,
    HANDS,
    NUM_POINTS,
    POSE33_TO_BODY,
    POSE33_TO_FEET,
    SIDES,
    Side,
)
from h2d.pose.points import missing_points

_OPEN = "_graphs"


@config
class HolisticDetector:
    """One person's 133 points by MediaPipe 0.10.21; small toes stay missing, it has none.

    Confidences: body and feet, the model's visibility; face, 1 where found; hands found by Holistic, the model's score
    that there is a hand (0.5..1, one for all points); hands found by Hands, how sure it is of left or right.
    """

    max_side: int = 1920
    """Larger pictures are shrunk to this long side, pixels, before Holistic looks; its models see 256 at most."""
    ask_hands: bool = True
    """Look once more, with Hands, where a dataset's box or the body's wrist says that there is a hand."""
    wrist_visibility: float = 0.5
    """A wrist of the body hints at a hand from this visibility on; the dataset's boxes always do."""
    wrist_presence: float = 0.02
    """... and only where Holistic's own score of the place is above this: asking takes a third of Holistic's time, and
    found a hand only above 0.3. At 15 of 17 hidden hands the score was below 0.02. Our choice."""

    def __post_init__(self) -> None:
        if self.max_side < 1:
            raise ValueError(f"max_side must be positive, got {self.max_side}")

    def identity(self) -> Mapping[str, Any]:
        """Version, hashes and options; raises `UserError` when MediaPipe is missing or has no Holistic."""
        return {
            "model": "mediapipe-holistic",
            "mediapipe": mediapipe_version(),
            "files": dict(model_hashes()),
            **as_plain(self),
        }

    def setup(self) -> None:
        """Open MediaPipe's graphs in this process."""
        assert _OPEN not in self.__dict__, "set up twice"
        self.__dict__[_OPEN] = Graphs()

    def close(self) -> None:
        """Close them."""
        graphs: Graphs | None = self.__dict__.pop(_OPEN, None)
        if graphs is not None:
            graphs.close()

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: open graphs stay in their process."""
        return as_plain(self)

    def detect(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        boxes_xywh: Float32[np.ndarray, "n 4"],
        given: GivenHands = NOTHING_GIVEN,
    ) -> Detection:
        """Find the most prominent person, then the hands that were missed; everything is in pixels of `picture`.

        The dataset's own hands are not looked at.
        """
        graphs: Graphs | None = self.__dict__.get(_OPEN)
        assert graphs is not None, "not set up"
        height, width = picture.shape[:2]
        person = graphs.person(resize(picture, fit_long_side(height, width, self.max_side)))
        to_picture = np.array([width, height, 1], np.float32)
        body = _body_points(person) * to_picture
        hands = {
            side: FoundHand(points=points * to_picture, found_by="holistic") for side, points in person.hands.items()
        }
        if self.ask_hands and len(hands) < len(SIDES):
            self._look_again(graphs, picture, boxes_xywh, person.presence, body, hands)
        return _checked(person, body, hands, (height, width))

    def _look_again(
        self,
        graphs: Graphs,
        picture: UInt8[np.ndarray, "h w 3"],
        boxes_xywh: Float32[np.ndarray, "n 4"],
        presence: Mapping[Side, float],
        body: Float32[np.ndarray, "133 3"],
        hands: dict[Side, FoundHand],
    ) -> None:
        """Add to `hands` those that are found where boxes and wrists hint at them."""
        height, width = picture.shape[:2]
        wrists = [
            hints.wrist_hint(side, body, min_visibility=self.wrist_visibility, size_hw=(height, width))
            for side in SIDES
            if presence[side] > self.wrist_presence
        ]
        for hint in (*hints.box_hints(boxes_xywh), *filter(None, wrists)):
            taken = len(hands) == len(SIDES) or hint.side in hands
            if taken or (hint.box_xywh is not None and hints.is_covered(hint.box_xywh, hands)):
                continue
            for region, region_xywh in hints.cut_regions(picture, hint):
                answers = graphs.loose_hands(region)
                found = hints.believed(
                    answers, hint, region_xywh=region_xywh, body=body, hands=hands, size_hw=(height, width)
                )
                if found is not None:
                    hands[found[0]] = found[1]
                    break


def _body_points(person: Person) -> Float32[np.ndarray, "133 3"]:
    """Body, feet and face of the 133."""
    body = missing_points(NUM_POINTS)
    if person.pose is not None:
        pose = person.pose.copy()
        pose[:, 2] = np.clip(pose[:, 2], 0, 1)
        pose[pose[:, 2] == 0, :2] = np.nan
        body[BODY] = pose[list(POSE33_TO_BODY)]
        body[list(POSE33_TO_FEET)] = pose[list(POSE33_TO_FEET.values())]
    if person.face is not None:
        body[FACE] = person.face[list(FACE468_TO_68)]
    return body


def _checked(
    person: Person, body: Float32[np.ndarray, "133 3"], hands: Mapping[Side, FoundHand], size_hw: tuple[int, int]
) -> Detection:
    """Lay the hands into the body and record which checks they fail."""
    checked = {}
    for side, other in (SIDES, SIDES[::-1]):
        if side in hands:
            hand = hands[side]
            other_hand = hands[other].points if other in hands else None
            checks = failed_checks(hand.points, side=side, body=body, size_hw=size_hw, other_hand=other_hand)
            checked[side] = FoundHand(points=hand.points, found_by=hand.found_by, checks=checks)
            body[HANDS[side]] = hand.points
    return Detection(num_persons=0 if person.pose is None else max(1, person.num_people), body=body, hands=checked)
