"""Pictures drawn one by one, in this process or by several; each is the same wherever it is drawn."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from h2d.errors import JobError
from h2d.synth.drawing_folder import DrawingFolder
from h2d.synth.layouts.base import Layout, Studio, Wish

_QUEUED_PER_WORKER: Final = 3
"""Enough to keep a worker busy, few enough to stop soon."""


@runtime_checkable
class Watch(Protocol):
    """Told of what happens, and asked whether to go on."""

    def started(self, count: int, done: int) -> None:
        """`count` pictures will be there, of which earlier runs left `done`."""

    def drawn(self) -> None:
        """Another picture is written."""

    def ended(self) -> None:
        """Every picture is written, or the run is stopping."""

    def should_stop(self) -> bool:
        """Whether to begin no further picture."""


def standard_studio() -> Studio:
    """The sampler and the renderer of this package."""
    from h2d.synth.render import render
    from h2d.synth.sampling import sample_scene

    return Studio(sample=sample_scene, render=render, setup=_use_one_thread)


def draw_all(
    layout: Layout,
    folder: DrawingFolder,
    wishes: Mapping[int, Wish],
    *,
    num_done: int,
    num_workers: int,
    studio: Studio,
    watch: Watch | None,
) -> bool:
    """Draw the pictures of `wishes` and keep their notes; False when `watch` said stop before the last."""
    if watch is not None:
        watch.started(num_done + len(wishes), num_done)
    if num_workers == 1:
        finished = _in_this_process(layout, folder, wishes, studio, watch)
    else:
        finished = _by_processes(layout, folder, wishes, studio, watch, num_workers)
    num_drawn = 0
    for _ in finished:
        num_drawn += 1
        if watch is not None:
            watch.drawn()
    if watch is not None:
        watch.ended()
    return num_drawn == len(wishes)


def _in_this_process(
    layout: Layout, folder: DrawingFolder, wishes: Mapping[int, Wish], studio: Studio, watch: Watch | None
) -> Iterator[int]:
    for index, wish in wishes.items():
        if watch is not None and watch.should_stop():
            return
        folder.keep(index, layout.draw(index, folder.path, studio, wish))
        yield index


def _by_processes(
    layout: Layout,
    folder: DrawingFolder,
    wishes: Mapping[int, Wish],
    studio: Studio,
    watch: Watch | None,
    num_workers: int,
) -> Iterator[int]:
    # Forking a process that has used torch can hang; a spawned one starts clean.
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(layout, str(folder.path), studio),
    )
    todo = iter(wishes.items())
    running: set[Future[int]] = set()
    try:
        while True:
            if watch is None or not watch.should_stop():
                vacant = num_workers * _QUEUED_PER_WORKER - len(running)
                running |= {pool.submit(_draw, index, wish) for index, wish in islice(todo, vacant)}
            if not running:
                return
            done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool:
        raise JobError(
            "a drawing process died, perhaps for want of memory: the same command goes on; give it fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a worker process draws; set once when it starts."""

    layout: Layout
    folder: DrawingFolder
    studio: Studio


def _start_worker(layout: Layout, path: str, studio: Studio) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    studio.setup()
    _Worker.layout, _Worker.folder, _Worker.studio = layout, DrawingFolder(Path(path)), studio


def _end_with_parent() -> None:
    """A worker of a pool whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is another process"
    parent.join()
    os._exit(1)


def _draw(index: int, wish: Wish) -> int:
    _Worker.folder.keep(index, _Worker.layout.draw(index, _Worker.folder.path, _Worker.studio, wish))
    return index


def _use_one_thread() -> None:
    """Each worker has a core to itself; threads would only wait for each other."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
