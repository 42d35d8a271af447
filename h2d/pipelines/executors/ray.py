"""Shards on a pool of Ray Core actors, one process each; the only place in preparation that knows of Ray.

Ray decides where an actor lives and nothing else: it restarts and retries nothing, because the shard is our unit of
commit and retry. Pictures travel as paths; what comes back is counts.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from h2d.errors import JobError
from h2d.pipelines.executors.base import Watch
from h2d.pipelines.parts import Tally
from h2d.pipelines.plan import Shard
from h2d.pipelines.worker import Job

POLL_S: Final = 0.5
REPORT_EVERY_S: Final = 0.5
_OBJECT_STORE_BYTES: Final = 256 * 2**20


class RayExecutor:
    """A local Ray made for this run, or a cluster at `address` that sees the same files."""

    def __init__(self, *, num_workers: int, address: str | None, scratch: Path) -> None:
        self._num_workers = num_workers
        self._scratch = scratch
        _start_ray(num_workers, address)

    def run(self, job: Job, shards: Sequence[Shard], watch: Watch) -> None:
        """Keep every actor busy with one shard at a time; raises the first error that is not a picture's own."""
        import ray

        remote: Any = ray.remote(num_cpus=1, num_gpus=1 if job.needs_gpu else 0, max_restarts=0, max_task_retries=0)(
            _Worker
        )
        actors = [remote.remote(job, self._scratch) for _ in range(min(self._num_workers, len(shards)))]
        try:
            with _errors_as_ours(job.name):
                ray.get([actor.setup.remote() for actor in actors])
            self._drain(actors, job.name, list(reversed(shards)), watch)
        finally:
            for actor in actors:
                ray.kill(actor)

    def close(self) -> None:
        """Stop the local Ray, or leave the cluster."""
        import ray

        ray.shutdown()

    def _drain(self, actors: Sequence[Any], job_name: str, waiting: list[Shard], watch: Watch) -> None:
        import ray

        idle = list(actors)
        running: dict[Any, tuple[Any, Shard]] = {}
        told: dict[int, Tally] = {}
        while running or (waiting and not watch.should_stop()):
            while idle and waiting and not watch.should_stop():
                actor, shard = idle.pop(), waiting.pop()
                running[actor.run.remote(shard)] = (actor, shard)
            finished, _ = ray.wait(list(running), num_returns=1, timeout=POLL_S)
            for reference in finished:
                actor, shard = running.pop(reference)
                with _errors_as_ours(job_name, shard):
                    final = ray.get(reference)
                _tell(watch, told, shard, final)
                idle.append(actor)
            for _, shard in running.values():
                _tell(watch, told, shard, _read_progress(self._scratch, shard))


class _Worker:
    """Holds one job, set up, in a process of its own."""

    def __init__(self, job: Job, scratch: Path) -> None:
        self._job = job
        self._scratch = scratch

    def setup(self) -> None:
        self._job.setup()

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
            return self._job.run(shard, on_pictures)
        finally:
            _progress_file(self._scratch, shard).unlink(missing_ok=True)


def _start_ray(num_workers: int, address: str | None) -> None:
    # Set before Ray is imported: it would wrap workers in `uv run`, and it warns about GPUs that nobody asked for.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    local = {"num_cpus": num_workers, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            **({} if address else local),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address}" if address else "a local Ray"
        raise JobError(f"cannot start on {where}: {' '.join(str(error).split())[:300]}") from None


@contextmanager
def _errors_as_ours(job_name: str, shard: Shard | None = None) -> Iterator[None]:
    """Raise a worker's exception as itself, and a worker's death as a `JobError`."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        cause = str(error).strip().splitlines()[-1].strip()
        where = f" on shard {shard.number} (split {shard.split})" if shard else f" while it started ({cause})"
        raise JobError(
            f"a worker of the {job_name} stage died{where}; finished shards are kept: run the same command to go on"
        ) from None


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
