"""What previews are made of: latents sampled in a few steps, and pictures of them and of maps.

Axis legend: b batch, l k latent size, h w picture size.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from h2d.train.batches import to_picture

NUM_STEPS: Final = 20


@torch.no_grad()
def sample_ddim(
    scheduler: Any, noise: Float[Tensor, "b 4 l k"], predict: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "b 4 l k"]:
    """A few DDIM steps without guidance; `predict` gives the network's word on latents and timesteps."""
    from diffusers import DDIMScheduler

    ddim = DDIMScheduler.from_config(scheduler.config)
    ddim.set_timesteps(NUM_STEPS)
    latents = noise
    for timestep in ddim.timesteps:
        timesteps = torch.full((len(latents),), int(timestep), device=latents.device)
        latents = ddim.step(predict(latents, timesteps).float(), timestep, latents).prev_sample
    return latents


@torch.no_grad()
def decode_latents(vae: Any, latents: Float[Tensor, "b 4 l k"]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures of scaled latents."""
    decoded = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    return [to_picture(picture) for picture in decoded]


def grey_picture(values: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Values of 0..1 as a grey picture."""
    levels = (values.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return np.repeat(levels[..., None], 3, axis=2)
