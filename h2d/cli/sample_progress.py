"""The progress of sampling: a bar for each stage on a terminal, nothing elsewhere."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from h2d.cli.console import errors

_NAMES = {"hand": "hands", "body": "body"}


class SampleProgress:
    """Counts steps; a stage that starts again, for a hand that failed, starts its bar again."""

    def __init__(self, *, quiet: bool) -> None:
        columns = (TextColumn("{task.description:<6}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=errors, disable=quiet or not errors.is_terminal, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "SampleProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, stage: str, step: int, total: int) -> None:
        """Show a finished step."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(_NAMES[stage], total=total)
        self._bar.update(self._tasks[stage], completed=step + 1)
