"""`h2d synth LAYOUT`: drawn people and hands with exact labels, in a dataset's own files."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from h2d.cli.console import console
from h2d.cli.output import print_json
from h2d.cli.wording import counted
from h2d.synth.layouts import LAYOUTS

if TYPE_CHECKING:
    from h2d.cli.progress import JobProgress
    from h2d.supervision.job import Tally
    from h2d.synth.generate import Written


def synth(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help=f"One of: {', '.join(LAYOUTS)}.")],
    out: Annotated[Path | None, typer.Option(help="A new or empty folder. Default: data/LAYOUT.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="Pictures.")] = 40,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Long side of the pictures, in pixels.")] = 512,
    flavour: Annotated[
        str | None, typer.Option(help="Version of the dataset; hagrid: v2-1M (default), 2.0, v1.")
    ] = None,
    hard: Annotated[
        bool, typer.Option("--hard", help="Plant the dataset's known defects, and list them in planted.json.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes. Default: one per core.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete what an earlier run drew in --out, and start over.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Draw people and hands with exact labels, in the files of a dataset.

    Goes on where a stopped run of the same settings was; a finished set is left as it is.
    """
    from h2d.cli.progress import JobProgress
    from h2d.synth.generate import generate

    progress = JobProgress(quiet=as_json)
    with progress.watching():
        written = generate(
            layout,
            out or Path("data") / layout,
            count=count,
            seed=seed,
            size_px=size,
            flavour=flavour,
            hard=hard,
            workers=workers,
            fresh=fresh,
            watch=_PictureWatch(progress),
        )
    if as_json:
        print_json(asdict(written))
    else:
        _tell(written)
    if written.interrupted:
        sys.exit(130)


class _PictureWatch:
    """Counts drawn pictures on a job's progress line."""

    def __init__(self, progress: "JobProgress") -> None:
        self._progress = progress

    def started(self, count: int, done: int) -> None:
        """Begin the line."""
        self._progress.job_started("draw", count, _drawn(done))

    def drawn(self) -> None:
        """Count one."""
        self._progress.pictures_worked(_drawn(1))

    def ended(self) -> None:
        """End the line."""
        self._progress.job_ended("draw")

    def should_stop(self) -> bool:
        """After the first Ctrl-C."""
        return self._progress.should_stop()


def _drawn(num_pictures: int) -> "Tally":
    from h2d.supervision.job import Tally

    return Tally(statuses=Counter({"ok": num_pictures} if num_pictures else {}))


def _tell(written: "Written") -> None:
    from h2d.pipelines.sources import SOURCES

    out = written.out
    if written.interrupted:
        console.print(f"Stopped. What is drawn is in {out}; the same command goes on from there.", soft_wrap=True)
        return
    if not written.num_drawn:
        console.print(f"Nothing to do: {out} is complete and nothing has changed.", soft_wrap=True)
    is_manifest = written.layout == "manifest"
    form = "as a manifest," if is_manifest else f"in the layout of {written.layout}"
    about = f"{counted(written.num_pictures, 'picture')} {form} {written.flavour}: {out}"
    console.print(about, soft_wrap=True, highlight=False)
    if written.num_planted:
        planted = counted(written.num_planted, "defect")
        console.print(f"Planted:     {planted}, named in {out / 'planted.json'}", soft_wrap=True)
    for kind in written.not_planted:
        console.print(f"  not planted: {kind}, which suits none of the pictures: ask for more", soft_wrap=True)
    if written.layout in SOURCES:
        command = f"h2d prepare {written.layout} --root {out} --out {Path('manifests') / out.name}"
        console.print(f"Next:        {command}", soft_wrap=True)
    elif is_manifest:
        console.print(f"Next:        h2d manifest validate {out}", soft_wrap=True)
