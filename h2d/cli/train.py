"""`h2d train STAGE`: from manifests to checkpoints."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import console
from h2d.cli.output import print_json
from h2d.cli.start import uncollected
from h2d.cli.wording import counted
from h2d.train import STAGES

if TYPE_CHECKING:
    from h2d.train.config import TrainConfig
    from h2d.train.loop import Outcome
    from h2d.train.plan import Plan


def train(
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help=f"One of: {', '.join(STAGES)}; the paper's are hand and outpaint.")
    ],
    config: Annotated[Path | None, typer.Option(help="YAML file of options; the command line goes before it.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any option by its place: --set optimizer.learning_rate=2e-5")
    ] = None,
    manifest: Annotated[list[Path] | None, typer.Option(help="A manifest's folder; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/STAGE.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the optimizer. Default: 30000 and 6000.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of Ray Train. Default: this process alone.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster that sees the same files.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Delete an earlier run in --out, or go on.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything; train nothing, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train the hand generator or the body outpainter.

    Goes on from the last checkpoint in --out. Several processes: accelerate launch --multi_gpu --num_processes N -m h2d
    train STAGE ..., without a GPU too (--device cpu).
    """
    from h2d.manifests.store import Manifest

    flags = {
        "data.manifests": [str(path) for path in manifest] if manifest else None,
        "out": out,
        "steps": steps,
        "device": device,
    }
    for root in manifest or ():
        Manifest(root)  # raises where there is none, before torch is imported
    with uncollected():
        choices = _choices(stage, flags, config, overrides or [])
        from h2d.train.loop import train as run
        from h2d.train.plan import plan
        from h2d.train.setting_up import rehearse
    if dry_run:
        num_processes = workers or 1 if workers or address else None
        planned = plan(choices, fresh=fresh, num_processes=num_processes or 1)
        _tell_plan(choices, planned, rehearse(choices, planned.stage, num_processes=num_processes), as_json=as_json)
        return
    from h2d.cli.train_progress import TrainProgress

    with TrainProgress(quiet=as_json) as progress:
        if workers or address:
            from h2d.train.on_ray import train_on_ray

            outcome = train_on_ray(choices, progress, workers=workers or 1, address=address, fresh=fresh)
        else:
            outcome = run(choices, progress, fresh=fresh)
    if as_json:
        print_json({"out": outcome.out, "step": outcome.step, "model": outcome.model})
    else:
        _tell(outcome)
    if outcome.interrupted:
        sys.exit(130)


def _choices(stage: str, flags: dict[str, Any], file: Path | None, overrides: list[str]) -> "TrainConfig":
    from h2d.config import load_config, read_yaml
    from h2d.errors import UserError
    from h2d.registry import resolve
    from h2d.train.config import TrainConfig

    given = read_yaml(file) if file else {}
    preset = resolve(STAGES, stage, kind="stage").preset
    if given.get("stage", stage) != stage:
        raise UserError(f"{file}: stage = {given['stage']!r}: it is no configuration of {stage!r}")
    defaults = {
        "data.manifests": [preset.manifest],
        "steps": preset.steps,
        "out": f"runs/{stage}",
        "size_px": preset.size_px,
    }
    for place, value in defaults.items():
        section, _, key = place.rpartition(".")
        inside = given.get(section) or {} if section else given
        named = any(override.split("=")[0].strip() == place for override in overrides)
        if flags.get(place) is None and key not in inside and not named:
            flags[place] = value
            if place == "data.manifests" and not Path(preset.manifest).exists():
                raise UserError(f"{preset.manifest}: no such manifest: make it ({preset.made_by}), or give --manifest")
    return load_config(TrainConfig, {**flags, "stage": stage}, file=file, overrides=overrides)


def _tell_plan(config: "TrainConfig", planned: "Plan", gpu_bytes: float, *, as_json: bool) -> None:
    from h2d.machine import as_bytes

    division = planned.division
    facts = {
        "stage": config.stage,
        "training_rows": len(division.training),
        "validation_rows": len(division.validation or ()),
        "first_step": planned.first_step,
        "steps": config.steps,
        "epochs": round(config.steps * config.global_batch / len(division.training), 2),
        "gpu_gib": round(gpu_bytes / 2**30, 3),
        "out": config.out,
        "dry_run": True,
    }
    if as_json:
        print_json(facts)
        return
    console.print(
        f"{counted(len(division.training), 'row')} to learn from, {facts['validation_rows']} held out"
        f" ({division.held_out_by})",
        soft_wrap=True,
    )
    about = f"Steps {planned.first_step} to {config.steps} of {config.global_batch} samples: {facts['epochs']} epochs"
    console.print(f"{about}, into {config.out}. Nothing was written.", soft_wrap=True)
    console.print(f"The networks load; a GPU needs about {as_bytes(gpu_bytes)} for them.", soft_wrap=True)


def _tell(outcome: "Outcome") -> None:
    if outcome.interrupted:
        console.print(
            f"Stopped at step {outcome.step}, saved in {outcome.out}; the same command goes on from there.",
            soft_wrap=True,
        )
        return
    if outcome.did_nothing:
        console.print(f"Nothing to do: {outcome.out} has its {counted(outcome.step, 'step')}.", soft_wrap=True)
    console.print(f"Model:       {outcome.model}", soft_wrap=True)
    console.print(f"Look at it:  {outcome.out / 'report.html'}", soft_wrap=True)
