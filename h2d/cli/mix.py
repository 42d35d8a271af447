"""`h2d prepare mix`: a training set out of manifests."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import console, errors
from h2d.cli.output import print_json

if TYPE_CHECKING:
    from h2d.pipelines.mix import Mixed


def mix(
    config: Annotated[
        Path | None, typer.Option(help="YAML file: parts, counts or shares. Default: the paper's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The mix's folder. Default: manifests/mix_hand.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same pictures. Default: 0.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any option by its place: --set with_masks=false")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace another mix in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be drawn; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Mix a training set out of manifests: one crop per picture, gestures kept, nobody in two splits."""
    from h2d.config import load_config
    from h2d.pipelines.mix import mix as run
    from h2d.pipelines.mix import survey
    from h2d.pipelines.mix_draw import MixConfig

    choices = load_config(MixConfig, {"out": out, "seed": seed}, file=config, overrides=overrides or ())
    if dry_run:
        parts = survey(choices)
        if as_json:
            print_json({"parts": parts, "dry_run": True})
        else:
            _tell_parts(parts)
            console.print("Nothing was written.")
        return
    done = run(choices, fresh=fresh, tell=lambda line: None if as_json else errors.print(line, highlight=False))
    if as_json:
        print_json(asdict(done))
    else:
        _tell(done)


def _tell(done: "Mixed") -> None:
    if done.did_nothing:
        console.print(f"Nothing to do: {done.out} is complete and nothing has changed.", soft_wrap=True)
    _tell_parts(done.parts)
    console.print(f"{done.counts['hands']:,} crops, one per picture: {done.out}", soft_wrap=True, highlight=False)
    console.print(f"Look at it:  {done.out / 'mix.html'}", soft_wrap=True)
    console.print(f"Next:        h2d manifest validate {done.out}", soft_wrap=True)


def _tell_parts(parts: list[dict[str, Any]]) -> None:
    for part in parts:
        left_out = "".join(f"; left out {count:,} {why}" for why, count in part["left_out"].items())
        about = f"  {part['count']:,} of {part['candidates']:,} {part['source']} {part['split']}{left_out}"
        console.print(about, soft_wrap=True, highlight=False)
