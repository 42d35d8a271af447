"""The miniature that comes with h2d: every network of the method, small, trained on drawn people; see its README.md."""

from pathlib import Path
from typing import Final

import h2d

MINIATURE: Final = "miniature"
"""Both stages as one saved pipeline."""
SHIPPED: Final[dict[str, str]] = {
    MINIATURE: "two_stage",
    "miniature-base": "text_to_image",
    "miniature-control": "controlnet",
}
"""Name -> folder: what is sampled with, the text-to-image model, and the ControlNet of one stage beside it."""


def find_shipped(name: str) -> Path | None:
    """Where the networks of a name lie, or None for a name of none."""
    folder = SHIPPED.get(name)
    return None if folder is None else miniature_folder() / folder


def miniature_folder() -> Path:
    """The miniature's folder, its model card in it."""
    return Path(h2d.__file__).parent / "assets" / "miniature"
