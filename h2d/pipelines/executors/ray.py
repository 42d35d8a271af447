"""Shards on a pool of Ray Core actors, one process each; the only place in preparation that knows of Ray.

Ray decides where an actor lives and nothing else: it restarts and retries nothing, because the shard is our unit of
commit and retry. Pictures travel as paths; what comes back is counts.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from h2d.errors import JobError
from h2d.pipelines.executors.base import PRELOADED, Watch
from h2d.pipelines.plan import Shard
from h2d.pipelines.worker import Job
from h2d.ray_start import SMALL_STORE_BYTES, start_ray
from h2d.supervision.job import Tally
from h2d.supervision.supervised import Supervised

POLL_S: Final = 0.5
REPORT_EVERY_S: Final = 0.5
MAX_LOSSES: Final = 3
"""Of one shard's workers, with their nodes; a worker's own process dies without that."""

logger = logging.getLogger(__name__)


class RayExecutor:
    """A local Ray made for this run, or a cluster at `address` that sees the same files."""

    def __init__(
        self, *, num_workers: int, address: str | None, scratch: Path, gpus: float = 1.0, timeout_s: float | None = None
    ) -> None:
        self._num_workers = num_workers
        self._scratch = scratch
        self._gpus = gpus
        self._timeout_s = timeout_s
        # Its memory monitor would kill the actor; the kernel kills the actor's child, and that has one picture in hand.
        os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
        start_ray(address, num_cpus=num_workers, object_store_memory=SMALL_STORE_BYTES)

    def run(self, job: Job, shards: Sequence[Shard], watch: Watch) -> None:
        """Keep every actor busy with one shard at a time; raises the first error that is not a picture's own."""
        import ray

        remote: Any = ray.remote(**worker_options(job, self._gpus))(_Worker)

        def hire() -> Any:
            return remote.remote(job, self._scratch, self._timeout_s)

        pool = _Pool(hire=hire, num_workers=min(self._num_workers, len(shards)), job_name=job.name)
        try:
            _drain(pool, shards, watch, self._scratch)
        finally:
            pool.close()

    def close(self) -> None:
        """Stop the local Ray, or leave the cluster."""
        import ray

        ray.shutdown()


def worker_options(job: Job, gpus: float) -> dict[str, Any]:
    """What a worker asks Ray for. No restarts and no retries: the shard is our unit of both."""
    return {"num_cpus": 1, "num_gpus": gpus if job.needs_gpu else 0, "max_restarts": 0, "max_task_retries": 0}


class _Pool:
    """Actors that load once and then take a shard at a time; one that is lost with its node is replaced."""

    def __init__(self, *, hire: Callable[[], Any], num_workers: int, job_name: str) -> None:
        self._hire = hire
        self._job_name = job_name
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, Shard]] = {}
        self._losses: Counter[int] = Counter()
        for _ in range(num_workers):
            self._start_one()

    @property
    def in_flight(self) -> list[Shard]:
        """The shards that are being worked on."""
        return [shard for _, shard in self._running.values()]

    def take(self, waiting: list[Shard]) -> None:
        """Give each idle actor a shard."""
        while self._idle and waiting:
            actor, shard = self._idle.pop(), waiting.pop()
            self._running[actor.run.remote(shard)] = (actor, shard)

    def finished(self, waiting: list[Shard]) -> Iterator[tuple[Shard, Tally]]:
        """Wait a moment for shards to end; those of lost actors go back to `waiting`."""
        import ray

        ready, _ = ray.wait([*self._running, *self._starting], num_returns=1, timeout=POLL_S)
        for reference in ready:
            if reference in self._starting:
                self._welcome(reference)
                continue
            actor, shard = self._running.pop(reference)
            try:
                final = _get(reference)
            except ray.exceptions.RayActorError as error:
                self._lose(shard, error)
                waiting.append(shard)
                continue
            self._idle.append(actor)
            yield shard, final

    def close(self) -> None:
        """Kill every actor: none has anything that is not written."""
        import ray

        for actor in [*self._idle, *self._starting.values(), *(actor for actor, _ in self._running.values())]:
            ray.kill(actor)

    def _start_one(self) -> None:
        actor = self._hire()
        self._starting[actor.setup.remote()] = actor

    def _welcome(self, reference: Any) -> None:
        import ray

        actor = self._starting.pop(reference)
        try:
            _get(reference)
        except ray.exceptions.RayActorError as error:
            if not (self._idle or self._starting or self._running):
                raise JobError(
                    f"a worker of the {self._job_name} stage died while it started: {_cause(error)}"
                ) from None
            logger.warning("a worker of the %s stage died while it started: %s", self._job_name, _cause(error))
            return
        self._idle.append(actor)

    def _lose(self, shard: Shard, error: Exception) -> None:
        self._losses[shard.number] += 1
        if self._losses[shard.number] >= MAX_LOSSES:
            raise JobError(
                f"the {self._job_name} stage lost {MAX_LOSSES} workers on shard {shard.number} (split {shard.split}): "
                f"{_cause(error)}; finished shards are kept: run the same command to go on"
            ) from None
        logger.warning("shard %d goes to another worker: %s", shard.number, _cause(error))
        self._start_one()


