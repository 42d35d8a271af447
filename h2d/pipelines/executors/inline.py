"""Shards one after another in this process: no Ray, no start-up; for tests and small jobs."""

from collections.abc import Sequence
from pathlib import Path

from h2d.pipelines.executors.base import Watch
from h2d.pipelines.plan import Shard
from h2d.pipelines.worker import Job


class InlineExecutor:
    """The twin of the Ray executor."""

    def __init__(self, *, num_workers: int = 1, address: str | None = None, scratch: Path | None = None) -> None:
        del num_workers, address, scratch  # one process, here

    def run(self, job: Job, shards: Sequence[Shard], watch: Watch) -> None:
        """Run the shards in order."""
        try:
            job.setup()
            for shard in shards:
                if watch.should_stop():
                    return
                job.run(shard, watch.pictures_worked)
        finally:
            job.close()

    def close(self) -> None:
        """Nothing to give back."""
