"""The pictures of the report: which are shown, how they are drawn, and what is said beside them.

Of the tables only the row groups of the chosen pictures are read.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8

from h2d.images import DecodeError, decode_rgb, encode_jpeg, fit_long_side, resize
from h2d.manifests.io import Location, below
from h2d.manifests.overlay import Window, draw_crop, draw_picture
from h2d.manifests.store import Manifest
from h2d.manifests.summary import MOST_WORST, Rejects, Summary
from h2d.manifests.wording import STAGES, readable, tool
from h2d.pose.layouts import SIDES, Side
from h2d.pose.points import extent_xywh

MAX_PICTURES: Final = 36
_RANDOM, _WORST, _CROPS, _REJECTS = 8, 4, 8, 8
_WORST_GROUPS: Final = (
    (
        "quality",
        "Lowest mask quality",
        "The segmenter's own score, worst first: does the tint cover the hand and only the hand?",
        "No mask has a score.",
    ),
    (
        "checks",
        "Most checks failed",
        "Keypoints that are kept, but look wrong by size, place or shape.",
        "Every found hand passes every check.",
    ),
    (
        "source_size_px",
        "Smallest hands",
        "By the long side of the hand in the original picture.",
        "No hand was found.",
    ),
)
assert _RANDOM + len(_WORST_GROUPS) * _WORST + _CROPS + _REJECTS == MAX_PICTURES
assert len(SIDES) * _WORST <= MOST_WORST

_PICTURE_SIDE: Final = 640
_CROP_SIDE: Final = 384
_PICTURE_BYTES: Final = 140_000
"""A picture's share of a page below 8 MB, of which base64 takes a third."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A picture on the page, or the reason why it cannot be shown."""

    name: str
    data_uri: str | None
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    caption: str | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Figures under a heading; `none` says it when there are none."""

    title: str
    about: str
    figures: tuple[Figure, ...]
    none: str = ""


def picture_groups(manifest: Manifest, summary: Summary, random: np.random.Generator) -> list[Group]:
    """Random pictures, then close-ups of the worst hands by three measures."""
    chosen = np.sort(random.choice(summary.num_pictures, min(_RANDOM, summary.num_pictures), replace=False)).tolist()
    worst = {name: _of_different_pictures(least.rows) for name, least in summary.worst.items()}
    shown = [*chosen, *(number for hands in worst.values() for number, _ in hands)]
    places = manifest.places("images", shown)
    first = Group(
        title="Random pictures",
        about=f"{len(chosen)} of {summary.num_pictures:,}, drawn with a fixed seed: what the data is like.",
        figures=tuple(_picture(manifest.at(places[number])) for number in chosen),
        none="No picture was accepted.",
    )
    groups = [
        Group(
            title=title,
            about=about,
            figures=tuple(_picture(manifest.at(places[number]), side) for number, side in worst[name]),
            none=none,
        )
        for name, title, about, none in _WORST_GROUPS
    ]
    return [first, *groups]


def crop_group(manifest: Manifest, num_crops: int, random: np.random.Generator) -> Group:
    """Random rows of `hands`."""
    chosen = random.choice(num_crops, min(_CROPS, num_crops), replace=False).tolist()
    figures = []
    for place in manifest.places("hands", chosen).values():
        row = manifest.at(place)
        notes = [f"{row['hands']} hand{'s' if row['hands'] == 'both' else ''}"]
        notes.append("no mask" if row["mask"] is None else f"mask {row['mask_px']:,} px")
        notes.append(f"cut from {row['crop_box_xywh'][2]:.0f} px")
        figures.append(_figure(row["id"], draw_crop(row, long_side=_CROP_SIDE), notes, None))
    about = f"{len(figures)} of {num_crops:,}, at random: what the hand generator is trained on."
    return Group(title="Training crops", about=about, figures=tuple(figures), none="There is no crop.")


def reject_figures(rejects: Rejects, source_root: Location | None) -> list[Figure]:
    """Rejected pictures in turn by reason, as they lie in the dataset's folder."""
    if source_root is None:
        return []
    turns = zip_longest(*(rows[:_REJECTS] for rows in rejects.first.values()))
    shown = [row for turn in turns for row in turn if row is not None][:_REJECTS]
    return [_reject_figure(row, source_root.resolve()) for row in shown]


