"""The pictures behind the figures: what Inception sees of a hand, foregrounds, blends and methods side by side.

After the paper's figures 1 and 4 to 8, of a run's own pictures. Axis legend: h w picture size, c channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import Float32, UInt8

from h2d.errors import UserError
from h2d.eval.features import RANDOM, foreground
from h2d.eval.figure_sheet import Row, sheet
from h2d.eval.generate import method_folder
from h2d.eval.looking import Looks, choose_looks
from h2d.eval.looks.features import FeaturesLook
from h2d.eval.looks.foreground import ForegroundLook
from h2d.eval.methods import ABLATION, title_of
from h2d.eval.options import LookConfig
from h2d.eval.picture_list import Entry, PictureList
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.placing import Watch
from h2d.eval.report_tables import BLEND_TITLES
from h2d.eval.taking import take_looks
from h2d.images import encode_png, resize
from h2d.manifests.files import write_bytes
from h2d.manifests.rle import decode_rle
from h2d.pose.draw import draw_pose
from h2d.pose.layouts import HANDS
from h2d.pose.points import extent_xywh, present

NUM_SHOWN: Final = 4
_HAND_MARGIN: Final = 0.35
_COLUMNS: Final = 16
_CELL_PX: Final = 64
_POSE_PX: Final = 512
"""Skeletons have the widths that ControlNet saw at this size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A written figure, or why there is none."""

    name: str
    path: Path | None
    reason: str = ""


def write_figures(
    out: Path,
    pictures: PictureList,
    names: Sequence[str],
    target: Path,
    choices: LookConfig,
    watch: Watch,
    *,
    numbers: Sequence[int] | None = None,
) -> list[Figure] | None:
    """Write the figures of a run's methods as PNG into `target`; None when stopped.

    `numbers` are rows of the list, by default its first. Raises `UserError` where there is no such row.
    """
    entries = _chosen(pictures, numbers)
    looks = choose_looks(choices)
    made: dict[str, tuple[UInt8[np.ndarray, "h w 3"] | None, str]] = {
        "methods": (_methods(out, names, entries), ""),
        "blends": (_blends(out, names, entries), "fewer than two blends in the run: h2d evaluate ablation"),
        "inception_channels": (_channels(out, entries, looks), looks.missing.get("features", "")),
    }
    if looks.foreground is None:
        made["foregrounds"] = (None, looks.missing["foreground"])
    else:
        tables = _foreground_tables(out, pictures, names, looks, watch)
        if tables is None:
            return None
        made["foregrounds"] = (_foregrounds(out, names, entries, tables, looks), "")
    figures = []
    for name, (picture, reason) in made.items():
        if picture is None:
            figures.append(Figure(name=name, path=None, reason=reason))
            continue
        path = target / f"{name}.png"
        write_bytes(path, encode_png(picture))
        figures.append(Figure(name=name, path=path))
    return figures


def _chosen(pictures: PictureList, numbers: Sequence[int] | None) -> list[Entry]:
    if numbers is None:
        return list(pictures.entries[:NUM_SHOWN])
    for number in numbers:
        if not 0 <= number < len(pictures):
            raise UserError(f"--pictures {number}: the list has rows 0 to {len(pictures) - 1}")
    return [pictures.entries[number] for number in numbers]


def _read(out: Path, name: str, entry: Entry) -> UInt8[np.ndarray, "h w 3"]:
    folder = PictureFolder(path=out / REAL) if name == REAL else method_folder(out, name)
    return folder.read(entry)[0]


def _title(out: Path, name: str) -> str:
    return str(method_folder(out, name).made.get("title", title_of(name)))


def _methods(out: Path, names: Sequence[str], entries: Sequence[Entry]) -> UInt8[np.ndarray, "h w 3"]:
    """The pose that was asked for, the real picture, and every method's."""
    rows = [
        Row(
            pictures=(
                draw_pose(entry.pose.resized(_POSE_PX, _POSE_PX)),
                _read(out, REAL, entry),
                *(_read(out, name, entry) for name in names),
            ),
            text=entry.prompt,
        )
        for entry in entries
    ]
    heads = ["pose", "real picture", *(_title(out, name) for name in names)]
    return sheet(rows, heads, title="All methods on the same poses, prompts and seeds")


def _blends(out: Path, names: Sequence[str], entries: Sequence[Entry]) -> UInt8[np.ndarray, "h w 3"] | None:
    """The three ways to join hands and body, whole and around the hands."""
    blends = [name for name in ABLATION if name in names]
    if len(blends) < 2:
        return None
    rows = []
    for entry in entries:
        window = hand_window(entry)
        whole = [_read(out, name, entry) for name in blends]
        rows.append(Row(pictures=(*whole, *(cut(picture, window) for picture in whole)), text=entry.prompt))
    heads = [*(BLEND_TITLES[name] for name in blends), *(f"{BLEND_TITLES[name]}, hand" for name in blends)]
    about = "The same stage 1, poses, prompts and seeds: only what is put back after each step differs."
    return sheet(rows, heads, title="Blending", about=about, cell_px=224)


def _foreground_tables(
    out: Path, pictures: PictureList, names: Sequence[str], looks: Looks, watch: Watch
) -> dict[str, pa.Table] | None:
    few = Looks(pose=looks.pose, foreground=looks.foreground, features=(), clip=None, prompts=None, missing={})
    folders = {
        name: PictureFolder(path=out / REAL) if name == REAL else method_folder(out, name) for name in (REAL, *names)
    }
    seen = take_looks(few, pictures, folders, watch)
    return None if seen is None else {name: tables[ForegroundLook.name] for name, tables in seen.items()}


