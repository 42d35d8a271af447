"""The same loop on Ray Train's workers, one process each; the only place in training that knows of Ray.

Workers see the files that this process sees. Ctrl-C ends them at once: what is lost is what came after the last
checkpoint.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from h2d.config import as_plain, validate_config
from h2d.errors import JobError, UserError
from h2d.ray_start import SMALL_STORE_BYTES, on_gpus, start_ray
from h2d.train.checkpoints import load_state, newest
from h2d.train.config import TrainConfig
from h2d.train.loop import Outcome, train
from h2d.train.plan import plan
from h2d.train.run_log import LOG_FILE, read_log
from h2d.train.step_log import Watch

_POLL_S: Final = 0.5


def train_on_ray(
    config: TrainConfig, watch: Watch, *, workers: int, address: str | None = None, fresh: bool = False
) -> Outcome:
    """Train on `workers` processes of a local Ray or of the cluster at `address`; checks everything here first."""
    planned = plan(config, fresh=fresh, num_processes=workers)
    if planned.resume and planned.first_step >= config.steps:
        return train(config, watch)
    with _ray(address, workers) as ray:
        on_gpu = on_gpus(config.device, ray.cluster_resources().get("GPU", 0), workers)
        with _followed(config, watch, planned.first_step):
            _fit(_trainer(config, workers, on_gpu=on_gpu, fresh=fresh))
    last = newest(config.out)
    assert last is not None, config.out
    return Outcome(out=config.out, step=load_state(last)["step"], model=last / "model", interrupted=False)


def _trainer(config: TrainConfig, workers: int, *, on_gpu: bool, fresh: bool) -> Any:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(
        _work,
        train_loop_config={"config": as_plain(config), "fresh": fresh, "folder": str(Path.cwd())},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        run_config=RunConfig(name="workers", storage_path=str(config.out.resolve() / "ray")),
    )


def _fit(trainer: Any) -> None:
    """Run it; raises what a worker raised for a person to read, and `JobError` where one died or none could begin."""
    from ray.train import TrainingFailedError, WorkerGroupError

    try:
        trainer.fit()
    except WorkerGroupError as error:
        failures = list(error.worker_failures.values())
        for failure in failures:  # not the first one: the others may merely have lost the worker that failed
            if isinstance(failure, UserError | JobError):
                raise failure from None
        died = [failure for failure in failures if type(failure).__module__.partition(".")[0] == "ray"]
        if not died:
            raise
        last = " ".join(str(died[0]).split())[-200:]
        raise JobError(
            f"a worker died: {last}: the last checkpoint is whole, the same command goes on from it; lower "
            "speed.micro_batch or --workers if memory was short"
        ) from None
    except TrainingFailedError as error:
        last = str(error).strip().splitlines()[-1]
        raise JobError(
            f"Ray's workers could not begin: {last}: see that each node can use the GPUs that Ray counts, by "
            "`h2d doctor` there, or give --device cpu"
        ) from None


def _work(given: dict[str, Any]) -> None:
    """What each worker runs."""
    os.chdir(given["folder"])  # relative paths mean what they mean where the command was given
    train(validate_config(TrainConfig, given["config"], where="config"), _Unwatched(), fresh=given["fresh"])


class _Unwatched:
    def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None:
        """The log tells."""

    def should_stop(self) -> bool:
        """Never: Ray ends its workers itself."""
        return False


@contextmanager
def _ray(address: str | None, workers: int) -> Iterator[Any]:
    cores = max(workers + 1, os.cpu_count() or 1)
    ray = start_ray(address, num_cpus=cores, object_store_memory=SMALL_STORE_BYTES)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _followed(config: TrainConfig, watch: Watch, first_step: int) -> Iterator[None]:
    """Tell `watch` meanwhile what the workers log; an earlier run's log is cut or deleted before their first step."""
    done = threading.Event()
    log = config.out / LOG_FILE
    earlier = log.stat().st_mtime_ns if log.exists() else None

    def follow() -> None:
        told = first_step
        while not done.wait(_POLL_S):
            begun = log.exists() and log.stat().st_mtime_ns != earlier
            for record in read_log(config.out) if begun else ():
                if record["step"] > told:
                    told = record["step"]
                    watch.step_done(told, config.steps, record)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()
