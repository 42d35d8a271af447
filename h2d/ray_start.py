"""Ray, as every pool of workers begins: made or joined, with GPUs or without. It is imported only here inside."""

import logging
import os
from typing import Any, Final

from h2d.errors import JobError, UserError

SMALL_STORE_BYTES: Final = 256 * 2**20
"""Of Ray's object store, where pictures travel as paths and what comes back is counts."""


def start_ray(address: str | None, **local: Any) -> Any:
    """Ray's module, on the cluster at `address`, else on a Ray of this run's own with these options.

    Raises `JobError` where it does not start.
    """
    # Set before Ray is imported: it would wrap workers in `uv run`, and it warns about GPUs that nobody asked for.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(
            address=address or "local",  # without an address Ray joins whatever cluster was started on this machine
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else {"include_dashboard": False, **local}),
        )
    except Exception as error:  # noqa: BLE001  # Ray raises the bare class where a node is too slow to start
        where = f"the Ray cluster at {address}" if address else "a local Ray"
        raise JobError(f"cannot start on {where}: {' '.join(str(error).split())[:300]}") from None
    return ray


def cluster_device(device: str, address: str, *, workers: int) -> str:
    """`cuda` where workers on the cluster at `address` get a GPU each, else `cpu`; raises `UserError` as `on_gpus`."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device {device!r}: Ray chooses each worker's GPU: give auto, cpu, cuda")
    ray = start_ray(address)
    try:
        return "cuda" if on_gpus(device, ray.cluster_resources().get("GPU", 0), workers) else "cpu"
    finally:
        ray.shutdown()


def on_gpus(device: str, num_gpus: float, workers: int) -> bool:
    """Whether workers get a GPU each, by what Ray has: this machine may be one without.

    Raises `UserError` where some would wait for one for ever.
    """
    if device == "auto":
        device = "cuda" if num_gpus else "cpu"
    if not device.startswith("cuda"):
        return False
    if not num_gpus:
        raise UserError(f"device {device!r}: Ray has no GPU: give --device cpu")
    if num_gpus < workers:
        raise UserError(
            f"--workers {workers}: each takes a GPU, and Ray has {num_gpus:g}: give fewer --workers, or --device cpu"
        )
    return True
