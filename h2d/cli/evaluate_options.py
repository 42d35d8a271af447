"""The options that the commands of `h2d evaluate` share, and what they become."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.folders import read_location

if TYPE_CHECKING:
    from h2d.eval.methods import MethodOptions
    from h2d.eval.options import MeasureConfig
    from h2d.eval.run import Placing

ListFile = Annotated[Path, typer.Option("--list", metavar="FILE", help="Of h2d evaluate protocol.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="The run's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete the named methods' pictures and make them again.")]
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
    int | None,
    typer.Option(min=0, help="Of the bootstrap, at least 2; 0: no intervals. Default: 1000.", show_default=False),
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
HandControlNet = Annotated[
    Path | None, typer.Option(help="Or a public ControlNet of hand landmarks.", show_default=False)
]
Outpaint = Annotated[
    str | None,
    typer.Option(help="The same of outpaint, or an OpenPose ControlNet.", show_default=False),
]
Pipeline = Annotated[Path | None, typer.Option(help="Or a saved pipeline's folder.", show_default=False)]
Base = Annotated[
    str | None, typer.Option(help="What stage 2 stands on. Default: what training says.", show_default=False)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda.")]
Batch = Annotated[int, typer.Option(min=1, help="Pictures made at once.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Of either stage. Default: 50 of ddim.", show_default=False)]
Baseline = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline", metavar="KEY=VALUE", help="Any option of the other methods: see docs/baselines.md",
        show_default=False,
    ),
]  # fmt: skip
Sample = Annotated[
    list[str] | None,
    typer.Option(
        "--sample", metavar="KEY=VALUE", help="Any option of sampling: --sample guidance_scale=5", show_default=False
    ),
]


def with_options_of(
    command: Callable[..., None], *, without: Sequence[str] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes `**options` those of another, but for some, and with other defaults where named."""
    signature = inspect.signature(command)
    shared = [
        option.replace(default=defaults.get(name, option.default))
        for name, option in signature.parameters.items()
        if name not in without
    ]

    def given(taking: Callable[..., None]) -> Callable[..., None]:
        taking.__signature__ = signature.replace(parameters=shared)  # type: ignore[attr-defined]
        return taking

    return given


def method_options(
    hand: Path | None,
    hand_controlnet: Path | None,
    outpaint: str | None,
    pipeline: Path | None,
    base: str | None,
    device: str,
    batch: int,
    steps: int | None,
    sample: list[str] | None,
    baseline: list[str] | None,
) -> "MethodOptions":
    """Of the command line's flags."""
    from h2d.config import load_config
    from h2d.eval.methods import MethodOptions

    flags = {
        "hand": hand, "hand_controlnet": hand_controlnet, "outpaint": outpaint, "pipeline": pipeline, "base": base,
        "device": device, "batch_size": batch, "sample.num_inference_steps": steps,
    }  # fmt: skip
    overrides = [*(f"sample.{one}" for one in sample or []), *(f"baseline.{one}" for one in baseline or [])]
    return load_config(MethodOptions, flags, overrides=overrides)


def refuse_sampling(overrides: list[str] | None) -> None:
    """Raise `UserError` where `--set`, which is about measuring, is given an option of sampling."""
    from h2d.errors import UserError
    from h2d.infer.options import SampleOptions

    for one in overrides or []:
        if one.partition("=")[0].partition(".")[0].strip() in SampleOptions.__dataclass_fields__:
            raise UserError(f"--set {one}: it is an option of sampling: give --sample {one}")


def choices_of(
    config: Path | None,
    overrides: list[str] | None,
    segmenter: str | None,
    features: str | None,
    resamples: int | None,
    device: str,
) -> "MeasureConfig":
    """Of a file, then --set, then flags."""
    from h2d.config import load_config
    from h2d.eval.options import MeasureConfig

    flags = {
        "look.segmenter": segmenter, "look.features": features, "resamples": resamples,
        "look.device": None if device == "auto" else device,
    }  # fmt: skip
    return load_config(MeasureConfig, flags, file=config, overrides=overrides or [])


def placing_of(workers: int, address: str | None, manifest: Any) -> "Placing":
    """Where the work is done."""
    from h2d.eval.run import Placing

    return Placing(workers=workers, address=address, manifest=manifest)
