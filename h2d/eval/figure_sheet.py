"""Pictures in rows and columns with words: heads above, a text below each row."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from h2d.images import resize

Picture: TypeAlias = UInt8[np.ndarray, "_ _ 3"]

_GAP: Final = 10
_MARGIN: Final = 24
_HEAD_PX: Final = 17
_TEXT_PX: Final = 14
_LINE_PX: Final = 19
_INK: Final = (28, 30, 34)
_SOFT: Final = (104, 110, 120)
_MAX_TEXT_LINES: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Square pictures of one subject, and what is said below them."""

    pictures: tuple[Picture, ...]
    text: str = ""


def sheet(rows: Sequence[Row], heads: Sequence[str], *, title: str, about: str = "", cell_px: int = 256) -> Picture:
    """Lay rows out on white; every row has a picture for each head."""
    head_font = ImageFont.load_default(size=_HEAD_PX)
    text_font = ImageFont.load_default(size=_TEXT_PX)
    title_font = ImageFont.load_default(size=_HEAD_PX + 5)
    columns = len(heads)
    width = max(2 * _MARGIN + columns * cell_px + (columns - 1) * _GAP, 480)
    about_lines = _wrapped(about, text_font, width - 2 * _MARGIN)
    head_lines = [_wrapped(head, head_font, cell_px) for head in heads]
    top = _MARGIN + 32 + _LINE_PX * len(about_lines) + 10
    first = top + (_HEAD_PX + 4) * max(map(len, head_lines)) + 8
    texts = [_wrapped(row.text, text_font, width - 2 * _MARGIN)[:_MAX_TEXT_LINES] for row in rows]
    height = first + sum(cell_px + _GAP + _LINE_PX * len(lines) + (6 if lines else 0) for lines in texts) + _MARGIN
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN - 4), title, _INK, title_font)
    for number, line in enumerate(about_lines):
        draw.text((_MARGIN, _MARGIN + 28 + number * _LINE_PX), line, _SOFT, text_font)
    for column, lines in enumerate(head_lines):
        for number, line in enumerate(lines):
            middle = _MARGIN + column * (cell_px + _GAP) + cell_px / 2
            draw.text((middle, top + number * (_HEAD_PX + 4)), line, _INK, head_font, anchor="ma")
    y = first
    for row, lines in zip(rows, texts, strict=True):
        for column, picture in enumerate(row.pictures):
            page.paste(Image.fromarray(resize(picture, (cell_px, cell_px))), (_MARGIN + column * (cell_px + _GAP), y))
        y += cell_px + 6
        for line in lines:
            draw.text((_MARGIN, y), line, _SOFT, text_font)
            y += _LINE_PX
        y += _GAP - 6 + (6 if lines else 0)
    return np.asarray(page, np.uint8)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> list[str]:
    """Lines that fit, by the mean width of the text's letters."""
    if not text:
        return []
    letters = max(8, int(width_px / max(font.getlength(text) / len(text), 1)))
    return textwrap.wrap(text, letters)
