"""`h2d evaluate`: methods compared on a fixed list of poses and prompts, as the paper does."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from h2d.cli import evaluate_annotators
from h2d.cli.evaluate_options import (
    AddressOption,
    Base,
    Baseline,
    Batch,
    Config,
    Device,
    Features,
    Fresh,
    Hand,
    HandControlNet,
    Json,
    ListFile,
    ManifestOption,
    Out,
    Outpaint,
    Overrides,
    Pipeline,
    Resamples,
    Sample,
    Segmenter,
    Steps,
    Workers,
    choices_of,
    method_options,
    placing_of,
    refuse_sampling,
    with_options_of,
)
from h2d.cli.folders import read_location
from h2d.cli.output import print_json, say
from h2d.errors import UserError

if TYPE_CHECKING:
    from h2d.cli.evaluate_progress import EvaluateProgress
    from h2d.eval.given import Match
    from h2d.eval.results import Results

app = typer.Typer(
    no_args_is_help=True, help="Compare methods on one list of poses and prompts: pose accuracy, quality, reports."
)


@app.command()
def protocol(
    manifest: Annotated[
        Any, typer.Option(metavar="DIR", parser=read_location, help="A manifest's folder: manifests/hagrid.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the list.")] = Path("list.jsonl"),
    split: Annotated[str, typer.Option(help="Of the manifest.")] = "test",
    count: Annotated[
        int, typer.Option("-n", "--count", help="Pictures; the paper's 12,000, its ablation 500.")
    ] = 12_000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same list.")] = 0,
    size: Annotated[int, typer.Option(min=64, max=4096, help="Side of the square pictures, in pixels.")] = 512,
    json: Json = False,
) -> None:
    """Write the fixed list of poses and prompts on which methods are compared; gestures keep their distribution."""
    from h2d.eval.protocol import draw_list
    from h2d.manifests.files import refuse_unwritable
    from h2d.manifests.store import Manifest

    if out.is_dir():
        raise UserError(f"--out {out}: it is a folder: give a file's name, as {out / 'list.jsonl'}")
    refuse_unwritable(out.parent)
    drawn = draw_list(Manifest(manifest), split=split, count=count, seed=seed, size=size)
    drawn.write(out)
    if json:
        print_json({"list": out, "sha256": drawn.sha256, "count": len(drawn), **drawn.facts})
        return
    gestures = len(drawn.facts["gestures"])
    say(
        f"{len(drawn):,} of {drawn.facts['usable']:,} usable pictures, {gestures} gestures: {out} ({drawn.sha256[:12]})"
    )
    for what, number in drawn.facts["left_out"].items():
        if number:
            say(f"  left out: {number:,} without {what}")
    say(f"Next:        h2d evaluate run --method two-stage --list {out}")


@app.command()
def run(
    list_file: ListFile,
    method: Annotated[
        str,
        typer.Option(
            help="With commas: two-stage, two-stage-naive, two-stage-bbox, controlnet, stable-diffusion, t2i-adapter,"
            " humansd, handrefiner."
        ),
    ] = "two-stage",
    out: Out = Path("runs/eval"),
    hand: Hand = None,
    hand_controlnet: HandControlNet = None,
    outpaint: Outpaint = None,
    pipeline: Pipeline = None,
    base: Base = None,
    steps: Steps = None,
    batch: Batch = 4,
    sample: Sample = None,
    baseline: Baseline = None,
    device: Device = "auto",
    segmenter: Segmenter = None,
    features: Features = None,
    resamples: Resamples = None,
    config: Config = None,
    overrides: Overrides = None,
    workers: Workers = 1,
    address: AddressOption = None,
    manifest: ManifestOption = None,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Make the pictures of methods, read their poses back, measure, and write the report.

    Goes on where it was stopped. Methods that the run's folder holds already stay in the table.
    """
    from h2d.eval.picture_list import read_list
    from h2d.eval.run import evaluate_methods
    from h2d.infer.baselines import OURS
    from h2d.infer.choosing import default_models

    names = [name.strip() for name in method.split(",") if name.strip()]
    if not names:
        raise UserError("--method is empty: name one or more, with commas")
    options = method_options(hand, hand_controlnet, outpaint, pipeline, base, device, batch, steps, sample, baseline)
    refuse_sampling(overrides)
    look_device = "auto" if address and device == "cuda" else device  # looks that need a GPU stay on this machine
    choices = choices_of(config, overrides, segmenter, features, resamples, look_device)
    placing = placing_of(workers, address, manifest)
    pictures = read_list(list_file)
    if not (json or hand or hand_controlnet or outpaint or pipeline) and any(name.startswith(OURS) for name in names):
        say(default_models().about)
    _carry_out(
        lambda watch: evaluate_methods(names, pictures, out, options, choices, watch, placing, fresh=fresh), out, json
    )


