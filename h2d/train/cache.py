"""Rows made into examples once and kept in memory, latents instead of pixels: for small sets on small machines.

What differs from one epoch to the next (noise, what is dropped) is still drawn for every sample.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from h2d.errors import UserError
from h2d.train.loading import bad_sample, positions_of
from h2d.train.rows import Rows
from h2d.train.stage import Batch, Example

_AT_ONCE: Final = 32
_BYTES: Final = frozenset({"mask", "skeleton"})
"""Values of 0..1 that had 256 levels or fewer: kept as bytes."""


@runtime_checkable
class DividedExamples(Protocol):
    """Examples that tell what stays the same of a row from what is drawn anew."""

    def fixed(self, row: Mapping[str, Any], colours: np.random.Generator | None) -> Example:
        """The part that stays; `image` among it. Colours are left alone where no generator is given."""

    def varied(self, example: Example, random: np.random.Generator, *, training: bool) -> Example:
        """The example with its noise and its drops."""


Encode = Callable[[Batch], Mapping[str, Tensor]]
"""What stands for `image` and whatever else is computed of pixels."""


class Cache:
    """Every row's fixed part by its index in the table's order."""

    def __init__(self, rows: Rows, examples: Any, encode: Encode) -> None:
        if not isinstance(examples, DividedExamples):
            raise UserError("speed.cache_latents: this stage learns from pixels: set speed.cache_latents=false")
        self._examples = examples
        self._rows = rows
        self._stored: dict[str, Tensor] = {}
        self._ids: list[str] = []
        for indices in (range(first, min(first + _AT_ONCE, len(rows))) for first in range(0, len(rows), _AT_ONCE)):
            self._keep(indices, encode)

    def batches(self, plan: list[list[int]], *, seed: int) -> Iterator[Batch]:
        """The batches of some lists of positions."""
        for positions in plan:
            made = [self._example(position, seed) for position in positions]
            tensors = {name: torch.stack([example[name] for example in made]) for name in made[0]}
            yield Batch(tensors=tensors, ids=tuple(self._ids[self._rows.index(position)] for position in positions))

    def _keep(self, indices: range, encode: Encode) -> None:
        fixed = []
        for index in indices:
            row = self._rows.row_in_order(index)
            with bad_sample(row):
                fixed.append(self._examples.fixed(row, None))
            self._ids.append(row["id"])
        tensors = {name: torch.stack([example[name] for example in fixed]) for name in fixed[0]}
        with torch.no_grad():
            tensors |= encode(Batch(tensors=tensors, ids=tuple(self._ids[indices.start :])))
        del tensors["image"]
        for name, values in tensors.items():
            kept = (values * 255).round().to(torch.uint8) if name in _BYTES else values.cpu()
            if name not in self._stored:
                self._stored[name] = torch.empty((len(self._rows), *kept.shape[1:]), dtype=kept.dtype)
            self._stored[name][indices.start : indices.stop] = kept

    def _example(self, position: int, seed: int) -> Example:
        index = self._rows.index(position)
        example = {
            name: values[index].float() / 255 if name in _BYTES else values[index]
            for name, values in self._stored.items()
        }
        return self._examples.varied(example, positions_of(seed, position), training=True)