def _foregrounds(
    out: Path, names: Sequence[str], entries: Sequence[Entry], tables: dict[str, pa.Table], looks: Looks
) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures and what is left of them for FID fg."""
    assert looks.foreground is not None
    shown = (REAL, *names)
    rows = []
    for entry in entries:
        pictures = []
        for name in shown:
            picture = _read(out, name, entry)
            mask = decode_rle(tables[name]["mask"][entry.number].as_py())
            pictures += [picture, foreground(picture, mask)]
        rows.append(Row(pictures=tuple(pictures), text=entry.prompt))
    titles = ["Real picture", *(_title(out, name) for name in names)]
    heads = [head for title in titles for head in (title, "foreground")]
    segmenter = looks.foreground.identity()["segmenter"]["name"]
    about = f"Background removed by {segmenter}, filled with black: all is black where it finds nobody."
    return sheet(rows, heads, title="Foregrounds", about=about, cell_px=200)


def _channels(out: Path, entries: Sequence[Entry], looks: Looks) -> UInt8[np.ndarray, "h w 3"] | None:
    """Every channel of the layer that FID looks at, on a real hand (the paper's figure 4)."""
    look = next((look for look in looks.features if look.region == "whole"), None)
    if look is None:
        return None
    entry = max(entries, key=lambda one: hand_window(one)[2])
    hand = cut(_read(out, REAL, entry), hand_window(entry))
    maps = channel_maps(look, hand)
    grid = channel_grid(maps)
    kind = look.identity()["features"]
    trained = "random weights, not those of FID" if kind == RANDOM else f"weights {kind}"
    about = (
        f"{entry.id}: {len(maps)} channels of {maps.shape[1]} x {maps.shape[2]} from InceptionV3 at width {look.width},"
        f" {trained}. Each channel is scaled to its own range."
    )
    return _beside_hand(hand, grid, title="What the distance sees of a hand", about=about)


def channel_maps(look: FeaturesLook, picture: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "c m n"]:
    """The feature maps of one picture at the look's width."""
    import torch

    network = look.network
    network.to("cpu")
    with torch.inference_mode():
        maps = network.maps(network.resized(picture)[None])[look.width][0]
    return np.asarray(maps.numpy(), np.float32)


def channel_grid(maps: Float32[np.ndarray, "c m n"]) -> UInt8[np.ndarray, "h w 3"]:
    """The maps as tiles in viridis, sixteen in a row; a constant one is dark."""
    tiles = []
    for one in maps:
        low, high = float(one.min()), float(one.max())
        grey = np.zeros(one.shape, np.uint8) if high <= low else ((one - low) / (high - low) * 255).astype(np.uint8)
        tile = cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1]
        tiles.append(cv2.resize(np.ascontiguousarray(tile), (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_NEAREST))
    blank = np.full((_CELL_PX, _CELL_PX, 3), 255, np.uint8)
    tiles += [blank] * (-len(tiles) % _COLUMNS)
    padded = [np.pad(tile, ((1, 1), (1, 1), (0, 0)), constant_values=255) for tile in tiles]
    rows = [np.concatenate(padded[start : start + _COLUMNS], axis=1) for start in range(0, len(padded), _COLUMNS)]
    return np.asarray(np.concatenate(rows, axis=0), np.uint8)


def _beside_hand(
    hand: UInt8[np.ndarray, "h w 3"], grid: UInt8[np.ndarray, "h2 w2 3"], *, title: str, about: str
) -> UInt8[np.ndarray, "h3 w3 3"]:
    """The hand at the left, the grid at its right, on one page."""
    side = max(grid.shape[0], grid.shape[1])
    canvas = np.full((grid.shape[0], 340 + side, 3), 255, np.uint8)
    canvas[:320, :320] = resize(hand, (320, 320))
    canvas[:, 340 : 340 + grid.shape[1]] = grid
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (canvas.shape[1] + 48, canvas.shape[0] + 104), "white")
    draw = ImageDraw.Draw(page)
    draw.text((24, 20), title, (28, 30, 34), ImageFont.load_default(size=22))
    draw.text((24, 52), about, (104, 110, 120), ImageFont.load_default(size=14))
    page.paste(Image.fromarray(canvas), (24, 84))
    return np.asarray(page, np.uint8)


def hand_window(entry: Entry) -> tuple[int, int, int]:
    """Left, top and side of a square around the larger hand that is asked for, inside the picture."""
    hands = [entry.pose.people[0, hand] for hand in HANDS.values()]
    boxes = [extent_xywh(hand) for hand in hands if present(hand).any()]
    if not boxes:
        return 0, 0, entry.size
    left, top, width, height = max(boxes, key=lambda box: max(box[2:]))
    side = int(np.clip(round(max(width, height) * (1 + 2 * _HAND_MARGIN)), 16, entry.size))
    x = int(np.clip(round(left + width / 2 - side / 2), 0, entry.size - side))
    y = int(np.clip(round(top + height / 2 - side / 2), 0, entry.size - side))
    return x, y, side


def cut(picture: UInt8[np.ndarray, "h w 3"], window: tuple[int, int, int]) -> UInt8[np.ndarray, "s s 3"]:
    """A square of a picture."""
    left, top, side = window
    return np.ascontiguousarray(picture[top : top + side, left : left + side])
