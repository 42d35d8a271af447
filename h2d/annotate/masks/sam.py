"""Hand masks by Segment Anything, prompted with each hand's box and points.

All hands of a view are asked of one encoded picture; views are encoded in batches. Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from h2d.annotate.base import HandMask, HandView
from h2d.annotate.masks.cleanup import MaskRules, clean_mask, precision, problem_of, recall
from h2d.annotate.masks.prompts import Candidates, hand_prompts, size_of
from h2d.annotate.masks.sam_weights import file_sha256, load_sam
from h2d.config import as_plain, config
from h2d.errors import UserError
from h2d.machine import device_named
from h2d.pose.layouts import Side


@config
class SamSegmenter:
    """Segment Anything by its authors' package and checkpoint files."""

    model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    """The paper's is vit_h."""
    checkpoint: Path
    """The official file, for instance sam_vit_h_4b8939.pth."""
    checkpoint_sha256: str | None = None
    """Checked when the weights are loaded, if it is given; it spares `identity` from reading the file."""
    device: str = "auto"
    """A torch device; "auto" is the CUDA device if there is one, else the CPU."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the picture encoder; "auto" is bfloat16 on CUDA, else float32. Prompts and masks are always float32."""
    batch_size: int = 8
    """Views encoded at once."""
    rules: MaskRules = MaskRules()

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def identity(self) -> Mapping[str, Any]:
        """Model, hash of the weights, precision and rules; not where the file lies or what it runs on.

        Raises `UserError` when the file is absent and its hash was not given.
        """
        return {
            "name": "sam",
            "model": self.model,
            "checkpoint_sha256": (self.checkpoint_sha256 or file_sha256(self.checkpoint)).lower(),
            "dtype": self.dtype,
            "rules": as_plain(self.rules),
        }

    def setup(self) -> None:
        """Load the weights; raises `UserError` when the file is absent, damaged or another model's."""
        _ = self._runner

    def close(self) -> None:
        """Let the weights go."""
        self.__dict__.pop("_runner", None)

    def segment(self, views: Sequence[HandView]) -> list[dict[Side, HandMask]]:
        """One answer per view, in order; every hand of a view has an entry."""
        answers: list[dict[Side, HandMask]] = []
        for start in range(0, len(views), self.batch_size):
            batch = views[start : start + self.batch_size]
            pictures = [view.picture for view in batch]
            prompts = [
                hand_prompts(view.hands, margin=self.rules.box_margin, size_hw=size_of(view.picture)) for view in batch
            ]
            offers = self._runner.candidates(pictures, prompts)
            answers += [
                {side: chosen(offer.get(side), points, self.rules) for side, points in view.hands.items()}
                for view, offer in zip(batch, offers, strict=True)
            ]
        return answers

    @cached_property
    def _runner(self) -> Any:
        """Kept beside the fields, so that the config stays frozen, comparable and picklable before `setup`."""
        import torch

        from h2d.annotate.masks.sam_model import PromptedSam

        if self.checkpoint_sha256 and file_sha256(self.checkpoint) != self.checkpoint_sha256.lower():
            raise UserError(f"{self.checkpoint}: its SHA-256 is not {self.checkpoint_sha256}: get the file again")
        device = torch.device(device_named(self.device))
        dtype = self.dtype if self.dtype != "auto" else "bfloat16" if device.type == "cuda" else "float32"
        return PromptedSam(load_sam(self.model, self.checkpoint), device=device, dtype=getattr(torch, dtype))


def chosen(offer: Candidates | None, points: Float32[np.ndarray, "21 3"], rules: MaskRules) -> HandMask:
    """The best candidate that is accepted once it is cleaned; if none is, why the best of them was refused.

    A candidate's score is SAM's predicted IoU times the recall of the points times the share inside the clip box.
    """
    if offer is None:
        return HandMask(mask=None, quality=0.0, problem="no point of the hand lies in the crop")
    scores = [
        float(np.clip(iou, 0, 1)) * recall(mask, points) * precision(mask, points, rules)
        for mask, iou in zip(offer.masks, offer.iou, strict=True)
    ]
    order = np.argsort(scores)[::-1]
    problems: list[str] = []
    for index in order:
        cleaned = clean_mask(offer.masks[index], points, rules)
        problem = problem_of(cleaned, points, rules)
        if problem is None:
            return HandMask(mask=cleaned, quality=scores[index])
        problems.append(problem)
    return HandMask(mask=None, quality=scores[order[0]], problem=problems[0])
