"""The progress of a job: a bar on a terminal, plain lines elsewhere; Ctrl-C once to finish what is in flight."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from h2d.cli.wording import duration
from h2d.pipelines.progress_file import Pace
from h2d.supervision.job import Tally

LINE_EVERY_S: Final = 10.0
_STOPPING: Final = b"\nStopping: finishing what is in flight. Ctrl-C again stops at once and loses only that.\n"


class JobProgress:
    """A `Watch` that shows pictures done of all, the rate of the last minute and overall, time left and failures."""

    def __init__(self, *, quiet: bool = False) -> None:
        # Its own descriptor of standard error: annotators send theirs away while native code logs.
        self._file = os.fdopen(os.dup(2), "w", buffering=1)
        self._console = Console(file=self._file)
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
        )
        self._live: Live | None = None
        self._task: TaskID | None = None
        self._interrupts = 0
        self._name = ""
        self._total = 0
        self._before = 0
        self._tally = Tally()
        self._pace = Pace(0, 0)
        self._last_line = 0.0

    @contextmanager
    def watching(self) -> Iterator["JobProgress"]:
        """Show progress and catch Ctrl-C until the block is left."""
        previous = signal.signal(signal.SIGINT, self._interrupt)
        try:
            if self._console.is_terminal and not self._quiet:
                with Live(self._bar, console=self._console, refresh_per_second=4) as self._live:
                    yield self
            else:
                yield self
        finally:
            if self._interrupts <= 1:
                signal.signal(signal.SIGINT, previous)
            self._file.close()

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        """Begin a line for the job."""
        self._name, self._total, self._tally = name, num_pictures, done
        self._before = sum(done.statuses.values())
        self._pace = Pace(num_pictures, self._before)
        self._last_line = time.monotonic()
        self._task = self._bar.add_task(name, total=num_pictures, completed=self._before, detail=self._detail())
        if self._before and not self._live:
            self._print(f"{name}: {self._before} of {num_pictures} already done")

    def pictures_worked(self, tally: Tally) -> None:
        """Count pictures."""
        if self._interrupts > 1:  # Python drops an exception that a handler raises during garbage collection.
            raise KeyboardInterrupt
        self._tally = self._tally + tally
        now, done = time.monotonic(), sum(self._tally.statuses.values())
        self._pace.reach(done)
        assert self._task is not None
        self._bar.update(self._task, completed=done, detail=self._detail())
        # The last picture's line is that of the job's end.
        if not self._live and done < self._total and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._print(f"{self._name}: {done}/{self._total}  {self._detail()}")

    def job_ended(self, name: str) -> None:
        """End the job's line."""
        if not self._live:
            done = sum(self._tally.statuses.values())
            self._print(f"{name}: {done}/{self._total}  {self._detail()}")

    def should_stop(self) -> bool:
        """After the first Ctrl-C."""
        return self._interrupts > 0

    def _detail(self) -> str:
        done = sum(self._tally.statuses.values())
        words = []
        if done > self._before:
            words.append(f"{self._pace.lately:.1f}/s ({self._pace.overall:.1f}/s overall)")
            if done < self._total and self._pace.seconds_left is not None:
                words.append(f"{duration(self._pace.seconds_left)} left")
        words += [f"{count} {status}" for status, count in self._tally.statuses.most_common() if status != "ok"]
        words += [f"{reason} {count}" for reason, count in self._tally.reasons.most_common(3)]
        return "  ".join(words)

    def _print(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # A third one must not interrupt the cleaning up.
            raise KeyboardInterrupt
        # Not through the console: the signal may have come while it was printing, or importing what it needs to print.
        os.write(self._file.fileno(), _STOPPING)
