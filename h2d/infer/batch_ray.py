"""A batch on many GPUs: Ray actors, each with the networks loaded once. The only place in sampling that knows of Ray.

Workers see the files that this process sees. One that dies is replaced, and its pictures are tried once more, each
alone; those that it dies of again are failures.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from h2d.infer.batch_file import BatchWorker, Failure, Worked
from h2d.infer.batch_lines import Line
from h2d.ray_start import on_gpus, start_ray

_DIED: Final = "its worker died twice: out of memory, or a crash of the driver or of a library"


class RayPool:
    """Actors that are made as they are needed; `make` is pickled to each."""

    def __init__(self, make: Callable[[], BatchWorker], num_workers: int, *, num_gpus: float) -> None:
        self._make, self._num_workers, self._num_gpus = make, num_workers, num_gpus
        self._actors: list[Any] = []

    def done(self, lines: Sequence[Line]) -> list[bool]:
        """Asked of one worker: it has the networks that pictures are compared with."""
        import ray

        found: list[bool] = _got(ray, self._actor(0).done.remote(list(lines)))
        return found

    def work(self, groups: Sequence[Sequence[Line]]) -> Iterator[Worked]:
        """Each worker has one group at a time."""
        import ray

        waiting = [(group, True) for group in reversed(groups)]
        running: dict[Any, tuple[int, Sequence[Line], bool]] = {}
        free = list(range(min(self._num_workers, len(groups))))
        while waiting or running:
            while waiting and free:
                number, (group, again) = free.pop(), waiting.pop()
                running[self._actor(number).work.remote(list(group))] = number, group, again
            (ready,), _ = ray.wait(list(running), num_returns=1)
            number, group, again = running.pop(ready)
            free.append(number)
            try:
                worked = _got(ray, ready)
            except ray.exceptions.RayActorError:
                self._actors[number] = None
                if again:
                    waiting += [([line], False) for line in group]
                    continue
                worked = Worked(lines=group, failures=[Failure(line=line, error=_DIED) for line in group])
            yield worked

    def _actor(self, number: int) -> Any:
        import ray

        while len(self._actors) <= number:
            self._actors.append(None)
        if self._actors[number] is None:
            kind: Any = ray.remote(num_cpus=1, num_gpus=self._num_gpus, max_restarts=0)(_Worker)
            self._actors[number] = kind.remote(self._make, str(Path.cwd()))
        return self._actors[number]


class _Worker:
    """What an actor is. It loads when it is first asked, for an error in `__init__` would be its death."""

    def __init__(self, make: Callable[[], BatchWorker], folder: str) -> None:
        os.chdir(folder)  # relative paths mean what they mean where the command was given
        self._make = make

    @cached_property
    def _worker(self) -> BatchWorker:
        return self._make()

    def done(self, lines: Sequence[Line]) -> list[bool]:
        return [self._worker.is_done(line) for line in lines]

    def work(self, lines: Sequence[Line]) -> Worked:
        return self._worker.work(lines)


@contextmanager
def ray_pool(
    make: Callable[[], BatchWorker], *, num_workers: int | None, address: str | None, device: str
) -> Iterator[RayPool]:
    """A pool on a local Ray or on the cluster at `address`; without a number, one worker a GPU.

    `device` is that of each worker. Raises `JobError`, and `UserError` where there are fewer GPUs than workers.
    """
    ray = start_ray(address, **({"num_cpus": num_workers + 1} if num_workers else {}))
    try:
        num_gpus = ray.cluster_resources().get("GPU", 0)
        on_gpu = on_gpus(device, num_gpus, num_workers or 1)
        yield RayPool(make, num_workers or (int(num_gpus) if on_gpu else 1), num_gpus=1 if on_gpu else 0)
    finally:
        ray.shutdown()


def _got(ray: Any, reference: Any) -> Any:
    """A worker's answer; a mistake of the user's that it met is raised as it was."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
