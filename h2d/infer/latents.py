"""Pictures to latents and back, by the VAE.

Axis legend: b pictures, c channels, l k latent size, h w picture size.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from h2d.infer.pixels import to_pictures


def encode(vae: Any, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c l k"]:
    """The posterior's mode, scaled, in float32: the same at each call (our choice; its spread is tiny)."""
    latents: Tensor = vae.encode(pictures.to(vae.dtype)).latent_dist.mode().float() * vae.config.scaling_factor
    return latents


def decode(vae: Any, latents: Float[Tensor, "b c l k"]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures of scaled latents, on the CPU."""
    return to_pictures(vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample)
