"""The progress of an evaluation, on the progress lines of jobs."""

from collections import Counter
from contextlib import ExitStack
from types import TracebackType

from h2d.cli.progress import JobProgress
from h2d.supervision.job import Tally


class EvaluateProgress:
    """A `Watch` of `h2d.eval.placing`: a line for each thing that is done to pictures; Ctrl-C stops after a shard."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._progress = JobProgress(quiet=quiet)
        self._stack = ExitStack()

    def __enter__(self) -> "EvaluateProgress":
        self._stack.enter_context(self._progress.watching())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def started(self, name: str, count: int, done: int) -> None:
        """Begin the line."""
        self._progress.job_started(name, count, _tally(done))

    def worked(self, count: int) -> None:
        """Count pictures."""
        self._progress.pictures_worked(_tally(count))

    def ended(self, name: str) -> None:
        """End the line."""
        self._progress.job_ended(name)

    def should_stop(self) -> bool:
        """After the first Ctrl-C."""
        return self._progress.should_stop()


def _tally(count: int) -> Tally:
    return Tally(statuses=Counter({"ok": count} if count else {}))
