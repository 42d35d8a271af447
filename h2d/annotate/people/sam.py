"""People by Segment Anything, asked with the person's points and their box, as the paper removes backgrounds (IV-D).

The paper states no prompt. Ours: the body's and the hands' visible points as positive points, and their grown box.
Axis legend: h height, w width, n points.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate.masks.prompts import HandPrompt, grown_box, inside, size_of
from h2d.annotate.masks.sam_weights import file_sha256, load_sam
from h2d.config import config
from h2d.machine import device_named
from h2d.pose.layouts import BODY, HANDS, WRIST
from h2d.pose.points import LEAST_CONFIDENCE

_ASKED: Final = (*range(BODY.start, BODY.stop), *(hand.start + WRIST for hand in HANDS.values()))
_MARGIN: Final = 0.10
"""By which the box of all visible points grows."""


@config
class SamPeople:
    """By its authors' package and checkpoint files."""

    needs_points: ClassVar[bool] = True
    model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    checkpoint: Path
    checkpoint_sha256: str | None = None
    device: str = "auto"
    batch_size: int = 8
    """Pictures encoded at once."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def identity(self) -> Mapping[str, Any]:
        """Model and hash of the weights; raises `UserError` when the file is absent and no hash was given."""
        hashed = (self.checkpoint_sha256 or file_sha256(self.checkpoint)).lower()
        return {"name": "sam", "model": self.model, "checkpoint_sha256": hashed, "prompt": "points and box"}

    def setup(self) -> None:
        """Load the weights."""
        _ = self._runner

    def close(self) -> None:
        """Let the weights go."""
        self.__dict__.pop("_runner", None)

    def segment(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], people: Sequence[Float32[np.ndarray, "133 3"]]
    ) -> list[Bool[np.ndarray, "h w"]]:
        """SAM's mask for several points, the one it was trained to give where the prompt is not ambiguous."""
        masks = []
        for start in range(0, len(pictures), self.batch_size):
            batch = slice(start, start + self.batch_size)
            masks += self._segment(pictures[batch], people[batch])
        return masks

    def _segment(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], people: Sequence[Float32[np.ndarray, "133 3"]]
    ) -> list[Bool[np.ndarray, "h w"]]:
        prompts = [prompt_of(points, size_of(picture)) for picture, points in zip(pictures, people, strict=True)]
        # One prompt a picture, under the name of a hand, which is what the runner knows.
        offers = self._runner.candidates(pictures, [{} if prompt is None else {"left": prompt} for prompt in prompts])
        return [
            offer["left"].masks[0] if "left" in offer else np.zeros(picture.shape[:2], bool)
            for offer, picture in zip(offers, pictures, strict=True)
        ]

    @cached_property
    def _runner(self) -> Any:
        import torch

        from h2d.annotate.masks.sam_model import PromptedSam

        device = torch.device(device_named(self.device))
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        return PromptedSam(load_sam(self.model, self.checkpoint), device=device, dtype=dtype)


def prompt_of(points: Float32[np.ndarray, "133 3"], size_hw: tuple[int, int]) -> HandPrompt | None:
    """What SAM is asked; None where no point of the person is seen."""
    seen = inside(points, size_hw) & (points[:, 2] >= LEAST_CONFIDENCE)
    asked = points[list(_ASKED)][seen[list(_ASKED)]]
    if not len(asked):
        return None
    return HandPrompt(
        box_xyxy=grown_box(points[seen], _MARGIN, size_hw), points=asked[:, :2], labels=np.ones(len(asked), bool)
    )
