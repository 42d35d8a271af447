"""Schedulers by name, and the noise levels that they go through.

Axis legend: n1 steps and one more.
"""

import inspect
from typing import Any, Final

import torch
from jaxtyping import Float64
from torch import Tensor

from h2d.registry import resolve

SCHEDULERS: Final = {
    "ddim": "diffusers:DDIMScheduler",
    "dpm++": "diffusers:DPMSolverMultistepScheduler",
    "unipc": "diffusers:UniPCMultistepScheduler",
    "euler": "diffusers:EulerDiscreteScheduler",
}

DEFAULT_SCHEDULER: Final = "ddim"
"""The paper's."""
DEFAULT_STEPS: Final = {"ddim": 50, "dpm++": 20, "unipc": 20, "euler": 30}
"""The paper is silent; what the samplers are commonly used with."""


def make_scheduler(name: str, noise_levels: Any) -> Any:
    """The scheduler of a name, over the noise levels and the prediction type of another; raises `UserError`."""
    kind = resolve(SCHEDULERS, name, kind="scheduler")
    config = dict(noise_levels.config)
    if name == "ddim":
        # As Stable Diffusion's own checkpoints say of DDIM; a DDPM scheduler says nothing.
        config.setdefault("set_alpha_to_one", False)
    return kind.from_config(config)


def name_of(scheduler: Any) -> str:
    """The name of a scheduler's class, or the class itself where it has none in the table."""
    return short_name(type(scheduler).__name__)


def short_name(kind: str) -> str:
    """The same of a class's name, as pictures of before have it; what is none is as it is."""
    return next((name for name, place in SCHEDULERS.items() if place.endswith(f":{kind}")), kind)


def draws_noise(scheduler: Any) -> bool:
    """Whether a scheduler, or the one of a name, takes `eta`: DDIM alone draws as much noise anew as it is told."""
    kind = resolve(SCHEDULERS, scheduler, kind="scheduler") if isinstance(scheduler, str) else scheduler
    return bool(accepted(kind, eta=None))


def levels(scheduler: Any) -> tuple[Float64[Tensor, "n1"], Float64[Tensor, "n1"]]:
    """How much of the picture and of the noise a state holds before each step, and after the last, where it is clean.

    Asked of the scheduler's own `add_noise`, so it holds for every parametrisation. To be called after
    `set_timesteps` and before the first step: multistep schedulers answer by their own place after that.
    """
    timesteps = scheduler.timesteps.cpu()
    one, zero = torch.ones(len(timesteps), 1, 1, 1), torch.zeros(len(timesteps), 1, 1, 1)
    kept = scheduler.add_noise(one, zero, timesteps).flatten().double()
    added = scheduler.add_noise(zero, one, timesteps).flatten().double()
    return torch.cat((kept, kept.new_ones(1))), torch.cat((added, added.new_zeros(1)))


def steady_eta(scheduler: Any, eta: float) -> float:
    """`eta`, or hardly less where a step of DDIM would take the root of a negative number and give NaN.

    At 1 a step keeps nothing of the noise that was there; from nearly pure noise, rounding can make that less than
    nothing. To be called after `set_timesteps`.
    """
    if eta == 0 or len(accepted(scheduler, eta=eta, variance_noise=None)) < 2:  # others keep count of their steps
        return eta
    one, zero = torch.ones(1), torch.zeros(1)
    steps = (scheduler.step(one, timestep, one, eta=eta, variance_noise=zero) for timestep in scheduler.timesteps)
    steady = all(bool(step.prev_sample.isfinite().all()) for step in steps)
    return eta if steady else eta * (1 - 1e-6)


def accepted(scheduler: Any, **options: Any) -> dict[str, Any]:
    """Those of the options that the scheduler's `step` takes: not every one knows `eta`, or draws noise."""
    names = inspect.signature(scheduler.step).parameters
    return {name: value for name, value in options.items() if name in names}
