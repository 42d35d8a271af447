"""A job in a process of its own, told what to do through a pipe and telling what it does.

A native crash, the kernel's out-of-memory killer or a hang takes this process and nothing else.
"""

import copy
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from h2d.errors import JobError, UserError
from h2d.supervision.job import Care, Job, Shard


def start_child(job: Job, preload: Sequence[str] = ()) -> tuple[BaseProcess, Connection]:
    """A process that sets the job up and then does the shards that it is sent; the first answer is "ready".

    `preload` are modules that all such processes need: imported once, where this is the first of them.

    From a fork server: a fork of this process would inherit the threads of Arrow and torch, and their locks.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *preload])
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with _without_main():
        process.start()
    theirs.close()
    ours.send(job)
    return process, ours


@contextmanager
def _without_main() -> Iterator[None]:
    """Let the child not import the user's script, which would start the preparation once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(connection: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the driver decides.
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _offer_to_the_memory_killer()
    try:
        job: Job = connection.recv()
        try:
            with _cannot_start(job):
                job.setup()
            connection.send(("ready", None))
            while True:
                request: tuple[Shard, Care] | None = connection.recv()
                if request is None:
                    return
                shard, care = request
                final = job.run(
                    shard,
                    lambda tally: connection.send(("pictures", tally)),
                    lambda places: connection.send(("begin", tuple(places))),
                    care,
                )
                connection.send(("done", final))
        finally:
            job.close()
    except Exception as error:  # noqa: BLE001  # raised again in the driver
        connection.send(("error", (_portable(error), traceback.format_exc())))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _offer_to_the_memory_killer() -> None:
    """Have the kernel kill this process, not the driver, when memory is short."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


@contextmanager
def _cannot_start(job: Job) -> Iterator[None]:
    try:
        yield
    except (UserError, JobError, AssertionError):
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise JobError(f"the {job.name} stage cannot start: {cause}") from error


def _portable(error: Exception) -> Exception:
    if isinstance(error, MemoryError):
        return JobError("not enough memory to read or write a shard: a smaller --shard-size needs less")
    try:
        copy.deepcopy(error)  # by the same methods that sending it will use
    except Exception:  # noqa: BLE001  # an exception class may fail in any way to be made again
        return JobError(f"{type(error).__name__}: {error}")
    return error
