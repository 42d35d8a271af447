"""`h2d evaluate annotators`: keypoints, sides and masks against known truth."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.evaluate_options import AddressOption, Json, Workers
from h2d.cli.folders import read_location
from h2d.cli.output import print_json, say

if TYPE_CHECKING:
    from h2d.cli.evaluate_progress import EvaluateProgress


def annotators(
    manifest: Annotated[
        Any,
        typer.Option(
            metavar="DIR",
            parser=read_location,
            show_default=False,
            help="A manifest whose truth is known. Default: one is drawn, as by h2d synth manifest.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results go, and the drawn manifest.")] = Path(
        "runs/annotators"
    ),
    split: Annotated[str | None, typer.Option(help="Default: all splits.", show_default=False)] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Pictures.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
    size: Annotated[int, typer.Option(min=64, help="Of drawn pictures, pixels.")] = 512,
    detector: Annotated[str, typer.Option(help="Of keypoints.")] = "holistic",
    segmenter: Annotated[str, typer.Option(help="Of hands: grabcut, sam, none.")] = "grabcut",
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0: no intervals.")] = 1000,
    workers: Workers = 1,
    address: AddressOption = None,
    json: Json = False,
) -> None:
    """Judge keypoints, sides and masks of our annotators where the truth is known, by gesture and size."""
    from h2d.cli.evaluate_progress import EvaluateProgress
    from h2d.eval.annotators import choose_annotators, judge
    from h2d.eval.annotators_report import as_plain_rows, report_on
    from h2d.eval.intervals import check_resampling
    from h2d.manifests.files import refuse_unwritable
    from h2d.manifests.store import Manifest

    chosen = choose_annotators(detector, segmenter)
    if resamples:
        check_resampling(resamples)
    refuse_unwritable(out)
    hands = None
    with EvaluateProgress(quiet=json) as watch:
        place = manifest or _drawn_manifest(out / "drawn", count, seed, size, workers, watch)
        if place is not None:
            hands = judge(
                Manifest(place), out, chosen, watch, split=split, count=count, workers=workers, address=address
            )
    if hands is None:
        say(f"Stopped. What is done is in {out}; the same command goes on from there.")
        sys.exit(130)
    rows, facts = report_on(hands, out, chosen.names, manifest=str(place), resamples=resamples)
    if json:
        print_json({**facts, "rows": as_plain_rows(rows)})
        return
    from h2d.cli.evaluate_tables import print_annotators

    print_annotators(rows, facts, out)


def _drawn_manifest(
    out: Path, count: int, seed: int, size: int, workers: int, watch: "EvaluateProgress"
) -> Path | None:
    from h2d.synth.generate import generate

    class Drawing:
        """The drawing's watch, on the evaluation's progress line."""

        def started(self, count: int, done: int) -> None:
            watch.started("draw", count, done)

        def drawn(self) -> None:
            watch.worked(1)

        def ended(self) -> None:
            watch.ended("draw")

        def should_stop(self) -> bool:
            return watch.should_stop()

    drawn = generate("manifest", out, count=count, seed=seed, size_px=size, workers=workers, watch=Drawing())
    return None if drawn.interrupted else out
