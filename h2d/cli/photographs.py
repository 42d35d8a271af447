"""Poses out of photographs, and the lines that say what was found."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from h2d.cli.output import say

if TYPE_CHECKING:
    from h2d.annotate.extract import Extracted
    from h2d.pose.pose import Pose

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


TellFound: TypeAlias = "Callable[[Path, Extracted, Mapping[str, int]], None]"
"""Told the photograph, what was found in it, and how many points of each part."""


def is_photograph(path: Path) -> bool:
    """Whether a pose is asked of a picture, by its name; whether it shows a person is found later."""
    return path.suffix.lower() in _SUFFIXES


def pose_of_photograph(photo: Path, tell: TellFound) -> "Pose":
    """The pose of the most prominent person by MediaPipe; raises `UserError` where there is none."""
    from h2d.annotate.extract import extract_pose, read_photograph
    from h2d.pose.checks import inventory

    found = extract_pose(read_photograph(photo), name=str(photo))
    tell(photo, found, inventory(found.pose)[0])
    return found.pose


def tell_found(photo: Path, found: "Extracted", counts: Mapping[str, int]) -> None:
    """Say which parts of whom were found, of `counts` points, and which hands are doubtful."""
    who = f"the most prominent of {found.num_persons} people" if found.num_persons > 1 else "1 person"
    say(f"{photo}: {who}: {parts_listed(counts)}")
    for side, hand in found.hands.items():
        if hand.checks:
            say(f"  doubtful {side} hand: {', '.join(hand.checks)}")


def as_plain(found: "Extracted") -> dict[str, Any]:
    """What was found, for machines: how many people, and by whom each hand and what is doubtful about it."""
    hands = {side: {"found_by": hand.found_by, "checks": hand.checks} for side, hand in found.hands.items()}
    return {"persons": found.num_persons, "hands": hands}


def parts_listed(counts: Mapping[str, int]) -> str:
    """Which parts are there, and how many points where some are missing; no skeleton has feet."""
    whole = {"body": 17, "face": 68, "left_hand": 21, "right_hand": 21}
    there = [
        name.replace("_", " ") + ("" if counts[name] == number else f" ({counts[name]} of {number})")
        for name, number in whole.items()
        if counts[name]
    ]
    missing = [name.replace("_", " ") for name in whole if not counts[name]]
    return ", ".join(there) + (f"; no {', no '.join(missing)}" if missing else "")
