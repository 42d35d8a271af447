"""What an executor promises, and what it tells while it runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from h2d.pipelines.plan import Shard
from h2d.pipelines.worker import Job
from h2d.supervision.job import Tally

PRELOADED: Final = ("h2d.pipelines.choices", "pandas")
"""Imported once for all workers: whatever a job may be made of, and what Arrow imports with its first array."""


@runtime_checkable
class Watch(Protocol):
    """Told of what happens, and asked whether to go on."""

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        """A job begins; `done` counts what earlier runs left."""

    def pictures_worked(self, tally: Tally) -> None:
        """Pictures were worked on; their shard is not yet written."""

    def job_ended(self, name: str) -> None:
        """Every shard of the job is written, or the run is stopping."""

    def should_stop(self) -> bool:
        """Whether to begin no further shard."""


@runtime_checkable
class Executor(Protocol):
    """Runs a job over shards, in any order, each once."""

    def __init__(
        self, *, num_workers: int, address: str | None, scratch: Path, gpus: float = 1.0, timeout_s: float | None = None
    ) -> None: ...

    def run(self, job: Job, shards: Sequence[Shard], watch: Watch) -> None:
        """Return when every shard is committed, or those in flight when `watch` says stop."""

    def close(self) -> None:
        """Give back processes."""
