"""Pictures to latents and back, by the VAE.

Axis legend: b pictures, c channels, l k latent size, h w picture size.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from h2d.errors import UserError
from h2d.infer.pixels import to_pictures


def encode(vae: Any, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c l k"]:
    """The posterior's mode, scaled, in float32: the same at each call (our choice; its spread is tiny)."""
    latents: Tensor = vae.encode(pictures.to(vae.dtype)).latent_dist.mode().float() * vae.config.scaling_factor
    return latents


def decode(vae: Any, latents: Float[Tensor, "b c l k"], *, of: str = "U-Net") -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures of scaled latents, on the CPU; `of` is the network that made these. Raises `UserError` on NaN."""
    check_finite(latents, of)
    images = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    check_finite(images, "VAE")
    return to_pictures(images)


def check_finite(values: Tensor, network: str) -> None:
    """Raise `UserError` where a network gave numbers that are none."""
    if not values.isfinite().all():
        raise UserError(
            f"the {network} gives NaN: its weights are damaged, or too large for half precision: get them again, or use"
            " --precision fp32"
        )
