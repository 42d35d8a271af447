"""`h2d evaluate`: methods compared on a fixed list of poses and prompts, as the paper does."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from h2d.cli.folders import read_location
from h2d.cli.output import print_json, say
from h2d.errors import UserError

if TYPE_CHECKING:
    from h2d.cli.evaluate_progress import EvaluateProgress
    from h2d.eval.given import Match
    from h2d.eval.methods import MethodOptions
    from h2d.eval.options import MeasureConfig
    from h2d.eval.results import Results
    from h2d.eval.run import Placing

app = typer.Typer(
    no_args_is_help=True, help="Compare methods on one list of poses and prompts: pose accuracy, quality, reports."
)

ListFile = Annotated[Path, typer.Option("--list", metavar="FILE", help="Of h2d evaluate protocol.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="The run's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Make the named methods' pictures again.")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="YAML of options on measuring.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any option on measuring: --set look.width=2048", show_default=False
    ),
]
Segmenter = Annotated[
    str | None,
    typer.Option(
        help="sam, selfie, grabcut, none. Default: sam if its weights are there, else selfie.", show_default=False
    ),
]
Features = Annotated[
    str | None,
    typer.Option(help="inception, random, none. Default: inception if its weights are there.", show_default=False),
]
Resamples = Annotated[
    int | None, typer.Option(min=0, help="Of the bootstrap; 0: no intervals. Default: 1000.", show_default=False)
]
Workers = Annotated[int, typer.Option(min=1, help="Processes, by Ray where more than one.")]
AddressOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A running Ray cluster that sees the same files.", show_default=False),
]
ManifestOption = Annotated[
    Any,
    typer.Option(
        "--manifest", metavar="DIR", parser=read_location, help="Where the list's manifest lies now, if it was moved.",
        show_default=False,
    ),
]  # fmt: skip
Hand = Annotated[Path | None, typer.Option(help="Run or checkpoint of h2d train hand.", show_default=False)]
Outpaint = Annotated[Path | None, typer.Option(help="The same of outpaint.", show_default=False)]
Pipeline = Annotated[Path | None, typer.Option(help="Or a saved pipeline's folder.", show_default=False)]
Base = Annotated[
    str | None, typer.Option(help="What stage 2 stands on. Default: what training says.", show_default=False)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda.")]
Batch = Annotated[int, typer.Option(min=1, help="Pictures made at once.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Of either stage. Default: 50 of ddim.", show_default=False)]
Sample = Annotated[
    list[str] | None,
    typer.Option(
        "--sample", metavar="KEY=VALUE", help="Any option of sampling: --sample guidance_scale=5", show_default=False
    ),
]


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
    size: Annotated[int, typer.Option(min=64, help="Side of the square pictures, in pixels.")] = 512,
    json: Json = False,
) -> None:
    """Write the fixed list of poses and prompts on which methods are compared; gestures keep their distribution."""
    from h2d.eval.protocol import draw_list
    from h2d.manifests.store import Manifest

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
    method: Annotated[str, typer.Option(help="Names, with commas: two-stage,two-stage-naive")] = "two-stage",
    out: Out = Path("runs/eval"),
    hand: Hand = None,
    outpaint: Outpaint = None,
    pipeline: Pipeline = None,
    base: Base = None,
    steps: Steps = None,
    batch: Batch = 4,
    sample: Sample = None,
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

    names = [name.strip() for name in method.split(",") if name.strip()]
    if not names:
        raise UserError("--method is empty: name one or more, with commas")
    options = _method_options(hand, outpaint, pipeline, base, device, batch, steps, sample)
    choices = _choices(config, overrides, segmenter, features, resamples, device)
    placing = _placing(workers, address, manifest)
    pictures = read_list(list_file)
    _carry_out(
        lambda watch: evaluate_methods(names, pictures, out, options, choices, watch, placing, fresh=fresh), out, json
    )


@app.command()
def ablation(
    list_file: ListFile,
    out: Out = Path("runs/ablation"),
    hand: Hand = None,
    outpaint: Outpaint = None,
    pipeline: Pipeline = None,
    base: Base = None,
    steps: Steps = None,
    batch: Batch = 4,
    sample: Sample = None,
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
    """The paper's Table II: bounding box, naive and expanding blending on the same poses, prompts and seeds."""
    from h2d.eval.methods import ABLATION

    run(
        list_file, ",".join(ABLATION), out, hand, outpaint, pipeline, base, steps, batch, sample, device, segmenter,
        features, resamples, config, overrides, workers, address, manifest, fresh, json,
    )  # fmt: skip


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
    choices = _choices(config, overrides, segmenter, features, resamples, device)
    placing = _placing(workers, address, manifest)
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

    choices = _choices(config, overrides, segmenter, features, resamples, device)
    placing = _placing(workers, address, None)
    pictures = list_of(out)
    _carry_out(lambda watch: measure_and_report(pictures, out, choices, watch, placing), out, json)


def _method_options(
    hand: Path | None,
    outpaint: Path | None,
    pipeline: Path | None,
    base: str | None,
    device: str,
    batch: int,
    steps: int | None,
    sample: list[str] | None,
) -> "MethodOptions":
    from h2d.config import load_config
    from h2d.eval.methods import MethodOptions

    flags = {
        "hand": hand, "outpaint": outpaint, "pipeline": pipeline, "base": base, "device": device, "batch_size": batch,
        "sample.num_inference_steps": steps,
    }  # fmt: skip
    return load_config(MethodOptions, flags, overrides=[f"sample.{one}" for one in sample or []])


def _choices(
    config: Path | None,
    overrides: list[str] | None,
    segmenter: str | None,
    features: str | None,
    resamples: int | None,
    device: str,
) -> "MeasureConfig":
    from h2d.config import load_config
    from h2d.eval.options import MeasureConfig

    flags = {
        "look.segmenter": segmenter, "look.features": features, "resamples": resamples,
        "look.device": None if device == "auto" else device,
    }  # fmt: skip
    return load_config(MeasureConfig, flags, file=config, overrides=overrides or [])


def _placing(workers: int, address: str | None, manifest: Any) -> "Placing":
    from h2d.eval.run import Placing

    return Placing(workers=workers, address=address, manifest=manifest)


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
