"""HumanSD: Stable Diffusion 2.1 whose U-Net takes the latent of a skeleton beside the noisy one, in our own loop.

Axis legend: b pictures, c channels, l k latent size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from h2d.errors import UserError
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
from h2d.infer.latents import decode, encode
from h2d.infer.loop import denoise, doubled, guided
from h2d.infer.pixels import to_networks
from h2d.infer.schedulers import make_scheduler
from h2d.infer.text import encode_prompts, prompt_notes
from h2d.models.base import load_scheduler, load_text_encoder, load_tokenizer, load_vae, read_config
from h2d.models.ldm import load_ldm_unet
from h2d.pose.draw import draw_pose
from h2d.pose.pose import Pose

CHANNELS = 8
"""The noisy latent's four, and the skeleton's."""


class HumanSD:
    """Its checkpoint's U-Net on the base that it was made from; the skeleton in its own style, without hands."""

    title: ClassVar[str] = "HumanSD"
    name: ClassVar[str] = "humansd"

    def __init__(self, options: BaselineOptions) -> None:
        self._options = options
        self._parts: dict[str, Any] = {}

    def places(self) -> Mapping[str, Path]:
        """The base, and HumanSD's checkpoint."""
        chosen = self._options
        return {
            "control": place_of("humansd", chosen.control, chosen.weights),
            "base": place_of("sd-2.1-base", chosen.base, chosen.weights),
        }

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Convert the U-Net; text encoder and VAE are the base's, which HumanSD's training left as they were."""
        places = self.places()
        base = places["base"]
        unet = load_ldm_unet(places["control"], read_config(base, "unet"))
        if unet.config.in_channels != CHANNELS:
            raise UserError(
                f"{places['control']}: its U-Net takes {unet.config.in_channels} channels, HumanSD's {CHANNELS}:"
                " give its own checkpoint"
            )
        networks = {"unet": unet, "vae": load_vae(base), "text_encoder": load_text_encoder(base)}
        # Not by diffusers' own `to`, which warns of layers that these lack.
        self._parts = {name: nn.Module.to(network, device, dtype) for name, network in networks.items()}
        self._parts |= {
            "tokenizer": load_tokenizer(base),
            "scheduler": make_scheduler(self._options.scheduler, load_scheduler(base)),
        }

    @property
    def components(self) -> Mapping[str, Any]:
        """By diffusers' names."""
        return self._parts

    def sampling(self, steps: int | None, guidance: float | None) -> Sampling:
        """As `Baseline`; the skeleton is part of what the U-Net reads, with no strength of its own."""
        return settle(self.name, self._options, self.places(), steps=steps, guidance=guidance, control_scale=None)

    def size_of(self, pose: Pose, wanted_hw: WantedSize) -> tuple[int, int]:
        """By the pose's shape, its short side as the U-Net was trained."""
        return size_of(self._parts["unet"], self._parts["vae"], pose, wanted_hw)

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """What of the prompt is cut, and that hands are not seen."""
        unseen = ["humansd does not see the hands"] if any(pose.hands()) else []
        return [*prompt_notes(self._parts["tokenizer"], prompt), *unseen]

    @torch.no_grad()
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
        """As `Baseline`; the skeleton is shown to both halves of the guidance."""
        chosen = self.sampling(steps, guidance)
        unet, vae = self._parts["unet"], self._parts["vae"]
        jobs = plan(unet, vae, prompts, poses, seeds, size)
        scale = chosen.guidance_scale
        unwanted = OWN_OPTIONS[self.name]["negative_prompt"] if negative is None else negative
        texts = [job.prompt for job in jobs]
        state = encode_prompts(
            self._parts["tokenizer"],
            self._parts["text_encoder"],
            texts if scale == 1 else [unwanted] * len(jobs) + texts,
            device=unet.device,
        ).to(unet.dtype)
        drawn = to_networks([draw_pose(job.framed, style="humansd") for job in jobs]).to(unet.device)
        skeleton = doubled(encode(vae, drawn).to(unet.dtype), scale)
        kind = self._parts["scheduler"]
        scheduler = type(kind).from_config(kind.config)
        scheduler.set_timesteps(chosen.steps)

        def predict(latents: Tensor, timestep: Tensor, step: int) -> Tensor:
            joined = torch.cat((doubled(latents.to(unet.dtype), scale), skeleton), dim=1)
            word = unet(joined, timestep, encoder_hidden_states=state, return_dict=False)[0]
            return guided(word, scale)

        latents = denoise(
            scheduler,
            noise_of(jobs, vae).to(unet.device) * scheduler.init_noise_sigma,
            predict,
            after_step=lambda step, timestep, latents: latents,
            eta=chosen.eta or 0.0,
            generators=generators_of(jobs),
        )
        return decode(vae, latents)
