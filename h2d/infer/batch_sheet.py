"""Pictures of a batch as one page: each beside the pose that it was made of, its prompt below.

Axis legend: h w size.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from h2d.infer.provenance import pose_of, read_record
from h2d.pose.draw import control_picture

MOST: Final = 24
"""Pictures of one page; those of the first lines."""
_PER_ROW: Final = 3
_HEIGHT: Final = 288
_GAP: Final = 20
_LINE: Final = 17
_NUM_LINES: Final = 3
_INK: Final = (60, 64, 67)
_PAPER: Final = (255, 255, 255)


def batch_sheet(files: Sequence[Path]) -> Image.Image:
    """The page of pictures that h2d made, at most `MOST`; raises `UserError` on a file that it did not make."""
    rows = _rows([_cell(file) for file in files[:MOST]])
    height = rows[0][0].height + _GAP
    page = Image.new("RGB", (max(map(_width, rows)) + _GAP, len(rows) * height + _GAP), _PAPER)
    for number, row in enumerate(rows):
        left = _GAP
        for cell in row:
            page.paste(cell, (left, _GAP + number * height))
            left += cell.width + _GAP
    return page


def _rows(cells: Sequence[Image.Image]) -> list[list[Image.Image]]:
    """The cells in order, on the narrowest page that has no more rows than three a row would make."""
    wanted = -(-len(cells) // _PER_ROW)
    rooms = sorted({_width(cells[first:last]) for first, last in combinations(range(len(cells) + 1), 2)})
    return next(rows for room in rooms if len(rows := _filled(cells, room)) <= wanted)


def _filled(cells: Sequence[Image.Image], room: int) -> list[list[Image.Image]]:
    rows: list[list[Image.Image]] = [[]]
    for cell in cells:
        if rows[-1] and _width([*rows[-1], cell]) > room:
            rows.append([])
        rows[-1].append(cell)
    return rows


def _width(row: Sequence[Image.Image]) -> int:
    return sum(cell.width + _GAP for cell in row)


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
