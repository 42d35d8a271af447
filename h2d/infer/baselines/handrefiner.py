"""HandRefiner: the hands of a finished picture painted anew, under a ControlNet on their depth.

Axis legend: b pictures, h w picture size, l k latent size.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from h2d.errors import UserError
from h2d.images import DecodeError, load_rgb
from h2d.infer.baselines import BASELINES
from h2d.infer.baselines.base import BaselineOptions, Picture, WantedSize, noise_of, place_of, plan
from h2d.infer.baselines.capsules import box_around, draw_hands
from h2d.infer.baselines.diffusers_pipeline import PipelineBaseline
from h2d.infer.jobs import Job
from h2d.infer.latents import encode
from h2d.infer.loop import Noise, generator_of
from h2d.infer.pixels import mask_to_networks, to_networks
from h2d.models.base import read_config
from h2d.models.ldm import load_ldm_controlnet
from h2d.models.outpainter import kept_cells, load_controlnet
from h2d.pose.pose import Pose
from h2d.registry import resolve

_HASH_DIGITS: Final = 16


class HandRefiner(PipelineBaseline):
    """Its ControlNet on Stable Diffusion's inpainting U-Net, after a picture of another method.

    Its authors fit a mesh to the hand that they find in the picture; here depth and mask are given as files, or drawn
    from the pose's own points (`capsules`), which asks for a first picture that follows the pose.
    """

    title: ClassVar[str] = "HandRefiner"
    name: ClassVar[str] = "handrefiner"
    base: ClassVar[str] = "sd-1.5-inpainting"
    control: ClassVar[str | None] = "handrefiner-control"
    scale: ClassVar[float | None] = 0.55

    def __init__(self, options: BaselineOptions) -> None:
        super().__init__(options)
        # `base` and `control` name this method's own networks, not the first picture's.
        own = BaselineOptions(weights=options.weights, scheduler=options.scheduler, eta=options.eta)
        self._first = resolve(BASELINES, options.first, kind="method")(own) if options.picture is None else None

    def places(self) -> Mapping[str, Path]:
        """Its own, and those of what makes the first picture."""
        first = self._first.places() if self._first is not None else {}
        return {**super().places(), **{f"first_{name}": place for name, place in first.items()}}

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Both pipelines."""
        super().load(device, dtype)
        if self._pipe.unet.config.in_channels != 9:
            raise UserError(
                f"{place_of(self.base, self._options.base, self._options.weights)}: its U-Net takes"
                f" {self._pipe.unet.config.in_channels} channels, an inpainting one 9: give an inpainting base"
            )
        if self._first is not None:
            self._first.load(device, dtype)

    @property
    def components(self) -> Mapping[str, Any]:
        """Its own, and the first method's as `first_...`."""
        first = self._first.components if self._first is not None else {}
        return {**super().components, **{f"first_{name}": part for name, part in first.items()}}

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """Where the depth is from, and whether there is anything to repair."""
        found = super().notes(prompt, pose)
        if self._options.depth is None:
            hands = any(pose.hands())
            found.append("depth of the hands: drawn from the pose's points" if hands else "no hands: nothing repaired")
        return found

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
        """As `Baseline`; the first picture is made with its own method's guidance and nothing unwanted."""
        jobs = plan(self._pipe.unet, self._pipe.vae, prompts, poses, seeds, size)
        if self._first is not None:
            pictures: list[Picture] = self._first(prompts, poses, seeds, size=jobs[0].framed.size_hw, steps=steps)
        else:
            pictures = [self._given("picture", job) for job in jobs]
        hands = [self._hands(job) for job in jobs]
        todo = [place for place, (_, mask) in enumerate(hands) if mask.any()]
        if todo:
            chosen = [jobs[place] for place in todo]
            shown = self._repairing(chosen, [pictures[place] for place in todo], [hands[place] for place in todo])
            for place, picture in zip(todo, self._make(chosen, steps, guidance, negative, shown), strict=True):
                pictures[place] = picture
        return pictures

    def _pipeline(self, parts: dict[str, Any], places: Mapping[str, Path]) -> Any:
        place = places["control"]
        unet = read_config(places["base"], "unet")
        controlnet = load_controlnet(place) if place.is_dir() else load_ldm_controlnet(place, unet)
        return StableDiffusionControlNetInpaintPipeline(controlnet=controlnet, **parts)

    def _repairing(
        self,
        jobs: Sequence[Job],
        pictures: Sequence[Picture],
        hands: Sequence[tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]],
    ) -> Mapping[str, Any]:
        masks = np.stack([mask for _, mask in hands])
        return {
            "image": [Image.fromarray(picture) for picture in pictures],
            "mask_image": [Image.fromarray(mask.astype(np.uint8) * 255) for mask in masks],
            "control_image": [Image.fromarray(depth).convert("RGB") for depth, _ in hands],
            "controlnet_conditioning_scale": self._strength,
            "generator": [generator_of(job.seed, Noise.REPAIR) for job in jobs],
            "callback_on_step_end": self._keeping(jobs, pictures, masks),
        }

    @torch.no_grad()
    def _keeping(
        self, jobs: Sequence[Job], pictures: Sequence[Picture], masks: Bool[np.ndarray, "b h w"]
    ) -> Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]]:
        """After each step but the last, the picture at the state's own noise level outside of the masks."""
        device = self._pipe.device
        kept = encode(self._pipe.vae, to_networks(pictures).to(device))
        noise = noise_of(jobs, self._pipe.vae).to(device)
        anew = kept_cells(mask_to_networks(masks), kept.shape[-2:]).to(device)

        def keep(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            following = pipe.scheduler.timesteps[step + 1 : step + 2]
            if len(following):
                latents = tensors["latents"]
                around = pipe.scheduler.add_noise(kept, noise, following)
                tensors["latents"] = (anew * latents + (1 - anew) * around).to(latents.dtype)
            return tensors

        return keep

    def _hands(self, job: Job) -> tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
        """Depth and what to paint anew, of files or of the pose."""
        if self._options.depth is None:
            return draw_hands(job.framed)
        depth = self._given("depth", job).max(axis=-1)
        if self._options.mask is None:
            return depth, box_around(depth > 0)
        return depth, self._given("mask", job).max(axis=-1) >= 128

    def _given(self, what: str, job: Job) -> Picture:
        """A file of the options, at the picture's size; raises `UserError` when it is not there or of another size."""
        place: Path = getattr(self._options, what)
        file = place / f"{job.pose.pose_hash()[:_HASH_DIGITS]}.png" if place.is_dir() else place
        if not file.is_file():
            raise UserError(f"{what} {file}: no such file: HandRefiner's {what} of this pose")
        try:
            picture: Picture = load_rgb(file)
        except DecodeError as error:
            raise UserError(f"{what} {file}: {error}") from None
        if picture.shape[:2] != job.framed.size_hw:
            height, width = job.framed.size_hw
            raise UserError(
                f"{what} {file}: {picture.shape[1]} x {picture.shape[0]}, the picture is to be {width} x {height}:"
                " give --size"
            )
        return picture
