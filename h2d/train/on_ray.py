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
from h2d.errors import UserError
from h2d.train.checkpoints import load_state, newest
from h2d.train.config import TrainConfig
from h2d.train.loop import Outcome, train
from h2d.train.plan import plan
from h2d.train.step_log import Watch, read_log

_POLL_S: Final = 0.5


def train_on_ray(
    config: TrainConfig, watch: Watch, *, workers: int, address: str | None = None, fresh: bool = False
) -> Outcome:
    """Train on `workers` processes of a local Ray or of the cluster at `address`; checks everything here first."""
    planned = plan(config, fresh=fresh)
    if config.global_batch % (workers * (config.speed.micro_batch or 1)):
        raise UserError(
            f"global_batch = {config.global_batch} cannot be dealt to {workers} workers: "
            "change global_batch or --workers"
        )
    if planned.resume and planned.first_step >= config.steps:
        return train(config, watch)
    with _ray(address, workers), _followed(config, watch, planned.first_step):
        _trainer(config, workers, fresh=fresh).fit()
    last = newest(config.out)
    assert last is not None, config.out
    return Outcome(out=config.out, step=load_state(last)["step"], model=last / "model", interrupted=False)


def _trainer(config: TrainConfig, workers: int, *, fresh: bool) -> Any:
    import torch
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    return TorchTrainer(
        _work,
        train_loop_config={"config": as_plain(config), "fresh": fresh, "folder": str(Path.cwd())},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        run_config=RunConfig(name="workers", storage_path=str(config.out.resolve() / "ray")),
    )


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
def _ray(address: str | None, workers: int) -> Iterator[None]:
    import ray

    if address:
        ray.init(address=address)
    else:
        cores = max(workers + 1, os.cpu_count() or 1)
        ray.init(address="local", num_cpus=cores, include_dashboard=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _followed(config: TrainConfig, watch: Watch, first_step: int) -> Iterator[None]:
    """Tell `watch` meanwhile what the workers log."""
    done = threading.Event()

    def follow() -> None:
        told = first_step
        while not done.wait(_POLL_S):
            for record in read_log(config.out):
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