def _of_different_pictures(hands: Iterable[int]) -> list[tuple[int, Side]]:
    """The first few pictures of hands that are numbered by picture and side, each with its first hand's side."""
    sides: dict[int, Side] = {}
    for hand in hands:
        sides.setdefault(hand // len(SIDES), SIDES[hand % len(SIDES)])
    return list(sides.items())[:_WORST]


def _picture(row: dict[str, Any], side: str | None = None) -> Figure:
    """A picture with everything drawn: all of it, or the surroundings of one hand."""
    window = None if side is None else _around(row, side)
    drawn = draw_picture(row, long_side=_PICTURE_SIDE, window_xywh=window)
    sides = SIDES if side is None else (side,)
    notes = [note for name in sides if row[f"hand_{name}_found"] for note in _notes(row, name)]
    return _figure(row["id"], drawn, notes or ["no hand found"], row["caption"])


def _notes(row: dict[str, Any], side: str) -> Iterable[str]:
    by = row[f"hand_{side}_by"]
    yield f"{side} hand" + (f" by {tool(by)}" if by else "")
    if row[f"mask_{side}"] is not None:
        quality = row[f"mask_{side}_quality"]
        yield f"{side} mask {row[f'mask_{side}_px']:,} px" + ("" if quality is None else f", quality {quality:.2f}")
    elif row[f"mask_{side}_problem"]:
        yield f"{side}: no mask, {readable(row[f'mask_{side}_problem'])}"
    for check in row[f"hand_{side}_checks"] or []:
        yield f"{side}: {readable(check)}"


def _around(row: dict[str, Any], side: str) -> Window:
    """A square of about four times the hand, inside the picture, at least a quarter of it."""
    points = np.asarray(row[f"hand_{side}"], np.float32).reshape(-1, 3)
    left, top, width, height = extent_xywh(points)
    size = round(max(4 * max(width, height), 0.25 * max(row["width"], row["height"])))
    window_width, window_height = min(size, row["width"]), min(size, row["height"])
    x = int(np.clip(round(left + width / 2 - window_width / 2), 0, row["width"] - window_width))
    y = int(np.clip(round(top + height / 2 - window_height / 2), 0, row["height"] - window_height))
    return x, y, window_width, window_height


def _reject_figure(row: dict[str, Any], source_root: Location) -> Figure:
    path = below(source_root, row["source_path"]).resolve()
    notes = (readable(row["reason"]), STAGES.get(row["stage"], row["stage"]))
    if not path.is_relative_to(str(source_root)) or not path.is_file():
        return Figure(name=row["id"], data_uri=None, notes=notes, problem="the original is not there")
    try:
        picture = decode_rgb(path.read_bytes())
    except (DecodeError, OSError) as error:
        return Figure(name=row["id"], data_uri=None, notes=notes, problem=str(error))
    small_hw = fit_long_side(picture.shape[0], picture.shape[1], _PICTURE_SIDE)
    return _figure(row["id"], resize(picture, small_hw), notes, None)


def _figure(name: str, picture: UInt8[np.ndarray, "h w 3"], notes: Iterable[str], caption: str | None) -> Figure:
    data = _small_jpeg(picture)
    return Figure(
        name=name,
        data_uri=f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}",
        width=picture.shape[1],
        height=picture.shape[0],
        notes=tuple(notes),
        caption=caption,
    )


def _small_jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A JPEG below the limit: first by quality, then by size."""
    while True:
        for quality in (84, 70, 50, 30):
            data = encode_jpeg(picture, quality=quality)
            if len(data) <= _PICTURE_BYTES:
                return data
        picture = np.asarray(cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), np.uint8)
