"""What the pipeline gives: pictures, and everything that lies between.

Axis legend: b pictures, n steps, h w picture size, l k latent size.
"""

from dataclasses import dataclass, field

import numpy as np
from diffusers.utils import BaseOutput
from jaxtyping import Bool, UInt8
from PIL import Image

from h2d.infer.hands import Hand
from h2d.infer.zoom import Enlarged


@dataclass
class TwoStageOutput(BaseOutput):  # type: ignore[misc]
    """A picture each, in the order of the prompts; whatever else is a list has one entry a picture."""

    images: list[Image.Image]
    hands: list[list[Hand]]
    masks: list[UInt8[np.ndarray, "h w"]]
    """Of the hands in the picture, 0 or 255."""
    canvas: list[UInt8[np.ndarray, "h w 3"]]
    skeletons: list[UInt8[np.ndarray, "h w 3"]]
    decoded: list[UInt8[np.ndarray, "h w 3"]]
    """Before the hands' pixels are pasted."""
    enlarged: list[list[Enlarged]]
    """Windows around small hands, where `zoom_hands` asks for them."""
    step_masks: Bool[np.ndarray, "n b l k"]
    seeds: list[int]
    maker: str
    """What made the hands: a name of `h2d.infer.makers.MAKERS`."""
    notes: list[list[str]] = field(default_factory=list)
    """What a person should know of each picture: hands left out, a prompt cut, a mask that fails its check."""

    @property
    def cell_px(self) -> int:
        """Pixels of a latent's cell, a side."""
        return int(self.skeletons[0].shape[0] // self.step_masks.shape[-2])
