"""The optimizer, its rate by step, and the moving average of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from h2d.errors import UserError
from h2d.train.config import AverageConfig, OptimizerConfig


def build_optimizer(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW, fused; raises `UserError` when the 8-bit one's package is missing."""
    common = {"lr": config.learning_rate, "betas": config.betas, "eps": config.epsilon}
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, weight_decay=config.weight_decay, fused=True, **common)  # type: ignore[arg-type]
    optimizer: torch.optim.Optimizer = _eight_bit()(parameters, weight_decay=config.weight_decay, **common)
    return optimizer


def check_optimizer(config: OptimizerConfig) -> None:
    """Raise `UserError` when the optimizer's package is missing."""
    if config.name == "adamw8bit":
        _eight_bit()


def rate_at(step: int, config: OptimizerConfig, *, num_steps: int) -> float:
    """The learning rate of a step, counted from 0, in a run of `num_steps`."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = (1 + math.cos(math.pi * step / num_steps)) / 2 if config.decay == "cosine" else 1.0
    return config.learning_rate * warm * left


class Average:
    """The moving average of some weights."""

    def __init__(self, module: nn.Module, config: AverageConfig) -> None:
        self._parameters = [*module.parameters()]
        self._names = [name for name, _ in module.named_parameters()]
        self._config = config
        self._values = [parameter.detach().clone() for parameter in self._parameters] if config.enabled else []

    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        if self._config.enabled:
            decay = min(self._config.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._values, [parameter.detach() for parameter in self._parameters], 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """The averages by the weights' names; none when there is no averaging."""
        return dict(zip(self._names, self._values, strict=True)) if self._config.enabled else {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from saved averages."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages stand in the weights' place meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for number in range(len(self._values)):
            parameter = self._parameters[number]
            parameter.data, self._values[number] = self._values[number], parameter.data


def _eight_bit() -> type:
    try:
        import bitsandbytes
    except ImportError:
        raise UserError(
            "optimizer.name = adamw8bit needs bitsandbytes: pip install bitsandbytes, or set optimizer.name=adamw"
        ) from None
    optimizer: type = bitsandbytes.optim.AdamW8bit
    return optimizer
