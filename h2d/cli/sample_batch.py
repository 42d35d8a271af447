"""`h2d sample --batch`: a file of prompts and poses to a folder of pictures."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from h2d.cli.console import console, errors
from h2d.cli.output import print_json
from h2d.cli.progress import LINE_EVERY_S
from h2d.cli.wording import counted

if TYPE_CHECKING:
    from h2d.infer.batch_file import BatchOutcome, Failure
    from h2d.infer.options import SampleOptions
    from h2d.infer.session import MethodSession

_NUM_TOLD = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What is to be made."""

    file: Path
    out: Path
    options: "SampleOptions"
    """Of the lines that do not state their own."""
    seed: int
    batch_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """Who makes it: this process, unless a number or Ray's address is given."""

    number: int | None
    address: str | None
    device: str
    """Of each of them."""


def sample_batch(
    open_session: "Callable[[], MethodSession]", batch: Batch, workers: Workers, *, grid: bool, as_json: bool
) -> None:
    """Make every picture of the file; what was interrupted or failed is made by the same command."""
    from h2d.infer.batch_file import BatchWorker, InlinePool, run_batch

    def make() -> BatchWorker:
        return BatchWorker(open_session(), batch.file.parent, batch.out, options=batch.options, seed=batch.seed)

    with BatchProgress(quiet=as_json) as progress, ExitStack() as stack:
        pool: Any
        if workers.number or workers.address:
            from h2d.infer.batch_ray import ray_pool

            pool = stack.enter_context(
                ray_pool(make, num_workers=workers.number, address=workers.address, device=workers.device)
            )
        else:
            pool = InlinePool(make())
        try:
            outcome = run_batch(pool, batch.file, batch.out, batch_size=batch.batch_size, watch=progress)
        except KeyboardInterrupt:
            told = f"{progress.done} of {progress.total} pictures are in {batch.out}"
            errors.print(f"Stopped: {told}; the same command goes on.", soft_wrap=True, highlight=False)
            raise typer.Exit(130) from None
    _tell(outcome, batch.out, as_json=as_json)
    if grid and (pictures := [path for path in outcome.pictures if path.is_file()]):
        _write_sheet(pictures, batch.out, as_json=as_json)
    if outcome.failures:
        raise typer.Exit(1)


def _write_sheet(pictures: "Sequence[Path]", out: Path, *, as_json: bool) -> None:
    from h2d.infer.batch_sheet import batch_sheet

    sheet = out.with_name(f"{out.name}-grid.png")
    batch_sheet(pictures).save(sheet)
    if not as_json:
        console.print(f"{sheet}: each beside its pose", soft_wrap=True, highlight=False)


class BatchProgress:
    """A bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}"), TimeRemainingColumn())
        self._quiet = quiet
        self._bar = Progress(*columns, console=errors, disable=quiet or not errors.is_terminal)
        self._task = self._bar.add_task("pictures", total=None, detail="loading")
        self._last_line = time.monotonic()
        self.total = self.done = self._failed = 0

    def __enter__(self) -> "BatchProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, total: int, done: int) -> None:
        """`done` of `total` lines have their pictures already."""
        self.total, self.done = total, done
        self._bar.update(self._task, total=total, completed=done, detail="")
        if done and not self._quiet:
            errors.print(f"{done} of {total} pictures are there already", highlight=False)

    def worked(self, failures: "Sequence[Failure]", num_made: int) -> None:
        """Some lines are over."""
        self.done += num_made
        self._failed += len(failures)
        detail = f"{self._failed} failed" if self._failed else ""
        self._bar.update(self._task, completed=self.done + self._failed, detail=detail)
        now = time.monotonic()
        if not (self._quiet or errors.is_terminal) and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            errors.print(f"{self.done}/{self.total} {detail}".rstrip(), highlight=False)


def _tell(outcome: "BatchOutcome", out: Path, *, as_json: bool) -> None:
    from h2d.infer.batch_file import FAILED_FILE

    failed = [{"line": one.line.number, "id": one.line.id, "error": one.error} for one in outcome.failures]
    if as_json:
        noted = [{"line": one.line.number, "id": one.line.id, "notes": list(one.notes)} for one in outcome.noted]
        counts = {"total": outcome.total, "found": outcome.found, "made": outcome.made}
        print_json({"out": out, **counts, "failed": failed, "noted": noted})
        return
    console.print(
        f"{counted(outcome.made, 'picture')} made, {outcome.found} were there, in {out}",
        soft_wrap=True,
        highlight=False,
    )
    for one in outcome.noted[:_NUM_TOLD]:
        for note in dict.fromkeys(one.notes):
            console.print(f"  {one.line.id}: {note}", soft_wrap=True, highlight=False, markup=False)
    if outcome.noted:
        console.print(f"{len(outcome.noted)} with notes, kept in their records", soft_wrap=True, highlight=False)
    for row in failed[:_NUM_TOLD]:
        said = f"  line {row['line']}, {row['id']}: {row['error']}"
        errors.print(said, style="red", soft_wrap=True, highlight=False, markup=False)
    if failed:
        errors.print(f"{len(failed)} failed: {out / FAILED_FILE}", style="red", soft_wrap=True, highlight=False)
