"""Hands by the trained generator: keypoints to picture and mask (III-A, III-B).

Axis legend: b crops, s crop size, l latent size, t text tokens, d text width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from h2d.infer.hands import DrawnHand, HandRequest
from h2d.infer.latents import check_finite, decode
from h2d.infer.loop import doubled, first_noise, generator_of, guided
from h2d.infer.options import SampleOptions
from h2d.models.base import cell_px_of
from h2d.models.conditioning import hand_condition
from h2d.pose.layouts import SIDES
from h2d.pose.points import missing_points

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline


class GeneratorMaker:
    """The U-Net of 15 input channels with its mask head; no mask is shown to it (III-A)."""

    repeats = False

    def __init__(self, pipe: "TwoStagePipeline", options: SampleOptions) -> None:
        self._pipe, self._options = pipe, options

    @torch.no_grad()
    def draw(self, requests: Sequence[HandRequest], seeds: Sequence[tuple[int, ...]]) -> list[DrawnHand]:
        """All crops in one pass; the mask is the last step's, of the half that was told the prompt."""
        pipe, scale = self._pipe, self._pipe.guidance_of("hand", self._options)
        device, dtype, size = pipe._execution_device, pipe.hand_unet.dtype, pipe.config.hand_size_px
        text = pipe.text_of("hand", [request.prompt for request in requests], self._options.negative_prompt, scale)
        condition = doubled(self._condition(requests).to(device, dtype), scale)
        scheduler = pipe.fresh_scheduler("hand", self._options)
        generators = [generator_of(*seed) for seed in seeds]
        cells = size // cell_px_of(pipe.vae_of("hand").config)
        noise = first_noise((4, cells, cells), generators).to(device) * scheduler.init_noise_sigma
        last, masks = len(scheduler.timesteps) - 1, []

        def predict(latents: Tensor, timestep: Tensor, step: int) -> Tensor:
            joined = torch.cat((doubled(latents.to(dtype), scale), condition), dim=1)
            if step < last:
                word = pipe.hand_unet(joined, timestep, encoder_hidden_states=text, return_dict=False)[0]
                return guided(word, scale)
            # Not through a compiled network, which does not see a hook that is put on now.
            with last_features(pipe.hand_unet) as features:
                word = plain_call(pipe.hand_unet)(joined, timestep, encoder_hidden_states=text, return_dict=False)[0]
            masks.append(pipe.mask_head(features[0][-len(requests) :]))
            return guided(word, scale)

        latents = pipe.denoise("hand", scheduler, noise, predict, eta=pipe.eta_of(self._options), generators=generators)
        pictures = decode(pipe.vae_of("hand"), latents, of="hand U-Net")
        # Interrupted before the last step there is no mask.
        drawn = (masks[0][:, 0] if masks else torch.zeros(len(requests), size, size)).float().cpu()
        check_finite(drawn, "mask head")
        shared = pipe.hand_vae is None
        return [
            DrawnHand(picture=picture, mask=mask, latents=own if shared else None)
            for picture, mask, own in zip(pictures, drawn.numpy(), latents, strict=True)
        ]

    def _condition(self, requests: Sequence[HandRequest]) -> Float[Tensor, "b 11 l l"]:
        size, vae = self._pipe.config.hand_size_px, self._pipe.vae_of("hand")
        return hand_condition(
            torch.from_numpy(np.stack([hand_points(request) for request in requests])),
            torch.zeros(len(requests), 1, size, size),
            latent_size=size // cell_px_of(vae.config),
            sigma_px=self._pipe.config.sigma_px,
            wrist=self._pipe.config.wrist,
        )


def hand_points(request: HandRequest) -> Float32[np.ndarray, "2 21 3"]:
    """The left hand's points and the right hand's, in pixels of the crop; missing where it is not of this crop."""
    return np.stack([request.place.points.get(side, missing_points()) for side in SIDES])


def plain_call(network: Any) -> Any:
    """What computes a network's answer without what torch.compile made of it."""
    inner = getattr(network, "_orig_mod", network)
    return inner.forward if getattr(inner, "_compiled_call_impl", None) is not None else inner


@contextmanager
def last_features(unet: Any) -> Iterator[list[Tensor]]:
    """Collects what the U-Net's last up block gives while the context lasts."""
    kept: list[Tensor] = []

    def keep(_block: nn.Module, _inputs: Any, features: Tensor) -> None:
        kept.append(features)

    handle = getattr(unet, "_orig_mod", unet).up_blocks[-1].register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
