"""Captions that tell what was drawn, and nothing else."""

from collections.abc import Mapping, Sequence

from h2d.pose.layouts import SIDES, Side
from h2d.synth.gestures import GESTURES, TWO_HANDED
from h2d.synth.scene import Appearance, Hand

_FACINGS = {"camera": "palm to the camera", "away": "the back of the hand to the camera", "aside": "seen from the side"}
_COUNTS = ("no", "one", "two", "three", "four", "five")


def person_caption(
    appearance: Appearance, *, gesture: str, sides: Sequence[Side], background: str, num_people: int
) -> str:
    """Who is seen, what the hands do, in front of what."""
    person = f"A person with {appearance.skin_name} skin and {_hair(appearance)}"
    clothes = f"in a {appearance.top_name} top with {appearance.sleeves} sleeves"
    company = "" if num_people == 1 else f", with {_COUNTS[num_people - 1]} other {_people(num_people - 1)}"
    return f"{person}, {clothes}, is {_action(gesture, sides)}, in front of {background}{company}."


def hands_caption(appearance: Appearance, *, gesture: str, hands: Mapping[Side, Hand], background: str) -> str:
    """Which hands are seen, and what they show."""
    skin = f"with {appearance.skin_name} skin"
    if gesture == "free":
        subject = (
            f"Two hands {skin}, a left and a right one" if len(hands) == 2 else f"A {next(iter(hands))} hand {skin}"
        )
        return f"{subject}, in front of {background}."
    shown = GESTURES[gesture].words_alone or GESTURES[gesture].words
    subject = f"Two hands {skin}" if len(hands) == 2 else f"A {next(iter(hands))} hand {skin}"
    return f"{subject}, {shown}, in front of {background}."


def _action(gesture: str, sides: Sequence[Side]) -> str:
    if gesture == "free":
        return f"holding up {_with(sides)}"
    shown = GESTURES[gesture]
    if gesture in TWO_HANDED:
        return shown.words
    return f"{shown.words} with {_with(sides)}, {_FACINGS[shown.facing]}"


def _with(sides: Sequence[Side]) -> str:
    return "both hands" if len(sides) == len(SIDES) else f"the {sides[0]} hand"


def _hair(appearance: Appearance) -> str:
    if appearance.hair_style == "bald":
        return "a bald head"
    return f"{appearance.hair_style} {appearance.hair_name} hair"


def _people(count: int) -> str:
    return "person" if count == 1 else "people"
