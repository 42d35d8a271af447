"""The denoising loop of both stages, and guidance.

Nothing in it waits for the device: timesteps lie on both sides beforehand, as does the noise of the steps where the
scheduler takes it, and no value is read back. UniPC alone, as diffusers has it, copies its sigmas at each step.
Axis legend: b pictures, c channels, l k latent size.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from h2d.infer.schedulers import accepted, steady_eta

Predict: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""From scaled latents, the timestep on their device and the step's number to the network's guided word."""

AfterStep: TypeAlias = Callable[[int, Tensor, Tensor], Tensor]
"""From the step's number, its timestep and the latents to the latents to go on with."""


class Noise(IntEnum):
    """What a seed's noise is drawn for: the second number of `generator_of`. Pictures of old depend on these values."""

    HAND = 1
    BODY = 2
    ZOOM = 3
    """A window around a small hand."""
    REPAIR = ZOOM
    """HandRefiner's, of a picture that has no windows."""
    STEPS = 4
    """Of the methods compared with; ours draw on from what they started with."""


def denoise(
    scheduler: Any,
    latents: Float[Tensor, "b c l k"],
    predict: Predict,
    *,
    after_step: AfterStep,
    first_step: int = 0,
    interrupted: Callable[[], bool] = lambda: False,
    eta: float = 0.0,
    generators: Sequence[torch.Generator] | None = None,
) -> Float[Tensor, "b c l k"]:
    """Take latents from the noise level of `first_step` to the last, in float32; `set_timesteps` has been called."""
    options = _step_options(scheduler, latents, len(scheduler.timesteps) - first_step, eta, generators)
    on_device = scheduler.timesteps.to(latents.device)
    if first_step and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first_step)
    for step, extra in enumerate(options, first_step):
        timestep = scheduler.timesteps[step]
        if interrupted():
            break
        scaled = scheduler.scale_model_input(latents, timestep)
        word = predict(scaled, on_device[step], step)
        latents = scheduler.step(word.float(), timestep, latents, return_dict=False, **extra)[0]
        latents = after_step(step, timestep, latents)
    return latents


def _step_options(
    scheduler: Any,
    latents: Float[Tensor, "b c l k"],
    count: int,
    eta: float,
    generators: Sequence[torch.Generator] | None,
) -> list[dict[str, Any]]:
    """What each step is told besides: DDIM's noise too, which it would draw on the host and copy at each step."""
    eta = steady_eta(scheduler, eta)
    extra = accepted(scheduler, eta=eta, generator=list(generators) if generators else None)
    if not generators or eta == 0 or not accepted(scheduler, variance_noise=None):
        return [extra] * count
    drawn = [first_noise((*latents.shape[1:],), generators) for _ in range(count)]
    noise = torch.stack(drawn).to(latents.device)
    return [{**extra, "generator": None, "variance_noise": each} for each in noise]


def guided(word: Float[Tensor, "b2 c l k"], scale: float) -> Float[Tensor, "b c l k"]:
    """Classifier-free guidance over a batch whose first half was told nothing; the word itself at scale 1."""
    if scale == 1:
        return word
    silent, told = word.chunk(2)
    return silent + scale * (told - silent)


def doubled(tensor: Tensor, scale: float) -> Tensor:
    """Twice the batch where there is guidance."""
    return tensor if scale == 1 else torch.cat((tensor, tensor))


def generator_of(*numbers: int) -> torch.Generator:
    """A generator on the CPU of a seed and what it is for: the same on every machine and in every batch."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def first_noise(shape: tuple[int, int, int], generators: Sequence[torch.Generator]) -> Float[Tensor, "b c l k"]:
    """Each picture's noise from its own generator, so that it does not depend on what else is in the batch."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])