def _drain(pool: _Pool, shards: Sequence[Shard], watch: Watch, scratch: Path) -> None:
    waiting = list(reversed(shards))
    told: dict[int, Tally] = {}
    while pool.in_flight or (waiting and not watch.should_stop()):
        if not watch.should_stop():
            pool.take(waiting)
        for shard, final in pool.finished(waiting):
            _tell(watch, told, shard, final)
        for shard in pool.in_flight:
            _tell(watch, told, shard, _read_progress(scratch, shard))


class _Worker:
    """Holds one job, set up once, in a child process that it replaces when it dies."""

    def __init__(self, job: Job, scratch: Path, timeout_s: float | None) -> None:
        self._worker = Supervised(job, timeout_s=timeout_s, preload=PRELOADED)
        self._scratch = scratch

    def setup(self) -> None:
        self._worker.setup()

    def run(self, shard: Shard) -> Tally:
        so_far = Tally()
        last_report = 0.0

        def on_pictures(tally: Tally) -> None:
            nonlocal so_far, last_report
            so_far = so_far + tally
            if time.monotonic() - last_report >= REPORT_EVERY_S:
                _write_progress(self._scratch, shard, so_far)
                last_report = time.monotonic()

        _write_progress(self._scratch, shard, so_far)
        try:
            final: Tally = self._worker.run(shard, on_pictures)
            return final
        finally:
            _progress_file(self._scratch, shard).unlink(missing_ok=True)


def _get(reference: Any) -> Any:
    """The answer; a worker's exception is raised as itself."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def _cause(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()[:300]


def _progress_file(scratch: Path, shard: Shard) -> Path:
    return scratch / f"shard-{shard.number:05d}.json"


def _write_progress(scratch: Path, shard: Shard, tally: Tally) -> None:
    file = _progress_file(scratch, shard)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps([tally.statuses, tally.reasons]))
    temporary.replace(file)


def _read_progress(scratch: Path, shard: Shard) -> Tally | None:
    try:
        statuses, reasons = json.loads(_progress_file(scratch, shard).read_text())
    except FileNotFoundError:
        return None
    return Tally(statuses=Counter(statuses), reasons=Counter(reasons))


def _tell(watch: Watch, told: dict[int, Tally], shard: Shard, now: Tally | None) -> None:
    """Pass on what is new of a shard since the last time."""
    if now is None:
        return
    before = told.get(shard.number, Tally())
    watch.pictures_worked(Tally(statuses=now.statuses - before.statuses, reasons=now.reasons - before.reasons))
    told[shard.number] = now
