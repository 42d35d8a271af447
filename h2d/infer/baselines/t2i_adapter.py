"""T2I-Adapter on OpenPose's skeleton: the body alone, for it was trained without hands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import diffusers
from PIL import Image

from h2d.infer.baselines.diffusers_pipeline import PipelineBaseline
from h2d.infer.jobs import Job
from h2d.models.reading import read_network
from h2d.pose.draw import draw_pose
from h2d.pose.pose import Pose


class T2IAdapter(PipelineBaseline):
    """Stable Diffusion 1.5, whose encoder's features a small network shifts, once a picture."""

    title: ClassVar[str] = "T2I-Adapter"
    name: ClassVar[str] = "t2i-adapter"
    control: ClassVar[str | None] = "t2i-adapter-openpose"

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """That hands are not seen."""
        unseen = ["t2i-adapter does not see the hands"] if any(pose.hands()) else []
        return [*super().notes(prompt, pose), *unseen]

    def _pipeline(self, parts: dict[str, Any], places: Mapping[str, Path]) -> Any:
        adapter = load_adapter(places["control"])
        return diffusers.StableDiffusionAdapterPipeline(adapter=adapter, **parts)

    def _shown(self, jobs: Sequence[Job]) -> Mapping[str, Any]:
        drawn = [draw_pose(job.framed, style="v1.0", hands=False, face=False) for job in jobs]
        return {
            "image": [Image.fromarray(picture) for picture in drawn],
            "adapter_conditioning_scale": self._strength,
        }


def load_adapter(place: Path) -> Any:
    """A T2I-Adapter in diffusers' format; raises `UserError` on a pickle and on anything else."""
    return read_network(diffusers.T2IAdapter, place)
