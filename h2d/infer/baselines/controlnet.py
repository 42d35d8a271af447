"""ControlNet 1.1 on OpenPose's skeleton: body, hands and face."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

from h2d.infer.baselines.diffusers_pipeline import PipelineBaseline
from h2d.infer.jobs import Job
from h2d.models.outpainter import load_controlnet
from h2d.pose.draw import control_picture


class ControlNet(PipelineBaseline):
    """Stable Diffusion 1.5, steered by the whole skeleton as our stage 2 sees it."""

    title: ClassVar[str] = "ControlNet"
    name: ClassVar[str] = "controlnet"
    control: ClassVar[str | None] = "control-openpose-1.1"

    def _pipeline(self, parts: dict[str, Any], places: Mapping[str, Path]) -> Any:
        return StableDiffusionControlNetPipeline(controlnet=load_controlnet(places["control"]), **parts)

    def _shown(self, jobs: Sequence[Job]) -> Mapping[str, Any]:
        return {
            "image": [Image.fromarray(control_picture(job.framed, style="v1.1")) for job in jobs],
            "controlnet_conditioning_scale": self._strength,
        }
