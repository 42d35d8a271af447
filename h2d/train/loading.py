"""From positions to batches: loader processes, each sample with its own random numbers.

The samples of a step are positions [step * global_batch, ...), dealt out in turn to micro-batches and processes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from h2d.images import DecodeError
from h2d.machine import keep_freed_memory
from h2d.train.batches import as_floats
from h2d.train.rows import Rows
from h2d.train.stage import Batch, Example, Examples


class BadSampleError(RuntimeError):
    """A row that cannot be made into an example."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one process takes of a step."""

    global_batch: int
    micro_batch: int
    rank: int = 0
    num_processes: int = 1

    @property
    def accumulation(self) -> int:
        """Micro-batches of this process in a step."""
        return self.global_batch // (self.micro_batch * self.num_processes)

    def positions(self, step: int, part: int) -> list[int]:
        """Of the micro-batch `part` of a step."""
        first = step * self.global_batch + (part * self.num_processes + self.rank) * self.micro_batch
        return list(range(first, first + self.micro_batch))

    def plan(self, first_step: int, last_step: int) -> list[list[int]]:
        """Of every micro-batch of this process from one step to another."""
        steps = range(first_step, last_step)
        return [self.positions(step, part) for step in steps for part in range(self.accumulation)]


def step_batches(
    rows: Rows, examples: Examples, share: Share, *, seed: int, first_step: int, last_step: int, workers: int, pin: bool
) -> Iterator[Batch]:
    """The micro-batches of this process from one step to another, in order."""
    plan = share.plan(first_step, last_step)
    loader: DataLoader[Any] = DataLoader(
        _Positions(rows, examples, seed),
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        pin_memory=pin,
        # Else the loader would draw its workers' seed from the global generator.
        generator=torch.Generator().manual_seed(seed),
        multiprocessing_context="forkserver" if workers else None,
    )
    for tensors, ids in loader:
        yield Batch(tensors=tensors, ids=tuple(ids))


def fixed_batch(rows: Rows, examples: Examples, indices: Sequence[int], *, seed: int) -> Batch:
    """Rows by index of the table's order, without augmentation: the same at every call."""
    made = [
        _example(examples, rows.row_in_order(index), np.random.default_rng((seed, 1, index)), training=False)
        for index in indices
    ]
    tensors, ids = _collate(made)
    return Batch(tensors=tensors, ids=tuple(ids))


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device, where bytes become floats."""
    tensors = {name: as_floats(name, tensor.to(device, non_blocking=True)) for name, tensor in batch.tensors.items()}
    return Batch(tensors=tensors, ids=batch.ids)


class _Positions(Dataset[tuple[str, Example]]):
    def __init__(self, rows: Rows, examples: Examples, seed: int) -> None:
        self._rows, self._examples, self._seed = rows, examples, seed

    def __getitem__(self, position: int) -> tuple[str, Example]:
        return _example(self._examples, self._rows.row(position), positions_of(self._seed, position), training=True)


def positions_of(seed: int, position: int) -> np.random.Generator:
    """The random numbers of the sample at a position of the run."""
    return np.random.default_rng((seed, 0, position))


@contextmanager
def bad_sample(row: Any) -> Iterator[None]:
    """Turn what a row's content raises into a `BadSampleError` that names the row."""
    try:
        yield
    except (DecodeError, ValueError, KeyError) as error:
        raise BadSampleError(f"{row['id']}: {type(error).__name__}: {error}") from error


def _example(examples: Examples, row: Any, random: np.random.Generator, *, training: bool) -> tuple[str, Example]:
    with bad_sample(row):
        return row["id"], examples(row, random, training=training)


def _collate(made: list[tuple[str, Example]]) -> tuple[dict[str, torch.Tensor], list[str]]:
    names = made[0][1].keys()
    # Torch's own, for it stacks into the memory that a worker shares with the trainer, and saves a copy.
    tensors = {name: default_collate([example[name] for _, example in made]) for name in names}
    return tensors, [name for name, _ in made]


def _start_worker(_worker: int) -> None:
    import cv2

    keep_freed_memory()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
