"""The progress of training: a bar on a terminal, a line every ten seconds elsewhere; Ctrl-C saves and stops."""

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from h2d.cli.console import errors
from h2d.cli.progress import LINE_EVERY_S
from h2d.cli.wording import duration
from h2d.pipelines.progress_file import Pace

_STOPPING: Final = b"\nStopping after this step; Ctrl-C once more stops at once, without a checkpoint.\n"


class TrainProgress:
    """Follows a run; the first Ctrl-C asks it to save and stop, the second interrupts."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._stop = quiet, False
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=errors, disable=quiet or not errors.is_terminal)
        self._task = self._bar.add_task("starting", total=None)
        self._last_line = float("-inf")
        self._pace: Pace | None = None
        self._before: Any = None

    def __enter__(self) -> "TrainProgress":
        self._before = signal.signal(signal.SIGINT, self._interrupted)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        signal.signal(signal.SIGINT, self._before)

    def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None:
        """Show a step."""
        text = f"loss {record['loss']:.4f}  {record['samples_per_s']:.1f} samples/s"
        self._bar.update(self._task, completed=step, total=steps, description=text)
        if self._pace is None:
            self._pace = Pace(steps, step)
        self._pace.reach(step)
        now = time.monotonic()
        if self._quiet or errors.is_terminal or (now - self._last_line < LINE_EVERY_S and step < steps):
            return
        self._last_line = now
        left = self._pace.seconds_left
        more = f"  {duration(left)} left" if left is not None and step < steps else ""
        errors.print(f"step {step}/{steps}  {text}{more}", soft_wrap=True, highlight=False)

    def should_stop(self) -> bool:
        """After the first Ctrl-C."""
        return self._stop

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
        if not self._quiet:  # not through the console, which may be printing now
            os.write(sys.stderr.fileno(), _STOPPING)
