"""Captions made from what is known of a picture: its gesture label and the hands found. No model, no looking."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from h2d.annotate.base import CaptionRequest
from h2d.config import config

VERSION: Final = 1
"""Counted up when any sentence changes: part of the identity, so that captions are written anew."""

ONE_HANDED: Final = {
    "call": "making a call-me sign",
    "dislike": "giving a thumbs down",
    "fist": "showing a fist",
    "four": "showing four fingers",
    "grabbing": "making a grabbing gesture",
    "grip": "making a gripping gesture",
    "like": "giving a thumbs up",
    "little_finger": "raising the little finger",
    "middle_finger": "showing the middle finger",
    "mute": "making a hush sign, the index finger at the lips,",
    "ok": "making an OK sign",
    "one": "raising one finger",
    "palm": "showing an open palm",
    "peace": "making a peace sign",
    "peace_inverted": "making an inverted peace sign, the back of the hand to the camera,",
    "point": "pointing at the camera",
    "rock": "showing the rock sign",
    "stop": "making a stop sign, the palm to the camera,",
    "stop_inverted": "making an inverted stop sign, the back of the hand to the camera,",
    "three": "showing three fingers",
    "three2": "showing three fingers in the second form of the three sign",
    "three3": "showing three fingers in the third form of the three sign",
    "three_gun": "making a gun sign with three fingers extended",
    "thumb_index": "extending the thumb and the index finger",
    "two_up": "raising two fingers held together",
    "two_up_inverted": "raising two fingers held together, the back of the hand to the camera,",
}
"""HaGRID's gestures of one hand; which three fingers `three2` and `three3` show is not in its documentation."""

TWO_HANDED: Final = {
    "hand_heart": "making a heart shape with both hands",
    "hand_heart2": "making a heart shape with the fingers of both hands",
    "holy": "holding both palms together as in prayer",
    "take_picture": "framing a picture with both hands",
    "thumb_index2": "extending the thumbs and the index fingers of both hands",
    "timeout": "making a timeout sign with both hands",
    "xsign": "crossing both hands into an X",
}

NO_GESTURE: Final = frozenset({"no_gesture", "none", "unknown"})


@config
class TemplateCaptioner:
    """Says "a photo of a person showing the rock sign with the left hand".

    A side is named only when one hand alone was found; with two, the label does not say which one makes the gesture.
    """

    sees_pictures: ClassVar[bool] = False
    batch_size: int = 512

    def identity(self) -> Mapping[str, Any]:
        """The template's version: it depends on nothing else."""
        return {"captioner": "template", "version": VERSION}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def caption(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """One sentence per request, in order; the picture itself is not looked at."""
        return [sentence(request.gesture, request.hands) for request in requests]


def sentence(gesture: str | None, hands: Sequence[str]) -> str:
    """The caption of a picture with this gesture label, perhaps none, and these hands, perhaps none."""
    return f"a photo of a person {doing}" if (doing := _doing(gesture, hands)) else "a photo of a person"


def _doing(gesture: str | None, hands: Sequence[str]) -> str:
    side = f" with the {hands[0]} hand" if len(hands) == 1 else ""
    name = " ".join((gesture or "").replace("_", " ").replace("-", " ").split())
    if gesture in TWO_HANDED:
        return TWO_HANDED[gesture]
    if gesture in ONE_HANDED:
        phrase = ONE_HANDED[gesture]
        return phrase + side if side else phrase.rstrip(",")
    if name and name.replace(" ", "_") not in NO_GESTURE:
        return f"making the {name} gesture{side}"
    if len(hands) == 1:
        return f"whose {hands[0]} hand is visible"
    return "whose hands are both visible" if hands else ""
