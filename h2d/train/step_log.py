"""What is written down of each step, and the check that it is finite: without waiting for a GPU.

A step's numbers stay on the device until the next step has been handed to it; they are read at once before anything is
saved. Axis legend: b batch, n logged numbers.
"""

import json
import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor

from h2d.errors import JobError
from h2d.train.run_log import LOG_FILE


@runtime_checkable
class Watch(Protocol):
    """Who follows a run."""

    def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None:
        """One step is done."""

    def should_stop(self) -> bool:
        """Whether to save and stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a step gave, on the device."""

    values: dict[str, Float[Tensor, ""]]
    """Means over this process's samples, by name; the first is the loss."""
    samples: list[tuple[tuple[str, ...], Float[Tensor, "b"]]]
    """Names of the samples and the loss of each, all its parts, by micro-batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pending:
    step: int
    names: tuple[str, ...]
    numbers: Float[Tensor, "n"]
    copied: torch.cuda.Event | None
    samples: list[tuple[tuple[str, ...], Float[Tensor, "b"]]]
    extra: dict[str, float] = field(default_factory=dict)


class StepLog:
    """Reads the steps' numbers in order, refuses those that are not finite, tells the file, trackers and watch."""

    def __init__(self, out: Path, accelerator: Accelerator, watch: Watch, *, steps: int, global_batch: int) -> None:
        self._path, self._accelerator, self._watch = out / LOG_FILE, accelerator, watch
        self._steps, self._global_batch = steps, global_batch
        self._pending: deque[_Pending] = deque()
        self._started, self._num_read = time.monotonic(), 0
        self.stopped = False
        """Whether any process was asked to stop, as of the last step read."""

    def add(self, step: int, measured: Measured) -> None:
        """Take in a step; every process must."""
        values = {**measured.values, "stop": torch.tensor(float(self._watch.should_stop()))}
        device = self._accelerator.device
        moved = [value.detach().to(device, torch.float32, non_blocking=True) for value in values.values()]
        numbers = self._accelerator.reduce(torch.stack(moved), "mean")
        copied = None
        if device.type == "cuda":
            numbers = torch.empty(numbers.shape, pin_memory=True).copy_(numbers, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._pending.append(
            _Pending(step=step, names=tuple(values), numbers=numbers, copied=copied, samples=measured.samples)
        )

    def settle(self, extra: dict[str, float], *, all_steps: bool) -> None:
        """Read what is ready, all of it on a CPU or when asked; `extra` belongs to the step added last.

        Raises `JobError` naming step, number and samples where something is not finite.
        """
        if extra:
            self._pending[-1].extra.update(extra)
        waits = 0 if all_steps or self._accelerator.device.type != "cuda" else 1
        while len(self._pending) > waits:
            self._read(self._pending.popleft())

    def _read(self, pending: _Pending) -> None:
        if pending.copied:
            pending.copied.synchronize()
        values = dict(zip(pending.names, pending.numbers.tolist(), strict=True))
        self.stopped = self.stopped or values.pop("stop") > 0
        self._refuse_non_finite(pending, values)
        self._num_read += 1
        rate = self._num_read * self._global_batch / (time.monotonic() - self._started)
        record = {"step": pending.step, **values, "samples_per_s": rate, **pending.extra}
        if not self._accelerator.is_main_process:
            return
        with self._path.open("a") as log:
            log.write(json.dumps(record) + "\n")
        self._accelerator.log({name: value for name, value in record.items() if name != "step"}, step=pending.step)
        self._watch.step_done(pending.step, self._steps, record)

    def _refuse_non_finite(self, pending: _Pending, values: dict[str, float]) -> None:
        """Every process sees the same means and comes here at the same step, so they may tell each other names."""
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if not wrong:
            return
        losses = [pair for ids, values in pending.samples for pair in zip(ids, values.tolist(), strict=True)]
        told = gather_object(losses)
        bad = [name for name, value in told if not math.isfinite(value)] or [name for name, _ in told]
        raise JobError(
            f"step {pending.step}: {', '.join(wrong)} not finite; samples: {', '.join(bad)}: "
            "the last checkpoint is whole; lower optimizer.learning_rate or look at these samples"
        )
