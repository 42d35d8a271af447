"""Pictures of a batch as one page: each beside the pose that it was made of, its prompt below.

Axis legend: h w size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from h2d.infer.provenance import pose_of, read_record
from h2d.pose.draw import control_picture

MOST: Final = 24
"""Pictures of one page; those of the first lines."""
_HEIGHT: Final = 288
_GAP: Final = 20
_LINE: Final = 17
_NUM_LINES: Final = 3
_INK: Final = (60, 64, 67)
_PAPER: Final = (255, 255, 255)


def batch_sheet(files: Sequence[Path]) -> Image.Image:
    """The page of pictures that h2d made, at most `MOST`; raises `UserError` on a file that it did not make."""
    cells = [_cell(file) for file in files[:MOST]]
    columns = max(1, min(3, len(cells)))
    width, height = max(cell.width for cell in cells) + _GAP, max(cell.height for cell in cells) + _GAP
    page = Image.new("RGB", (columns * width + _GAP, -(-len(cells) // columns) * height + _GAP), _PAPER)
    for place, cell in enumerate(cells):
        page.paste(cell, (_GAP + place % columns * width, _GAP + place // columns * height))
    return page


def _cell(file: Path) -> Image.Image:
    record = read_record(file)
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    width = round(picture.width * _HEIGHT / picture.height)
    skeleton = Image.fromarray(control_picture(pose_of(record["pose"]).resized(width, _HEIGHT)))
    cell = Image.new("RGB", (2 * width, _HEIGHT + 8 + _NUM_LINES * _LINE), _PAPER)
    cell.paste(skeleton, (0, 0))
    cell.paste(picture.resize((width, _HEIGHT), Image.Resampling.LANCZOS), (width, 0))
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(size=13)
    for number, line in enumerate(_lines(record["prompt"], draw, font, cell.width)):
        draw.text((0, _HEIGHT + 6 + number * _LINE), line, _INK, font)
    return cell


def _lines(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int
) -> list[str]:
    """The text broken between words; what does not fit into three lines is left out, and an ellipsis says so."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= _NUM_LINES else [*lines[: _NUM_LINES - 1], f"{lines[_NUM_LINES - 1]} …"]
