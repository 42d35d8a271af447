"""Hands by a public ControlNet of hand landmarks: the method without a trained hand generator.

It predicts no mask: one is drawn from the picture and the keypoints, by GrabCut or SAM.
Axis legend: b crops, s crop size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from h2d.infer.hands import DrawnHand, HandRequest
from h2d.infer.latents import decode
from h2d.infer.loop import doubled, first_noise, generator_of, guided
from h2d.infer.makers.cut_out import segmented
from h2d.infer.makers.landmarks import draw_landmarks
from h2d.infer.options import SampleOptions
from h2d.infer.outpaint import embedded_once
from h2d.infer.pixels import to_networks
from h2d.models.base import cell_px_of

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline


class ControlNetMaker:
    """A text-to-image U-Net steered by a drawing of the landmarks."""

    repeats = False

    def __init__(self, pipe: "TwoStagePipeline", options: SampleOptions) -> None:
        self._pipe, self._options = pipe, options

    @torch.no_grad()
    def draw(self, requests: Sequence[HandRequest], seeds: Sequence[tuple[int, ...]]) -> list[DrawnHand]:
        """All crops in one pass, then a mask each."""
        pipe, scale = self._pipe, self._pipe.guidance_of("hand", self._options)
        unet, controlnet, size = pipe.hand_unet, pipe.hand_controlnet, pipe.config.hand_size_px
        device, dtype, cells = pipe._execution_device, unet.dtype, size // cell_px_of(pipe.vae_of("hand").config)
        text = pipe.text_of("hand", [request.prompt for request in requests], self._options.negative_prompt, scale)
        drawings = (to_networks([draw_landmarks(request.place.points, size) for request in requests]) + 1) / 2
        scheduler = pipe.fresh_scheduler("hand", self._options)
        generators = [generator_of(*seed) for seed in seeds]
        noise = first_noise((4, cells, cells), generators).to(device) * scheduler.init_noise_sigma
        with embedded_once(controlnet, drawings.to(device, dtype)) as features:
            condition = doubled(features, scale)

            def predict(latents: Tensor, timestep: Tensor, step: int) -> Tensor:
                joined = doubled(latents.to(dtype), scale)
                down, middle = controlnet(
                    joined, timestep, encoder_hidden_states=text, controlnet_cond=condition, return_dict=False
                )
                word = unet(
                    joined,
                    timestep,
                    encoder_hidden_states=text,
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=middle,
                    return_dict=False,
                )[0]
                return guided(word, scale)

            latents = pipe.denoise(
                "hand", scheduler, noise, predict, eta=pipe.eta_of(self._options), generators=generators
            )
        pictures = decode(pipe.vae_of("hand"), latents, of="hand U-Net or its ControlNet")
        views = [(picture, request.place.points) for picture, request in zip(pictures, requests, strict=True)]
        masks = segmented(views, self._options.segmenter)
        return [DrawnHand(picture=picture, mask=mask) for picture, mask in zip(pictures, masks, strict=True)]
