"""Poses that come with h2d: drawn people (`examples/make_poses.py`), each with a prompt that suits it."""

import json
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Final

from h2d.errors import UserError
from h2d.pose.openpose_json import parse_pose, read_pose
from h2d.pose.pose import Pose

EXAMPLES: Final[dict[str, str]] = {
    "palm": "A person with brown skin and long black hair, in a yellow top with long sleeves, is spreading"
    " all five fingers with the left hand, palm to the camera, in front of a plain dark blue"
    " background.",
    "peace": "A person with light skin and short black hair, in a red top with long sleeves, is making the"
    " peace sign with the right hand, palm to the camera, in front of a white gradient.",
    "thumbs_up": "A person with very dark skin and short black hair, in a white top with long sleeves, is giving"
    " a thumbs up with the left hand, in front of a light grey gradient.",
    "ok": "A person with olive skin and short dark brown hair, in a teal top with long sleeves, is making"
    " the ok sign with the left hand, palm to the camera, in front of a plain mint green background.",
    "rock": "A person with fair skin and long brown hair, in a black top with short sleeves, is making the"
    " rock sign with the left hand, palm to the camera, in front of a plain dark grey background.",
    "heart": "A person with light skin and short grey hair, in a blue top with long sleeves, is making a"
    " heart of index fingers and thumbs, in front of a light blue gradient.",
    "prayer": "A person with tan skin and short blond hair, in a purple top with long sleeves, is holding the"
    " palms together in prayer, in front of a beige gradient.",
    "wave": "A person with brown skin and short black hair, in a pink top with short sleeves, is spreading"
    " all five fingers with the left hand, palm to the camera, in front of a plain light grey"
    " background.",
    "two_people": "A person with light skin and long blond hair, in a navy blue top with long sleeves, is making"
    " the peace sign with the right hand, palm to the camera, in front of a white gradient.",
}
"""Name -> prompt, a sentence as `h2d synth` writes them, which is what the miniature learnt."""
_ALIKE: Final = 0.8
"""Of a name that is told as a slip of an example's: one letter of five may differ. Our choice."""


def read_example(name: str, *, frame: int | None = None) -> Pose:
    """One of them; raises `UserError` with the names for one that is not there, and for a `frame` other than 0."""
    return parse_pose(json.loads(_text(name)), name=f"{name}.json", frame=frame)


def find_pose(
    given: Path | str, *, folder: Path = Path(), size_hw: tuple[int, int] | None = None, frame: int | None = None
) -> Pose:
    """The pose of a file, which is looked for in `folder`, or the example of that name where there is no such file.

    `size_hw` and `frame` are those of `read_pose`. Raises `UserError` as it does, and with the examples' names for a
    bare name that is neither, or with the one that it is like.
    """
    file, name = folder / given, str(given)
    try:
        is_there = file.exists()
    except OSError:  # a name too long, a folder that may not be entered: reading it says so
        is_there = True
    if is_there:
        return read_pose(file, size_hw=size_hw, frame=frame)
    if name in EXAMPLES:
        return read_example(name, frame=frame)
    if near := get_close_matches(file.stem, EXAMPLES, n=1, cutoff=_ALIKE):
        raise UserError(f"{file}: no file, and no example pose: did you mean {near[0]}?")
    if file.suffix or file.parent != folder:
        return read_pose(file)
    raise UserError(f"{name}: no file, and no example pose: give OpenPose JSON, or one of {', '.join(EXAMPLES)}")


def write_examples(folder: Path) -> list[Path]:
    """Copy all of them into a folder, which is made; raises `UserError` where that cannot be."""
    written = []
    for name in EXAMPLES:
        path = folder / f"{name}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(name), encoding="utf-8")
        except OSError as error:
            raise UserError(f"--write {folder}: {path.name} cannot be written: {error.strerror}") from None
        written.append(path)
    return written


def _text(name: str) -> str:
    if name not in EXAMPLES:
        raise UserError(f"no example pose {name!r}: choose one of {', '.join(EXAMPLES)}")
    return (files("h2d") / "assets" / "poses" / f"{name}.json").read_text(encoding="utf-8")
