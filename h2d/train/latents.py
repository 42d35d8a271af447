"""Pictures as the autoencoder's posteriors, and samples of these.

Axis legend: b batch, l k latent size, h w picture size.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def posterior_of(vae: Any, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 4 l k"]:
    """Mean and standard deviation of the autoencoder's posterior, scaled: all that is to be kept of a picture."""
    posterior = vae.encode(pictures.to(vae.dtype)).latent_dist
    scaled: Tensor = torch.stack((posterior.mean, posterior.std), dim=1).float() * vae.config.scaling_factor
    return scaled


def drawn_latents(
    posterior: Float[Tensor, "b 2 4 l k"], posterior_noise: Float[Tensor, "b 4 l k"]
) -> Float[Tensor, "b 4 l k"]:
    """A sample of it."""
    return posterior[:, 0] + posterior[:, 1] * posterior_noise
