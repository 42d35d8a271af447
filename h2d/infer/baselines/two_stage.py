"""Our own method among those that it is compared with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from h2d.errors import UserError
from h2d.infer.baselines.base import DEFAULT_GUIDANCE, BaselineOptions, Picture, WantedSize, place_of, size_of
from h2d.infer.choosing import RECORDED, Models, default_models, models_of
from h2d.infer.loading import load_models, made_ready
from h2d.infer.text import cut_notes
from h2d.pose.pose import Pose


class TwoStage:
    """`TwoStagePipeline` with its defaults."""

    title: ClassVar[str] = "Two-stage (ours)"
    name: ClassVar[str] = "two-stage"

    def __init__(self, options: BaselineOptions) -> None:
        self._options = options
        self._pipe: Any = None

    def places(self) -> Mapping[str, Path]:
        """Both checkpoints, or the saved pipeline."""
        models = self._models()
        named = {"hand": models.hand, "hand_controlnet": models.hand_controlnet, "pipeline": models.pipeline_folder}
        found = {name: place for name, place in named.items() if place is not None}
        if models.outpaint is not None:
            found["outpaint"] = place_of("control-openpose-1.1", str(models.outpaint), self._options.weights)
        return found

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Join the two checkpoints."""
        self._pipe = made_ready(load_models(self._models()), device, dtype)

    @property
    def components(self) -> Mapping[str, Any]:
        """The pipeline's."""
        found: Mapping[str, Any] = self._pipe.components
        return found

    def size_of(self, pose: Pose, wanted_hw: WantedSize) -> tuple[int, int]:
        """By the pose's shape."""
        return size_of(self._pipe.unet, self._pipe.vae, pose, wanted_hw)

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """What of the prompt is cut."""
        return cut_notes(self._pipe.tokenizer, prompt)

    def __call__(
        self,
        prompts: Sequence[str],
        poses: Sequence[Pose],
        seeds: Sequence[int],
        *,
        size: WantedSize = (None, None),
        steps: int | None = None,
        guidance: float | None = None,
        negative: str | None = None,
    ) -> list[Picture]:
        """As `Baseline`."""
        height, width = size
        made = self._pipe(
            prompts,
            poses,
            seed=list(seeds),
            scheduler=self._options.scheduler,
            num_inference_steps=steps,
            guidance_scale=DEFAULT_GUIDANCE if guidance is None else guidance,
            negative_prompt=negative or "",
            height=height,
            width=width,
        )
        return [np.asarray(image) for image in made.images]

    def _models(self) -> Models:
        chosen = self._options
        if chosen.pipeline is not None:
            return Models(pipeline=chosen.pipeline)
        if chosen.hand is None and chosen.hand_controlnet is None and chosen.outpaint is None:
            return default_models()
        if chosen.outpaint is None:
            raise UserError("outpaint is missing: name a checkpoint of h2d train outpaint, or control-openpose-1.1")
        return models_of({name: getattr(chosen, name) for name in RECORDED})
