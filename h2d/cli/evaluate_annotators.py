"""`h2d evaluate annotators`: keypoints, sides and masks against known truth."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.evaluate_options import AddressOption, Json, Workers
from h2d.cli.folders import read_location
from h2d.cli.output import print_json, say
from h2d.errors import UserError

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
    from h2d.manifests.store import Manifest

    chosen = choose_annotators(detector, segmenter)
    with EvaluateProgress(quiet=json) as watch:
        place = manifest or _drawn_manifest(out / "drawn", count, seed, size, workers, watch)
        hands = (
            None
            if place is None
            else judge(Manifest(place), out, chosen, watch, split=split, count=count, workers=workers, address=address)
        )
    if hands is None:
        say(f"Stopped. What is done is in {out}; the same command goes on from there.")
        sys.exit(130)
    from h2d.eval.annotators_report import lost_pictures, table_rows, write_report

    frame = hands.to_pandas()
    if not len(frame):
        raise UserError(f"{place}: no hand in its first {count} pictures: give a manifest of people who show hands")
    facts = {
        "manifest": str(place), "pictures": int(frame["number"].nunique()), **chosen.names,
        "lost": lost_pictures(frame),
    }  # fmt: skip
    rows = table_rows(frame, chosen.names, resamples=resamples)
    write_report(out, frame, rows, facts)
    if json:
        from h2d.config import as_plain
        from h2d.eval.measured import Measured

        plain = [{key: as_plain(one) if isinstance(one, Measured) else one for key, one in row.items()} for row in rows]
        print_json({**facts, "rows": plain})
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
