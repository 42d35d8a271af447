"""The pictures of a report: those that fit their pose best and worst, with both skeletons drawn.

Axis legend: h w picture size, h2 w2 the report's.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float32, UInt8

from h2d.eval.looks.base import answers_folder, part_with
from h2d.eval.looks.pose import PoseLook
from h2d.eval.picture_list import Entry, PictureList
from h2d.eval.pictures import METHODS_FOLDER, REAL, PictureFolder
from h2d.eval.results import MethodResult
from h2d.images import encode_jpeg, joined, resize
from h2d.manifests.store import points_of
from h2d.pose.layouts import BODY_BONES, FACE, HAND_BONES, HANDS
from h2d.pose.points import moved, present
from h2d.pose.strokes import INK, Colour, dot, line

ASKED_COLOUR: Final = (56, 189, 248)
FOUND_COLOUR: Final = (251, 146, 60)
SIDE_PX: Final = 320
_GAP_PX: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One picture of the page."""

    name: str
    data_uri: str
    prompt: str
    gesture: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """A method's best and worst pictures."""

    title: str
    is_ordered: bool
    """False where no hand was found as it was asked for, so that none is better than another."""
    best: tuple[Shown, ...]
    worst: tuple[Shown, ...]


def galleries(methods: tuple[MethodResult, ...], pictures: PictureList, out: Path) -> list[Gallery]:
    """Of every method but the real pictures."""
    return [
        Gallery(
            title=method.title,
            is_ordered=bool(method.measures["oks_hands"].value),
            best=tuple(_shown(method, pictures.entries[number], out) for number in method.best),
            worst=tuple(_shown(method, pictures.entries[number], out) for number in method.worst),
        )
        for method in methods
        if not method.is_real
    ]


def _shown(method: MethodResult, entry: Entry, out: Path) -> Shown:
    folder = PictureFolder(path=out / METHODS_FOLDER / method.name)
    picture, _ = folder.read(entry)
    found = found_in(folder, entry, str(method.measures["dap"].conventions["found_fingerprint"]))
    real, _ = PictureFolder(path=out / REAL).read(entry)
    drawn = joined([_plain(real), _plain(picture), draw_both(picture, entry, found)], axis=1, gap_px=_GAP_PX)
    data = base64.b64encode(encode_jpeg(drawn, quality=82)).decode("ascii")
    return Shown(
        name=entry.id,
        data_uri=f"data:image/jpeg;base64,{data}",
        prompt=entry.prompt,
        gesture=entry.gesture or "",
        notes=_notes(found, entry),
    )


def found_in(folder: PictureFolder, entry: Entry, fingerprint: str) -> Float32[np.ndarray, "133 3"]:
    """The points that the look of that fingerprint found in a picture."""
    part = part_with(answers_folder(folder, PoseLook.name, fingerprint), entry.number)
    rows = pq.read_table(part, columns=["number", "points"])
    return points_of(rows["points"][rows["number"].to_pylist().index(entry.number)].as_py())


def draw_both(
    picture: UInt8[np.ndarray, "h w 3"], entry: Entry, found: Float32[np.ndarray, "133 3"]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture at the report's size with the skeleton asked for, and over it the one that was found."""
    drawn, scale = _plain(picture), SIDE_PX / entry.size
    drawn = draw_skeleton(drawn, moved(entry.pose.people[0], scale=scale), ASKED_COLOUR, width=3.4)
    return draw_skeleton(drawn, moved(found, scale=scale), FOUND_COLOUR, width=1.6)


def draw_skeleton(
    picture: UInt8[np.ndarray, "h w 3"],
    points: Float32[np.ndarray, "133 3"],
    colour: Colour,
    *,
    width: float,
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy with body, face and hands in one colour, dark-edged."""
    drawn, there = picture.copy(), present(points)
    bones = [
        *BODY_BONES,
        *((hand.start + start, hand.start + end) for hand in HANDS.values() for start, end in HAND_BONES),
    ]
    lines = [(points[start], points[end]) for start, end in bones if there[start] and there[end]]
    for shade, thickness in ((INK, width + 1.6), (colour, width)):
        for start, end in lines:
            line(drawn, start, end, shade, thickness)
    for point in points[FACE][there[FACE]]:
        dot(drawn, point, 0.5 * width, colour)
    return drawn


def _plain(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    return resize(picture, (SIDE_PX, SIDE_PX))


def _notes(found: Float32[np.ndarray, "133 3"], entry: Entry) -> tuple[str, ...]:
    if not present(found).any():
        return ("nobody found",)
    asked = entry.pose.people[0]
    notes = []
    for side, hand in HANDS.items():
        if not present(asked[hand]).any():
            continue
        both = present(asked[hand]) & present(found[hand])
        if not both.any():
            notes.append(f"{side} hand not found")
            continue
        off = np.hypot(*(asked[hand] - found[hand])[both, :2].T).mean()
        notes.append(f"{side} hand {off:.0f} px off")
    return tuple(notes)
