"""The paper's equations of noise, blending and loss, over diffusers' schedulers.

Legend: x_0 latent of the picture, x_c latent of the canvas, x_t noisy latent at timestep t, eps noise, m mask of the
kept hand (1 = hand). Axis legend: b batch, c channels, l k latent size, h w picture size.
"""

from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

LossNorm: TypeAlias = Literal["masked_mean", "mean"]
"""`masked_mean` divides by what is outside the mask, `mean` by everything. Our choice: the paper is silent."""


def add_noise(
    scheduler: Any, x_0: Float[Tensor, "b c l k"], eps: Float[Tensor, "b c l k"], t: Int[Tensor, "b"]
) -> Float[Tensor, "b c l k"]:
    """x_t by the scheduler's levels."""
    x_t: Tensor = scheduler.add_noise(x_0, eps, t)
    return x_t


def target(
    scheduler: Any, x_0: Float[Tensor, "b c l k"], eps: Float[Tensor, "b c l k"], t: Int[Tensor, "b"]
) -> Float[Tensor, "b c l k"]:
    """What the network should say: the noise, or the velocity where the scheduler is set so."""
    if scheduler.config.prediction_type == "v_prediction":
        velocity: Tensor = scheduler.get_velocity(x_0, eps, t)
        return velocity
    assert scheduler.config.prediction_type == "epsilon", scheduler.config.prediction_type
    return eps


def blend(
    m: Float[Tensor, "b 1 l k"], x_c: Float[Tensor, "b c l k"], x_t: Float[Tensor, "b c l k"]
) -> Float[Tensor, "b c l k"]:
    """Equation (11): the canvas inside the mask, the diffused latent outside. Both at one noise level (our choice)."""
    return m * x_c + (1 - m) * x_t


def noise_loss(predicted: Float[Tensor, "b c l k"], wanted: Float[Tensor, "b c l k"]) -> Float[Tensor, "b"]:
    """L_LDM of each sample."""
    return functional.mse_loss(predicted.float(), wanted.float(), reduction="none").mean(dim=(1, 2, 3))


def mask_loss(predicted: Float[Tensor, "b 1 h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b"]:
    """The mean square error of each sample's mask."""
    return functional.mse_loss(predicted.float(), mask.float(), reduction="none").mean(dim=(1, 2, 3))


def outside_loss(
    predicted: Float[Tensor, "b c l k"],
    wanted: Float[Tensor, "b c l k"],
    m: Float[Tensor, "b 1 l k"],
    *,
    norm: LossNorm = "masked_mean",
) -> Float[Tensor, "b"]:
    """The square error of each sample where the hand is not."""
    outside = (1 - m).expand_as(wanted)
    error = (outside * (predicted.float() - wanted.float()) ** 2).sum(dim=(1, 2, 3))
    if norm == "mean":
        return error / wanted[0].numel()
    return error / torch.clamp(outside.sum(dim=(1, 2, 3)), min=1)
