"""How much of a GPU's memory a run needs, said before it starts."""

import math
from dataclasses import dataclass
from typing import Final

from torch import nn

from h2d.errors import UserError
from h2d.machine import as_bytes

_FULL_SIZE: Final = 84e6
"""Parameters of Stable Diffusion 1.5's autoencoder, the smallest network that is trained at the size for which stages
state their activations. Those of a miniature shrink with its width, and its parameters with the square of that."""
_SPARE: Final = 1.1
"""Our choice: for the allocator, the encoder's own activations, and what libraries hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a run keeps in memory."""

    num_trained: int
    num_frozen: int
    size_px: int
    activation_bytes: tuple[float, float]
    half_precision: bool
    averaged: bool
    eight_bit: bool

    def num_bytes(self, micro_batch: int, *, checkpointing: bool) -> float:
        """Weights, gradients, the optimizer's two averages, the moving average, and what the backward pass needs."""
        states = 4 + 4 + (2 if self.eight_bit else 8) + 4 * self.averaged + 2 * self.half_precision
        weights = self.num_trained * states + self.num_frozen * (2 if self.half_precision else 4)
        return _SPARE * (weights + micro_batch * self._sample_bytes(checkpointing=checkpointing))

    def _sample_bytes(self, *, checkpointing: bool) -> float:
        share = min(1.0, math.sqrt(self.num_trained / _FULL_SIZE))
        width = 1 if self.half_precision else 2
        return self.activation_bytes[checkpointing] * width * share * (self.size_px / 512) ** 2


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def check_memory(need: Need, available_bytes: float, micro_batch: int, *, checkpointing: bool) -> None:
    """Raise `UserError` when it will not fit, with the settings that would."""
    wanted = need.num_bytes(micro_batch, checkpointing=checkpointing)
    if wanted <= available_bytes:
        return
    about = f"needs about {as_bytes(wanted)} of GPU memory at micro-batch {micro_batch}"
    remedy = _remedy(need, available_bytes, micro_batch, checkpointing=checkpointing)
    raise UserError(f"{about}, {as_bytes(available_bytes)} are free: {remedy}")


def _remedy(need: Need, available_bytes: float, micro_batch: int, *, checkpointing: bool) -> str:
    """The largest divisor of the micro-batch that fits, with checkpointing where none does without."""
    sizes = [size for size in range(micro_batch, 0, -1) if micro_batch % size == 0]
    for checkpointed in sorted({checkpointing, True}):
        for size in sizes:
            if need.num_bytes(size, checkpointing=checkpointed) <= available_bytes:
                extra = "" if checkpointed == checkpointing else " --set speed.gradient_checkpointing=true"
                return f"--set speed.micro_batch={size}{extra} fits"
    return "not one sample fits; try --set optimizer.name=adamw8bit, or a larger GPU"
