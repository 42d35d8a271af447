"""Shards one after another in one process beside this one: no Ray, no start-up; for tests and small jobs."""

from collections.abc import Sequence
from pathlib import Path

from h2d.pipelines.executors.base import PRELOADED, Watch
from h2d.pipelines.plan import Shard
from h2d.pipelines.worker import Job
from h2d.supervision.supervised import Supervised


class InlineExecutor:
    """The twin of the Ray executor."""

    def __init__(
        self, *, num_workers: int = 1, address: str | None = None, scratch: Path | None = None,
        gpus: float = 1.0, timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        del num_workers, address, scratch, gpus  # one process, here
        self._timeout_s = timeout_s

    def run(self, job: Job, shards: Sequence[Shard], watch: Watch) -> None:
        """Run the shards in order."""
        worker = Supervised(job, timeout_s=self._timeout_s, preload=PRELOADED)
        try:
            worker.setup()
            for shard in shards:
                if watch.should_stop():
                    return
                worker.run(shard, watch.pictures_worked)
        finally:
            worker.close()

    def close(self) -> None:
        """Nothing to give back."""
