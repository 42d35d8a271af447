"""One sheet of everything between pose and picture, in the order of the paper's figure 2: hands above, body below.

Axis legend: h w size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from h2d.infer.hands import Hand
from h2d.infer.output import TwoStageOutput
from h2d.infer.zoom import Enlarged
from h2d.models.conditioning import finger_heatmaps
from h2d.pose.draw import hand_colours
from h2d.pose.layouts import SIDES
from h2d.pose.points import missing_points

_TILE: Final = 224
_GAP: Final = 28
_MARGIN: Final = 28
_NUM_STEPS_SHOWN: Final = 6
_INK: Final = (32, 33, 36)
_SOFT: Final = (110, 114, 120)
_PAPER: Final = (255, 255, 255)
_HAND_TINT: Final = (232, 240, 250)
_BODY_TINT: Final = (250, 241, 230)

_MADE_BY: Final = {"generator": "hand generator", "controlnet": "hand ControlNet", "photo": "photograph, fitted"}

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def heatmap_picture(hand: Hand, cell_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """The ten finger heatmaps of a crop, each finger in its own colour, at the latent's size; the highest is full."""
    size = hand.crop.size
    points = np.stack([hand.points.get(side, missing_points()) for side in SIDES])
    maps = finger_heatmaps(torch.from_numpy(points)[None], size_px=size, latent_size=size // cell_px)[0].numpy()
    colours = np.array(hand_colours()[::4] * 2, np.float32)
    mixed = (maps[:, :, :, None] * colours[:, None, None]).max(axis=0) / max(float(maps.max()), 1e-6)
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def mask_picture(mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """White where it is True."""
    return np.repeat((mask * np.uint8(255))[..., None], 3, axis=2)


def shown_steps(num_masked: int) -> list[int]:
    """Up to six steps, spread over those that put something back."""
    count = min(_NUM_STEPS_SHOWN, num_masked)
    return sorted({round(place) for place in np.linspace(0, num_masked - 1, count)}) if count else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    name: str
    pictures: Sequence[Picture]
    arrow: str = ""
    """What makes the next step of this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    heading: str
    steps: Sequence[_Step]
    tint: tuple[int, int, int]
    height: int = _TILE


def contact_sheet(output: TwoStageOutput, index: int, prompt: str) -> Image.Image:
    """The sheet of one picture of an output."""
    rows = [
        _hand_row(output.hands[index], _MADE_BY[output.maker], output.cell_px),
        _body_row(output, index),
        _mask_row(output.step_masks[:, index]),
        _zoom_row(output.enlarged[index]),
    ]
    return _drawn([row for row in rows if row.steps], prompt)


def _hand_row(hands: Sequence[Hand], made_by: str, cell_px: int) -> _Row:
    steps = [
        _Step(name="finger heatmaps", pictures=[heatmap_picture(hand, cell_px) for hand in hands], arrow=made_by),
        _Step(name="hand", pictures=[hand.picture for hand in hands]),
        _Step(name="its mask", pictures=[mask_picture(hand.mask) for hand in hands]),
    ]
    return _Row(heading="I  Hand generation", steps=steps if hands else [], tint=_HAND_TINT)


def _body_row(output: TwoStageOutput, index: int) -> _Row:
    steps = [
        _Step(name="skeleton", pictures=[output.skeletons[index]]),
        _Step(name="canvas", pictures=[output.canvas[index]]),
        _Step(name="hand mask", pictures=[mask_picture(output.masks[index] > 0)], arrow="outpainter"),
        _Step(name="decoded", pictures=[output.decoded[index]], arrow="paste"),
        _Step(name="picture", pictures=[np.asarray(output.images[index])]),
    ]
    return _Row(heading="II  Body outpainting", steps=steps, tint=_BODY_TINT)


def _mask_row(steps: Bool[np.ndarray, "n l k"]) -> _Row:
    num_masked = int(steps.any(axis=(1, 2)).sum())
    return _Row(
        heading=f"Put back from the canvas after a step; nothing after the last {len(steps) - num_masked}",
        steps=[
            _Step(name=f"step {step + 1}", pictures=[mask_picture(steps[step])]) for step in shown_steps(num_masked)
        ],
        tint=_BODY_TINT,
        height=_TILE // 2,
    )


def _zoom_row(windows: Sequence[Enlarged]) -> _Row:
    steps = [
        _Step(name="window", pictures=[window.before for window in windows], arrow="outpainter"),
        _Step(name="made again, hand and rim kept", pictures=[window.after for window in windows]),
    ]
    return _Row(heading="Around small hands, enlarged", steps=steps if windows else [], tint=_BODY_TINT)


def _drawn(rows: Sequence[_Row], prompt: str) -> Image.Image:
    title, label = ImageFont.load_default(size=20), ImageFont.load_default(size=14)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    laid = [[_Laid(measure, label, step, row.height) for step in row.steps] for row in rows]
    width = max([480, *(sum(cell.width for cell in cells) for cells in laid)]) + 4 * _MARGIN - _GAP
    sheet = Image.new("RGB", (width, 60 + sum(row.height + 98 for row in rows) + _MARGIN - 14), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 22), _shortened(f"“{prompt}”", draw, title, width - 2 * _MARGIN), _INK, title)
    top = 60
    for row, cells in zip(rows, laid, strict=True):
        draw.rounded_rectangle((_MARGIN, top, width - _MARGIN, top + row.height + 84), 10, row.tint)
        draw.text((2 * _MARGIN, top + 12), row.heading, _INK, label)
        left = 2 * _MARGIN
        for cell in cells:
            sheet.paste(cell.tile, (left, top + 38))
            draw.text((left, top + 38 + row.height + 8), cell.step.name, _SOFT, label)
            if cell.step.arrow:
                start, end = left + max(cell.tile.width, cell.name_width), left + cell.width
                _arrow(draw, label, start, end, top + 38 + row.height // 2, cell.step.arrow)
            left += cell.width
        top += row.height + 98
    return sheet


class _Laid:
    """A step's tile and the room that it takes, its arrow included."""

    def __init__(self, draw: ImageDraw.ImageDraw, font: _Font, step: _Step, height: int) -> None:
        self.step = step
        self.tile = _tile(step.pictures, height)
        self.name_width = round(draw.textlength(step.name, font))
        room = round(draw.textlength(step.arrow, font)) + 40 if step.arrow else _GAP
        self.width = max(self.tile.width, self.name_width) + room


def _arrow(draw: ImageDraw.ImageDraw, font: _Font, start: int, end: int, middle: int, name: str) -> None:
    """What turns one tile into the next, over an arrow."""
    draw.line((start + 10, middle, end - 16, middle), _INK, 2)
    draw.polygon([(end - 16, middle - 5), (end - 9, middle), (end - 16, middle + 5)], _INK)
    draw.text(((start + end) / 2, middle - 12), name, _INK, font, anchor="ms")


def _tile(pictures: Sequence[Picture], height: int) -> Image.Image:
    """Pictures side by side, each scaled to a height; small ones keep their pixels' edges."""
    scaled = [_scaled(Image.fromarray(picture), height) for picture in pictures]
    joined = Image.new("RGB", (sum(part.width for part in scaled) + 4 * (len(scaled) - 1), height), _PAPER)
    left = 0
    for part in scaled:
        joined.paste(part, (left, 0))
        left += part.width + 4
    return joined


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    grows = height >= 1.5 * picture.height
    size = max(1, round(picture.width * height / picture.height)), height
    return picture.resize(size, Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS)


def _shortened(text: str, draw: ImageDraw.ImageDraw, font: _Font, room: float) -> str:
    while draw.textlength(text, font) > room and len(text) > 8:
        text = text[:-5] + "…”"
    return text
