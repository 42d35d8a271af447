"""`h2d status DIR`: how far a preparation, a training or an evaluation is."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import console
from h2d.cli.folders import read_location
from h2d.cli.output import print_json, say
from h2d.cli.wording import counted, duration
from h2d.errors import UserError

if TYPE_CHECKING:
    from h2d.eval.progress import EvaluationProgress
    from h2d.train.run_log import RunStatus


def status(
    folder: Annotated[
        Any,
        typer.Argument(
            metavar="DIR",
            parser=read_location,
            help="A manifest's folder or address, or a run of h2d train or h2d evaluate.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show how far a preparation, a training or an evaluation is; works while it runs."""
    from rich.table import Table

    from h2d.eval.progress import is_evaluation, read_progress
    from h2d.pipelines.status import read_status
    from h2d.train.run_log import is_run, read_run

    if isinstance(folder, Path) and is_run(folder):
        _tell(folder, read_run(folder), _say_run, as_json=as_json)
        return
    if isinstance(folder, Path) and is_evaluation(folder):
        _tell(folder, read_progress(folder), _say_evaluation, as_json=as_json)
        return
    if not (folder / "work").exists():
        if (folder / "manifest.json").exists():
            raise UserError(f"{folder}: a manifest without its work folder: what is in it: h2d manifest stats {folder}")
        raise UserError(
            f"{folder}: h2d prepare, h2d train and h2d evaluate have not worked here: give the folder of --out"
        )
    state = read_status(folder)
    plan = state.plan
    if as_json:
        print_json(
            {
                "source": plan.source,
                "num_pictures": plan.num_pictures,
                "num_shards": len(plan.shards),
                "complete": state.counts is not None,
                "counts": state.counts,
                "running": state.running,
                "stages": {
                    stage.name: {
                        "shards_done": stage.num_shards_done,
                        "pictures": stage.tally.statuses,
                        "reasons": stage.tally.reasons,
                    }
                    for stage in state.stages
                },
            }
        )
        return
    say(f"{plan.description}: {counted(plan.num_pictures, 'picture')}, {counted(len(plan.shards), 'shard')}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("stage", "shards", "pictures", "ok", "skipped", "error", "crash", "not reached"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in state.stages:
        counts = stage.tally.statuses
        table.add_row(
            stage.name,
            f"{stage.num_shards_done}/{len(plan.shards)}",
            str(sum(counts.values())),
            str(counts["ok"]),
            str(counts["skipped"]),
            str(counts["error"]),
            str(counts["crash"] + counts["timeout"]),
            str(counts["blocked"]),
        )
    console.print(table)
    for stage in state.stages:
        if stage.tally.reasons:
            told = ", ".join(f"{reason} {count}" for reason, count in stage.tally.reasons.most_common(5))
            say(f"Reasons of {stage.name}: {told}")
    if state.running is not None:
        _say_running(state.running)
    if state.counts is None:
        console.print("Not complete: run the same h2d prepare command to go on.")
    else:
        console.print("Complete: " + ", ".join(f"{count} {name}" for name, count in state.counts.items()))


def _tell(out: Path, found: Any, say_it: Callable[[Path, Any], None], *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
    else:
        say_it(out, found)


def _say_run(out: Path, run: "RunStatus") -> None:
    """A training, in three to five lines."""
    state = f"{out}: training {run.stage}, step {run.step} of {run.steps}"
    if run.running and run.samples_per_s is not None:
        left = f", {duration(run.seconds_left)} left at that rate" if run.seconds_left else ""
        state += f", {run.samples_per_s:,.1f} samples/s{left}"
    if run.seconds_ago is not None:
        state += f" (last step {duration(run.seconds_ago)} ago)"
    say(state)
    if run.loss is not None:
        say(f"loss        {run.loss:.4g}, mean of the last steps")
    if run.validation is not None:
        say(f"validation  {run.validation[1]:.4g} after step {run.validation[0]}")
    say(f"checkpoint  {run.checkpoint or 'none yet'}")
    if run.running:
        say(f"Running: {run.running}.")
    elif run.step < run.steps:
        say("Stopped, as far as this machine sees: the same h2d train command goes on from the checkpoint.")
    else:
        say("Complete.")


def _say_evaluation(out: Path, evaluation: "EvaluationProgress") -> None:
    """A line for each method."""
    total, folders = evaluation.num_pictures, evaluation.folders
    say(f"{out}: evaluation on {counted(total, 'picture')}")
    width = max((len(folder.title) for folder in folders), default=0)
    for folder in folders:
        state = f"{folder.num_made} of {total}"
        if folder.is_measured:
            state += ", measured"
        elif folder.num_made < total and folder.seconds_per_picture and folder.seconds_ago is not None:
            left = duration(folder.seconds_per_picture * (total - folder.num_made))
            state += (
                f", {folder.seconds_per_picture:.3g} s a picture, {left} left at that rate"
                f" (last picture {duration(folder.seconds_ago)} ago)"
            )
        say(f"{folder.title:{width}}  {state}")
    if not all(folder.is_measured for folder in folders) or len(folders) < 2:
        say("Not complete: where it was stopped, the same h2d evaluate command goes on.")
    else:
        say("Complete.")


def _say_running(state: Mapping[str, Any]) -> None:
    """What the driver last wrote of the stage in hand, which the parts above do not show yet."""
    import time

    rates, left = state["pictures_per_second"], state["seconds_left"]
    console.print(
        f"{state['stage']}: {state['done']} of {state['total']}, {rates['last_minute']:g}/s in the last minute, "
        f"{rates['overall']:g}/s overall{'' if left is None else f', {duration(left)} left'}  "
        f"(host {state['host']}, process {state['pid']}, {duration(max(0.0, time.time() - state['written']))} ago)",
        highlight=False,
        soft_wrap=True,
    )
