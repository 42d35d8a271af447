"""Stable Diffusion 1.5: the prompt alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from diffusers import StableDiffusionPipeline

from h2d.infer.baselines.diffusers_pipeline import PipelineBaseline
from h2d.infer.jobs import Job
from h2d.pose.pose import Pose


class StableDiffusion(PipelineBaseline):
    """Is told nothing of the pose but the picture's shape."""

    title: ClassVar[str] = "Stable Diffusion"
    name: ClassVar[str] = "stable-diffusion"
    scale: ClassVar[float | None] = None

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """That the pose is not seen."""
        return [*super().notes(prompt, pose), "stable-diffusion does not see the pose"]

    def _pipeline(self, parts: dict[str, Any], places: Mapping[str, Path]) -> Any:
        return StableDiffusionPipeline(**parts)

    def _shown(self, jobs: Sequence[Job]) -> Mapping[str, Any]:
        return {}
