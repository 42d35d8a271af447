"""Where work is done: shard after shard in this process, or by Ray's workers; the work does not know.

A shard is committed by the work itself, whole or not at all, so a run that is killed goes on with those that lack.
The only place of evaluation that knows of Ray.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from h2d.errors import JobError
from h2d.machine import device_named
from h2d.ray_start import SMALL_STORE_BYTES, cluster_device, on_gpus, start_ray

Shard: TypeAlias = tuple[int, ...]
"""Numbers of pictures in the list."""

_WAIT_S: Final = 0.5


@runtime_checkable
class Work(Protocol):
    """What is done to pictures. Cheap to pickle before `setup`."""

    needs_gpu: bool

    def title(self, shard: Shard) -> str:
        """What pictures these are, for messages."""

    def setup(self) -> None:
        """Load weights; once per process."""

    def run(self, shard: Shard) -> None:
        """Do these pictures and commit what came of them."""

    def close(self) -> None:
        """Give back what `setup` took."""


@runtime_checkable
class Watch(Protocol):
    """Told of what happens, and asked whether to go on."""

    def started(self, name: str, count: int, done: int) -> None:
        """`count` pictures will be done, of which earlier runs left `done`."""

    def worked(self, count: int) -> None:
        """So many more are done."""

    def ended(self, name: str) -> None:
        """All are done, or the run is stopping."""

    def should_stop(self) -> bool:
        """Whether to begin no further shard."""


class Silent:
    """A watch that says nothing and never stops."""

    def started(self, name: str, count: int, done: int) -> None:
        """Nothing."""

    def worked(self, count: int) -> None:
        """Nothing."""

    def ended(self, name: str) -> None:
        """Nothing."""

    def should_stop(self) -> bool:
        """Never."""
        return False


def placed_device(device: str, *, workers: int, address: str | None) -> str:
    """The device of workers that may need a GPU, `auto` decided by what is here, or what the cluster at `address` has.

    Raises `UserError` where there is no such device, or fewer GPUs than workers.
    """
    if address is not None:
        return cluster_device(device, address, workers=workers)
    named = device_named(device)
    if workers > 1:
        import torch

        on_gpus(named, torch.cuda.device_count(), workers)
    return named


def do_all(
    name: str,
    work: Work,
    shards: Sequence[Shard],
    *,
    num_done: int,
    watch: Watch,
    workers: int = 1,
    address: str | None = None,
) -> bool:
    """Do the shards, each once; False when `watch` said stop before the last. `num_done` pictures were done before.

    With one worker and no address everything happens here, without Ray. Raises what the work raises.
    """
    if not shards:
        return not watch.should_stop()
    watch.started(name, num_done + sum(map(len, shards)), num_done)
    try:
        if workers == 1 and address is None:
            return _here(work, shards, watch)
        return _on_ray(work, shards, watch, workers, address)
    finally:
        watch.ended(name)


def _here(work: Work, shards: Sequence[Shard], watch: Watch) -> bool:
    if watch.should_stop():
        return False
    work.setup()
    try:
        for shard in shards:
            if watch.should_stop():
                return False
            work.run(shard)
            watch.worked(len(shard))
    finally:
        work.close()
    return True


def _on_ray(work: Work, shards: Sequence[Shard], watch: Watch, workers: int, address: str | None) -> bool:
    ray = start_ray(address, num_cpus=workers, object_store_memory=SMALL_STORE_BYTES)
    try:
        options = {"num_cpus": 1, "num_gpus": 1 if work.needs_gpu else 0, "max_restarts": 0, "max_task_retries": 0}
        remote: Any = ray.remote(**options)(_Worker)
        idle = [remote.remote(work) for _ in range(min(workers, len(shards)))]
        running: dict[Any, tuple[Any, Shard]] = {}
        waiting = list(reversed(shards))
        while running or (waiting and not watch.should_stop()):
            while idle and waiting and not watch.should_stop():
                actor, shard = idle.pop(), waiting.pop()
                running[actor.run.remote(shard)] = (actor, shard)
            for reference in ray.wait(list(running), timeout=_WAIT_S)[0]:
                actor, shard = running.pop(reference)
                _answer(ray, reference, work.title(shard))
                idle.append(actor)
                watch.worked(len(shard))
        return not waiting
    finally:
        ray.shutdown()


class _Worker:
    """Holds the work, set up at its first shard."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ready = False

    def run(self, shard: Shard) -> None:
        if not self._ready:
            self._work.setup()
            self._ready = True
        self._work.run(shard)


def _answer(ray: Any, reference: Any, title: str) -> None:
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        last = " ".join(str(error).split())[-200:]
        raise JobError(
            f"a worker died on {title}: {last}: what is done is kept, the same command goes on; give fewer --workers if"
            " memory was short"
        ) from None


def shards_of(numbers: Sequence[int], size: int) -> list[Shard]:
    """The numbers in pieces of at most `size`, in order."""
    return [tuple(numbers[start : start + size]) for start in range(0, len(numbers), size)]
