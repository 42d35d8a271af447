"""From positions to batches: loader processes, each sample with its own random numbers.

The samples of a step are positions [step * global_batch, ...), dealt out in turn to micro-batches and processes.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from h2d.errors import JobError, UserError
from h2d.images import DecodeError
from h2d.machine import keep_freed_memory
from h2d.train.batches import as_floats
from h2d.train.rows import Rows
from h2d.train.stage import Batch, Example, Examples, Row

_PREFETCHED: Final = 2
"""Batches that a loader process makes ahead."""
_SLOTS: Final = _PREFETCHED + 1
"""And the one that is being learnt from."""


class BadSampleError(JobError):
    """A row that cannot be made into an example: a finished manifest was damaged since, or holds what it must not.

    The run stops, for what it learns from would be another set without that row.
    """


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
    """The micro-batches of this process from one step to another, in order.

    Where processes make them, a batch's memory is written again once the next one has been asked for.
    """
    plan = share.plan(first_step, last_step)
    loader: DataLoader[Any] = DataLoader(
        _Batches(rows, examples, seed),
        sampler=plan,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_PREFETCHED if workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        pin_memory=pin,
        # Else the loader would draw its workers' seed from the global generator.
        generator=torch.Generator().manual_seed(seed),
        multiprocessing_context="forkserver" if workers else None,
    )
    # Shared memory that is let go would be mapped anew; pinned batches are copies, and let it go themselves.
    held: deque[dict[str, torch.Tensor]] = deque(maxlen=0 if pin else workers * _SLOTS)
    for made in loader:
        if isinstance(made, JobError | UserError):
            raise made
        tensors, ids = made
        held.append(tensors)
        yield Batch(tensors=tensors, ids=tuple(ids))


def fixed_batch(rows: Rows, examples: Examples, indices: Sequence[int], *, seed: int) -> Batch:
    """Rows by index of the table's order, without augmentation: the same at every call."""
    made = [_fixed_example(rows, index, examples, np.random.default_rng((seed, 1, index))) for index in indices]
    tensors, ids = _collate(made)
    return Batch(tensors=tensors, ids=tuple(ids))


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device, where bytes become floats."""
    tensors = {name: as_floats(name, tensor.to(device, non_blocking=True)) for name, tensor in batch.tensors.items()}
    return Batch(tensors=tensors, ids=batch.ids)


class _Batches(Dataset[Any]):
    """By lists of positions."""

    def __init__(self, rows: Rows, examples: Examples, seed: int) -> None:
        self._rows, self._examples, self._seed = rows, examples, seed
        self._slots = [_Slot() for _ in range(_SLOTS)]
        self._next = 0

    def __getitem__(self, positions: list[int]) -> tuple[dict[str, torch.Tensor], list[str]] | JobError | UserError:
        try:
            made = [self._example(position) for position in positions]
            return _collate(made, self._slot() if get_worker_info() else None)
        except (JobError, UserError) as error:
            return error  # raised in a loader process, it would come out with a traceback in its message

    def _slot(self) -> "_Slot":
        self._next = (self._next + 1) % _SLOTS
        return self._slots[self._next]

    def _example(self, position: int) -> tuple[str, Example]:
        row = self._rows.row(position)
        with bad_sample(self._rows, row, self._rows.index(position)):
            return row["id"], self._examples(row, positions_of(self._seed, position), training=True)


def positions_of(seed: int, position: int) -> np.random.Generator:
    """The random numbers of the sample at a position of the run."""
    return np.random.default_rng((seed, 0, position))


@contextmanager
def bad_sample(rows: Rows, row: Row, index: int) -> Iterator[None]:
    """Turn what a row's content raises into a `BadSampleError` that names file, row and remedy."""
    try:
        yield
    except (DecodeError, ValueError, KeyError) as error:
        raise BadSampleError(
            f"{rows.path(index)}: row {row['id']}: {type(error).__name__}: {error}: the last checkpoint is whole; put "
            "the file back as it was and the same command goes on, or prepare anew and train by --fresh"
        ) from error


def _fixed_example(rows: Rows, index: int, examples: Examples, random: np.random.Generator) -> tuple[str, Example]:
    row = rows.row_in_order(index)
    with bad_sample(rows, row, index):
        return row["id"], examples(row, random, training=False)


class _Slot:
    """A batch's place in the memory that a loader process shares with the trainer, written again and again.

    Memory that nobody has touched yet costs more than writing it: a third of what an example does.
    """

    def __init__(self) -> None:
        self._tensors: dict[str, torch.Tensor] = {}

    def stack(self, name: str, parts: list[torch.Tensor]) -> torch.Tensor:
        """The parts as one tensor, in the place of the last of that name."""
        place = self._tensors.get(name)
        if place is not None and place.shape == (len(parts), *parts[0].shape) and place.dtype == parts[0].dtype:
            return torch.stack(parts, out=place)
        made = torch.stack(parts)
        made.untyped_storage().share_memory_()
        self._tensors[name] = made
        return made


def _collate(made: list[tuple[str, Example]], slot: _Slot | None = None) -> tuple[dict[str, torch.Tensor], list[str]]:
    parts = {name: [example[name] for _, example in made] for name in made[0][1]}
    tensors = {name: slot.stack(name, values) if slot else torch.stack(values) for name, values in parts.items()}
    return tensors, [name for name, _ in made]


def _as_it_is(made: Any) -> Any:
    return made


def _start_worker(_worker: int) -> None:
    import cv2

    keep_freed_memory()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
