"""Methods on pipelines of diffusers' own: the same parts, noise and call, and what each is shown besides the prompt."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from h2d.infer.baselines import OWN_OPTIONS
from h2d.infer.baselines.base import (
    BaselineOptions,
    Picture,
    Sampling,
    WantedSize,
    generators_of,
    noise_of,
    place_of,
    plan,
    settle,
    size_of,
)
from h2d.infer.jobs import Job
from h2d.infer.latents import decode
from h2d.infer.loading import made_ready
from h2d.infer.schedulers import make_scheduler, steady_eta
from h2d.infer.text import prompt_notes
from h2d.models.base import load_scheduler, load_text_encoder, load_tokenizer, load_unet, load_vae
from h2d.models.words import known_words
from h2d.pose.pose import Pose


class PipelineBaseline:
    """What the methods have in common; each has its own `_pipeline` and `_shown`.

    A base class against the house's rule: the methods differ in these two functions alone.
    """

    name: ClassVar[str]
    base: ClassVar[str] = "stable-diffusion-1.5"
    control: ClassVar[str | None] = None
    scale: ClassVar[float | None] = 1.0

    def __init__(self, options: BaselineOptions) -> None:
        self._options = options
        self._pipe: Any = None

    def places(self) -> Mapping[str, Path]:
        """The base, and the network that sees the pose."""
        chosen = self._options
        found = {"base": place_of(self.base, chosen.base, chosen.weights)}
        if self.control is not None:
            found["control"] = place_of(self.control, chosen.control, chosen.weights)
        return found

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Read the parts and join them to the pipeline."""
        places = self.places()
        pipe = self._pipeline(base_parts(places["base"], self._options.scheduler), places)
        self._pipe = made_ready(pipe, device, dtype)

    @property
    def components(self) -> Mapping[str, Any]:
        """The pipeline's."""
        found: Mapping[str, Any] = self._pipe.components
        return found

    def sampling(self, steps: int | None, guidance: float | None) -> Sampling:
        """As `Baseline`."""
        return settle(self.name, self._options, self.places(), steps=steps, guidance=guidance, control_scale=self.scale)

    def size_of(self, pose: Pose, wanted_hw: WantedSize) -> tuple[int, int]:
        """By the pose's shape, its short side as the U-Net was trained."""
        return size_of(self._pipe.unet, self._pipe.vae, pose, wanted_hw)

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """What of the prompt is cut or left out."""
        return prompt_notes(self._pipe.tokenizer, prompt)

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
        jobs = plan(self._pipe.unet, self._pipe.vae, prompts, poses, seeds, size)
        return self._make(jobs, steps, guidance, negative, self._shown(jobs))

    @torch.no_grad()
    def _make(
        self,
        jobs: Sequence[Job],
        steps: int | None,
        guidance: float | None,
        negative: str | None,
        shown: Mapping[str, Any],
    ) -> list[Picture]:
        height, width = jobs[0].framed.size_hw
        unwanted = OWN_OPTIONS.get(self.name, {}).get("negative_prompt", "") if negative is None else negative
        chosen = self.sampling(steps, guidance)
        self._pipe.scheduler.set_timesteps(chosen.steps)
        made = self._pipe(
            prompt=[known_words(self._pipe.tokenizer, job.prompt) for job in jobs],
            negative_prompt=[known_words(self._pipe.tokenizer, unwanted)] * len(jobs),
            height=height,
            width=width,
            num_inference_steps=chosen.steps,
            guidance_scale=chosen.guidance_scale,
            latents=noise_of(jobs, self._pipe.vae).to(self._pipe.device, self._pipe.unet.dtype),
            output_type="latent",
            eta=steady_eta(self._pipe.scheduler, chosen.eta or 0.0),
            **{"generator": generators_of(jobs), **shown},
        )
        return decode(self._pipe.vae, made.images)

    @property
    def _strength(self) -> float | None:
        return self.sampling(None, None).control_scale

    def _pipeline(self, parts: dict[str, Any], places: Mapping[str, Path]) -> Any:
        raise NotImplementedError

    def _shown(self, jobs: Sequence[Job]) -> Mapping[str, Any]:
        raise NotImplementedError


def base_parts(place: Path, scheduler: str) -> dict[str, Any]:
    """The parts of a Stable Diffusion by the names of diffusers' pipelines; no safety checker, as in the comparison."""
    return {
        "vae": load_vae(place),
        "text_encoder": load_text_encoder(place),
        "tokenizer": load_tokenizer(place),
        "unet": load_unet(place),
        "scheduler": make_scheduler(scheduler, load_scheduler(place)),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
