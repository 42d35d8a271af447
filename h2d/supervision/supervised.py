"""A job in a child process, and what to do when that process dies or hangs: find the picture and give it up, alone.

The child says which pictures it is about to work on. When it dies, those are the suspects: a new child works on each
of them alone, and a picture under whose hands it dies again gets a row that says how. Nothing of this is written down:
a driver that is killed finds the same pictures once more.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import Signals
from typing import Any, Final

from h2d.errors import JobError
from h2d.supervision.child import start_child
from h2d.supervision.job import NUM_ATTEMPTS, Care, Failure, Job, OnPictures, Shard, Tally

TIMEOUT_FLOOR_S: Final = 300.0
TIMEOUT_OVER_MEDIAN: Final = 20.0
MAX_DEATHS: Final = 20
"""Without a single good picture in between: the worker is broken, not the pictures."""
MAX_DEATHS_BETWEEN_PICTURES: Final = 3
"""Of one shard, while no annotator was at work: reading or writing is broken."""

PATIENCE_S: Final = 10.0
"""For a child that is done to give back what it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Death:
    """How a child ended: the status and reason of the picture that is to blame, in words."""

    status: str
    reason: str
    message: str


class Supervised:
    """A job whose child is replaced whenever it dies."""

    def __init__(self, job: Job, *, timeout_s: float | None, preload: Sequence[str] = ()) -> None:
        self._job = job
        self._timeout_s = timeout_s
        self._preload = preload
        self._seconds: deque[float] = deque(maxlen=101)
        self._child: tuple[BaseProcess, Connection] | None = None
        self._working = False
        self._num_deaths = 0
        self._memory_kills = 0

    def setup(self) -> None:
        """Start the child; raises its error, or `JobError` when it dies."""
        self._memory_kills = _num_memory_kills()
        self._child = start_child(self._job, self._preload)
        answer = self._hear(None)
        if isinstance(answer, _Death):
            raise JobError(f"a worker of the {self._job.name} stage died while it started: {answer.message}")
        assert answer[0] == "ready"

    def run(self, shard: Shard, on_pictures: OnPictures) -> Any:
        """Do the shard, with as many children as that takes; what the job gives for it."""
        care, told, deaths_between = Care(), Tally(), 0

        def tell(so_far: Tally) -> None:
            """Pass on what is new: a shard begun again counts up to where it was in silence."""
            nonlocal told
            statuses, reasons = so_far.statuses - told.statuses, so_far.reasons - told.reasons
            told = Tally(statuses=told.statuses | so_far.statuses, reasons=told.reasons | so_far.reasons)
            on_pictures(Tally(statuses=statuses, reasons=reasons))

        while True:
            if self._child is None:
                self.setup()
            suspects, end = self._one_life(shard, care, tell)
            if not isinstance(end, _Death):
                return end
            self._num_deaths += 1
            deaths_between += not suspects
            if self._num_deaths >= MAX_DEATHS or deaths_between >= MAX_DEATHS_BETWEEN_PICTURES:
                raise JobError(
                    f"workers of the {self._job.name} stage keep dying, now on {shard.title}: {end.message};"
                    " finished shards are kept"
                )
            care = _more_care(care, suspects, end)

    def close(self) -> None:
        """End the child: kindly when it waits, at once when it works."""
        if self._child is None:
            return
        process, connection = self._child
        if not self._working and process.is_alive():
            with suppress(BrokenPipeError):  # it is ending by itself, after an error that it told
                connection.send(None)
            process.join(PATIENCE_S)
        self._end_child()

    def _one_life(self, shard: Shard, care: Care, tell: Callable[[Tally], None]) -> tuple[tuple[int, ...], Any]:
        """Send the shard and listen until it is done or the child is no more; the pictures it had in hand then.

        The second is the job's answer, or a `_Death`.
        """
        assert self._child is not None
        self._working = True
        with suppress(BrokenPipeError):  # it died while it waited; that is what is heard next
            self._child[1].send((shard, care))
        so_far, since = Tally(), time.monotonic()
        in_hand: tuple[int, ...] = ()
        while True:
            answer = self._hear(self._limit_s(len(in_hand)) if in_hand else None)
            if isinstance(answer, _Death):
                return in_hand, answer
            kind, value = answer
            if kind == "done":
                self._working = False
                return (), value
            now = time.monotonic()
            if in_hand:
                self._seconds.append((now - since) / len(in_hand))
            in_hand, since = (value if kind == "begin" else ()), now
            if kind == "pictures":
                so_far = so_far + value
                if value.statuses["ok"]:
                    self._num_deaths = 0
                tell(so_far)

    def _limit_s(self, num_pictures: int) -> float:
        """How long an annotator may take for this many."""
        each = self._timeout_s
        if each is None:
            median = statistics.median(self._seconds) if self._seconds else 0.0
            each = max(TIMEOUT_FLOOR_S, TIMEOUT_OVER_MEDIAN * median)
        return each * num_pictures

    def _hear(self, limit_s: float | None) -> tuple[str, Any] | _Death:
        """The child's next word, or how it ended; raises the error that it sends."""
        assert self._child is not None
        process, connection = self._child
        try:
            if not connection.poll(limit_s):
                self._end_child()
                return _Death(status="timeout", reason="timeout", message=f"no answer in {limit_s:g} s")
            kind, value = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            self._end_child()
            return _death(process.exitcode, memory_was_short=_num_memory_kills() > self._memory_kills)
        if kind == "error":
            error, trace = value
            raise error from JobError(trace)
        return kind, value

    def _end_child(self) -> None:
        assert self._child is not None
        process, connection = self._child
        self._child = None
        process.kill()
        process.join()
        connection.close()


def _more_care(care: Care, suspects: tuple[int, ...], death: _Death) -> Care:
    """Give up a picture under which a worker died alone; else have the suspects be tried alone."""
    if len(suspects) == 1 and suspects[0] in care.alone:
        failure = Failure(status=death.status, reason=death.reason, message=death.message, attempts=NUM_ATTEMPTS)
        return replace(care, given_up={**care.given_up, suspects[0]: failure})
    return replace(care, alone=care.alone | set(suspects))


def _death(exit_code: int | None, *, memory_was_short: bool) -> _Death:
    assert exit_code is not None
    if exit_code >= 0:
        return _Death(status="crash", reason="exit", message=f"the worker ended itself with exit code {exit_code}")
    name = Signals(-exit_code).name
    if name == "SIGKILL" and memory_was_short:
        return _Death(status="crash", reason="out_of_memory", message="the kernel killed the worker: out of memory")
    return _Death(status="crash", reason=name, message=f"the worker was killed by {name}")


def _num_memory_kills() -> int:
    """Processes that the kernel has killed for want of memory since it started; 0 where it does not count them."""
    file = Path("/proc/vmstat")
    if not file.exists():
        return 0
    return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill ")), 0)
