"""Names of picture files, and several pictures as one."""

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Final

from PIL import Image

_LONGEST: Final = 48
"""Characters of a prompt in a file's name."""


def file_stem(prompt: str, seed: int) -> str:
    """A name for a picture: the prompt's first words and the seed."""
    words = " ".join(re.findall(r"[a-z0-9]+", prompt.lower()))
    first = shorten(words, _LONGEST, placeholder="") or words[:_LONGEST] or "picture"
    return f"{first.replace(' ', '-')}-{seed}"


def unused(path: Path) -> Path:
    """The path itself, or with a number where it is taken: no picture is overwritten."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in rows, about as wide as high."""
    columns = max(1, round(len(images) ** 0.5 + 0.4999))
    rows = -(-len(images) // columns)
    width, height = images[0].size
    joined = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for place, image in enumerate(images):
        joined.paste(image, (place % columns * width, place // columns * height))
    return joined
