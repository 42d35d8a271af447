"""Blending strategies by name."""

from typing import Final

BLENDS: Final = {
    "expanding": "h2d.infer.blending.expanding:Expanding",
    "naive": "h2d.infer.blending.constant:Naive",
    "bbox": "h2d.infer.blending.constant:BoundingBox",
}

DEFAULT_BLEND: Final = "expanding"
