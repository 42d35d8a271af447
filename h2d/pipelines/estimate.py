"""What a preparation would take, measured on a few of its own pictures with its own annotators, then multiplied."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from h2d.errors import UserError
from h2d.machine import num_cores
from h2d.pipelines.choices import PrepareConfig, build_stages
from h2d.pipelines.plan import SelectionConfig
from h2d.pipelines.prepare import prepare
from h2d.supervision.job import Tally

NUM_MEASURED: Final = 24
_GB: Final = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """For `num_pictures` of the kind that was measured."""

    num_pictures: int
    num_measured: int
    core_hours: Mapping[str, float]
    """By stage; a model that runs on this machine's cores for want of a GPU counts all of them."""
    gpu_hours: Mapping[str, float]
    """By stage that ran on this machine's GPU."""
    disk_gb: float
    """Tables and parts together; without `work/`, about half."""

    def hours(self, num_workers: int) -> float:
        """On so many cores, stage after stage, one GPU beside them."""
        return sum(self.core_hours.values()) / num_workers + sum(self.gpu_hours.values())


def estimate(choices: PrepareConfig, num_pictures: int, *, num_measured: int = NUM_MEASURED) -> Estimate:
    """Prepare some pictures in a temporary folder and multiply; raises what `prepare` would."""
    with tempfile.TemporaryDirectory(prefix="h2d-estimate-") as folder:
        clock = _Clock()
        run = replace(choices.run, executor="inline", address=None, max_error_rate=1.0)
        sample = SelectionConfig(sample=num_measured, seed=choices.selection.seed)
        outcome = prepare(replace(choices, out=Path(folder) / "out", selection=sample, run=run), clock)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    num_measured = outcome.counts["indexed"]
    if num_measured < 2:
        raise UserError(f"{choices.root}: too few pictures to measure, {num_measured}: give 2 at least")
    stages = {stage.name: stage for stage in build_stages(choices)}
    scale = num_pictures / 3600
    core_hours: dict[str, float] = {}
    gpu_hours: dict[str, float] = {}
    for name, seconds in clock.seconds_each.items():
        on_gpu = name in stages and stages[name].needs_gpu
        cores = num_cores() if name in stages and stages[name].uses_all_cores else 1
        (gpu_hours if on_gpu else core_hours)[name] = seconds * cores * scale
    return Estimate(
        num_pictures=num_pictures,
        num_measured=num_measured,
        core_hours=core_hours,
        gpu_hours=gpu_hours,
        disk_gb=size / num_measured * num_pictures / _GB,
    )


class _Clock:
    """A watch that measures each stage from its first picture to its last, so that loading does not count."""

    def __init__(self) -> None:
        self.seconds_each: dict[str, float] = {}
        self._name = ""
        self._first: tuple[float, int] | None = None
        self._last = 0.0
        self._num_later = 0
        self._started = 0.0

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        self._name, self._first, self._num_later = name, None, 0
        self._started = time.perf_counter()

    def pictures_worked(self, tally: Tally) -> None:
        self._last = time.perf_counter()
        if self._first is None:
            self._first = self._last, tally.statuses.total()
        else:
            self._num_later += tally.statuses.total()

    def job_ended(self, name: str) -> None:
        if self._first is None:
            return
        began, num_first = self._first
        if self._num_later:
            self.seconds_each[name] = (self._last - began) / self._num_later
        else:  # told of in one piece, as merge is
            self.seconds_each[name] = (self._last - self._started) / num_first

    def should_stop(self) -> bool:
        return False
