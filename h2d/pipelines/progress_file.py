"""`work/status.json`: how far a running preparation is, for `h2d status` and other programs; written all along."""

import json
import os
import socket
import time
from collections import deque
from typing import Any, Final

from h2d.manifests.files import write_json
from h2d.manifests.io import Location
from h2d.pipelines.executors.base import Watch
from h2d.supervision.job import Tally

FILE: Final = "status.json"
WRITE_EVERY_S: Final = 2.0
RATE_OVER_S: Final = 60.0


class Pace:
    """Pictures a second over the last minute and overall, and the time that the rest will take."""

    def __init__(self, total: int, before: int) -> None:
        self._total, self._before, self._done = total, before, before
        self._started = time.monotonic()
        self._recent = deque([(self._started, before)])

    def reach(self, done: int) -> None:
        """Note that so many pictures are done now."""
        now = time.monotonic()
        self._done = done
        self._recent.append((now, done))
        while self._recent[0][0] < now - RATE_OVER_S:
            self._recent.popleft()

    @property
    def overall(self) -> float:
        """Pictures a second of this run; 0 before the first."""
        return (self._done - self._before) / max(time.monotonic() - self._started, 1e-6)

    @property
    def lately(self) -> float:
        """Pictures a second of the last minute."""
        since, at = self._recent[0]
        passed = time.monotonic() - since
        return (self._done - at) / passed if passed > 1 else self.overall

    @property
    def seconds_left(self) -> float | None:
        """None while there is nothing to tell it from."""
        return (self._total - self._done) / self.lately if self.lately > 0 else None


class RecordedWatch:
    """A watch that passes everything on and writes `work/status.json` beside."""

    def __init__(self, watch: Watch, work: Location) -> None:
        self._watch, self._file = watch, work / FILE
        self._name, self._total, self._tally = "", 0, Tally()
        self._pace = Pace(0, 0)
        self._written = 0.0

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        """Begin a stage's count."""
        self._name, self._total, self._tally = name, num_pictures, done
        self._pace = Pace(num_pictures, done.statuses.total())
        self._write()
        self._watch.job_started(name, num_pictures, done)

    def pictures_worked(self, tally: Tally) -> None:
        """Count pictures, and write when the last time is a while ago."""
        self._tally = self._tally + tally
        self._pace.reach(self._tally.statuses.total())
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self._write()
        self._watch.pictures_worked(tally)

    def job_ended(self, name: str) -> None:
        """Write the stage's last count."""
        self._write()
        self._watch.job_ended(name)

    def should_stop(self) -> bool:
        """As the watch says."""
        return self._watch.should_stop()

    def close(self) -> None:
        """Take the file away: nothing runs any more."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        left, rates = self._pace.seconds_left, {"last_minute": self._pace.lately, "overall": self._pace.overall}
        state = {
            "stage": self._name,
            "done": self._tally.statuses.total(),
            "total": self._total,
            "statuses": self._tally.statuses,
            "reasons": self._tally.reasons,
            "pictures_per_second": {name: round(rate, 2) for name, rate in rates.items()},
            "seconds_left": None if left is None else round(left),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "written": round(time.time(), 1),
        }
        write_json(self._file, state)
        self._written = time.monotonic()


def read_running(work: Location) -> dict[str, Any] | None:
    """What a preparation that runs, or was killed, last said; None when the last one ended by itself."""
    try:
        state: dict[str, Any] = json.loads((work / FILE).read_text())
    except FileNotFoundError:
        return None
    return state
