"""Ray, made for a run or joined, as every pool of workers begins. It is imported only here inside."""

import logging
import os
from typing import Any, Final

from h2d.errors import JobError

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
