"""Rows made into examples once and kept in memory, latents instead of pixels: for small sets.

What differs from one epoch to the next (noise, a sample of the posterior, what is dropped) is still drawn for every
sample; colours cannot be shifted. A row of 512 pixels takes 0.4 MB, and every process keeps all rows.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from h2d.errors import UserError
from h2d.machine import as_bytes, free_memory
from h2d.train.loading import bad_sample, positions_of
from h2d.train.rows import Rows
from h2d.train.stage import Batch, Example, Networks

_AT_ONCE: Final = 32
_MOST: Final = 0.8
"""Of the memory that is free. Our choice."""


@runtime_checkable
class DividedExamples(Protocol):
    """Examples that tell what stays the same of a row from what is drawn anew."""

    def fixed(self, row: Mapping[str, Any], colours: np.random.Generator | None) -> Example:
        """The part that stays; `image` among it. Colours are left alone where no generator is given."""

    def varied(self, example: Example, random: np.random.Generator, *, training: bool) -> Example:
        """The example with its noise and its drops."""


@runtime_checkable
class CachedStage(Protocol):
    """A stage that sees pictures through an autoencoder alone."""

    def check_cache(self) -> None:
        """Raise `UserError` where options let a picture differ from one epoch to the next."""

    def encode(self, networks: Networks, example: Batch) -> Mapping[str, Tensor]:
        """What the loss takes in place of pixels, by the names under which it looks for it in the batch."""


def check_cache(stage: Any) -> None:
    """Raise `UserError` where rows cannot be kept as latents."""
    if not isinstance(stage, CachedStage):
        raise UserError("speed.cache_latents: this stage learns from pixels: set speed.cache_latents=false")
    stage.check_cache()


Encode = Callable[[Batch], Mapping[str, Tensor]]
"""What stands for `image` and whatever else is computed of pixels."""


class Cache:
    """Every row's fixed part by its index in the table's order."""

    def __init__(self, rows: Rows, examples: Any, encode: Encode) -> None:
        assert isinstance(examples, DividedExamples), examples
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
            with bad_sample(self._rows, row, index):
                fixed.append(self._examples.fixed(row, None))
            self._ids.append(row["id"])
        tensors = {name: torch.stack([example[name] for example in fixed]) for name in fixed[0]}
        with torch.no_grad():
            tensors |= encode(Batch(tensors=tensors, ids=tuple(self._ids[indices.start :])))
        del tensors["image"]
        if not self._stored:
            _check_memory(len(self._rows), sum(values[0].nbytes for values in tensors.values()))
        for name, values in tensors.items():
            if name not in self._stored:
                self._stored[name] = torch.empty((len(self._rows), *values.shape[1:]), dtype=values.dtype)
            self._stored[name][indices.start : indices.stop] = values

    def _example(self, position: int, seed: int) -> Example:
        index = self._rows.index(position)
        example = {name: values[index] for name, values in self._stored.items()}
        return self._examples.varied(example, positions_of(seed, position), training=True)


def _check_memory(num_rows: int, row_bytes: int) -> None:
    wanted, free = num_rows * row_bytes, free_memory()
    if wanted > _MOST * free:
        raise UserError(
            f"speed.cache_latents: {num_rows} rows take {as_bytes(wanted)} of memory, {as_bytes(free)} are free: "
            "set speed.cache_latents=false"
        )