@app.command()
@with_options_of(run, without=("method", "baseline"), out=Path("runs/ablation"))
def ablation(**options: Any) -> None:
    """The paper's Table II: bounding box, naive and expanding blending on the same poses, prompts and seeds."""
    from h2d.eval.methods import ABLATION

    run(method=",".join(ABLATION), **options)


@app.command()
def folder(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Pictures that any other program made for the list.")],
    list_file: ListFile,
    out: Out = Path("runs/eval"),
    name: Annotated[
        str | None, typer.Option(help="The method's, in the table. Default: the folder's.", show_default=False)
    ] = None,
    match: Annotated[str, typer.Option(help="Files to rows: id, order, or auto.")] = "auto",
    segmenter: Segmenter = None,
    features: Features = None,
    resamples: Resamples = None,
    device: Device = "auto",
    config: Config = None,
    overrides: Overrides = None,
    workers: Workers = 1,
    address: AddressOption = None,
    manifest: ManifestOption = None,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Measure pictures that another program made, in the same table.

    A file belongs to the row whose id, last part of the id or number (00017) it is named by; or all go by order.
    """
    from h2d.eval.picture_list import read_list
    from h2d.eval.run import evaluate_folder

    if match not in ("auto", "id", "order"):
        raise UserError(f"--match {match!r}: choose one of auto, id, order")
    choices = choices_of(config, overrides, segmenter, features, resamples, device)
    placing = placing_of(workers, address, manifest)
    pictures = read_list(list_file)
    _carry_out(
        lambda watch: evaluate_folder(
            source, pictures, out, choices, watch, placing, name=name, match=cast("Match", match), fresh=fresh
        ),
        out,
        json,
    )


@app.command()
def report(
    out: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    segmenter: Segmenter = None,
    features: Features = None,
    resamples: Resamples = None,
    device: Device = "auto",
    config: Config = None,
    overrides: Overrides = None,
    workers: Workers = 1,
    address: AddressOption = None,
    json: Json = False,
) -> None:
    """Measure what a run's folder holds and write its report again; what was looked at is not looked at again."""
    from h2d.eval.run import list_of, measure_and_report

    choices = choices_of(config, overrides, segmenter, features, resamples, device)
    placing = placing_of(workers, address, None)
    pictures = list_of(out)
    _carry_out(lambda watch: measure_and_report(pictures, out, choices, watch, placing), out, json)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run's folder, or its results.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    every: Annotated[bool, typer.Option("--all", help="Every measure, not the report's first tables' alone.")] = False,
    json: Json = False,
) -> None:
    """Compare two reports measure by measure; refuse where lists or conventions differ."""
    from h2d.eval.compare import as_plain_rows
    from h2d.eval.compare import compare as compared

    rows = compared(first, second)
    if json:
        print_json({"first": first, "second": second, "measures": as_plain_rows(rows)})
        return
    from h2d.cli.evaluate_tables import print_comparison

    main = [row for row in rows if row.first.column]
    print_comparison(rows if every or not main else main)
    if not every and 0 < len(main) < len(rows):
        say(f"{len(rows) - len(main)} more: --all")


@app.command()
def figures(
    out: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    target: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Default: RUN/figures.", show_default=False)
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Rows of the list, from 0. Default: the first four.", show_default=False),
    ] = None,
    segmenter: Segmenter = None,
    features: Features = None,
    device: Device = "auto",
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Draw what is behind the figures: Inception's channels on a hand, foregrounds, blends and methods side by side."""
    from h2d.cli.evaluate_progress import EvaluateProgress
    from h2d.eval.figures import write_figures
    from h2d.eval.run import list_of, methods_of, unfinished_of
    from h2d.manifests.files import refuse_unwritable

    choices = choices_of(config, overrides, segmenter, features, None, device)
    listed = list_of(out)
    numbers = _numbers(pictures)
    place = target or out / "figures"
    refuse_unwritable(place)
    with EvaluateProgress() as watch:
        written = write_figures(out, listed, methods_of(out, listed), place, choices.look, watch, numbers=numbers)
    if written is None:
        say("Stopped; the same command goes on.")
        sys.exit(130)
    for left_out, why in unfinished_of(out, listed).items():
        say(f"Left out: {left_out}: {why}")
    for figure in written:
        said = f"wrote {figure.path}" if figure.path else f"no {figure.name.replace('_', ' ')}: {figure.reason}"
        say(said + (f" ({figure.reason})" if figure.path and figure.reason else ""))


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--pictures {text!r}: give numbers with commas: 0,5,7") from None


def _carry_out(work: "Callable[[EvaluateProgress], Results | None]", out: Path, as_json: bool) -> None:
    from h2d.cli.evaluate_progress import EvaluateProgress

    with EvaluateProgress(quiet=as_json) as watch:
        results = work(watch)
    if results is None:
        say(f"Stopped. What is done is in {out}; the same command goes on from there.")
        sys.exit(130)
    if as_json:
        from h2d.config import as_plain

        print_json(as_plain(results))
        return
    from h2d.cli.evaluate_tables import tell

    tell(results, out)


app.command(name="annotators")(evaluate_annotators.annotators)
