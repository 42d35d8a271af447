"""`h2d sample`: a pose and a prompt to pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import console, errors
from h2d.cli.output import print_json

if TYPE_CHECKING:
    from h2d.infer.loading import Models
    from h2d.infer.options import SampleOptions
    from h2d.infer.requests import Request
    from h2d.infer.session import Made, MethodSession


_OUT = Path("samples")


def sample(
    pose: Annotated[Path | None, typer.Option(help="OpenPose JSON: see h2d pose.", show_default=False)] = None,
    prompt: Annotated[str | None, typer.Option(help="What the picture shows.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="A folder, or a file ending in .png.")] = _OUT,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Pictures, of seeds counted up.")] = 1,
    grid: Annotated[bool, typer.Option("--grid", help="Also all of them as one picture.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: a random one, which is told.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the picture must not show.", show_default=False)] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of either stage. Default: 50 of ddim, 20 of dpm++ and unipc.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="ddim (default), dpm++, unipc, euler.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How much the prompt is followed. Default: 7.5.")] = None,
    blend: Annotated[str | None, typer.Option(help="expanding (default), naive, bbox.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT. Default: the pose's shape.")] = None,
    save_intermediates: Annotated[
        bool, typer.Option("--save-intermediates", help="Every step as a picture, and one sheet of all.")
    ] = False,
    like: Annotated[
        Path | None, typer.Option(help="A picture of h2d: make it again; other options vary it.", show_default=False)
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help='JSONL, a line a picture: {"prompt": ..., "pose": "file.json"}.', show_default=False),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures at once. Default: 4 on CUDA, else 1.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Another method than ours: docs/baselines.md.", show_default=False)
    ] = None,
    hand: Annotated[Path | None, typer.Option(help="Run or checkpoint of h2d train hand.", show_default=False)] = None,
    outpaint: Annotated[Path | None, typer.Option(help="The same of outpaint.", show_default=False)] = None,
    base: Annotated[
        str | None, typer.Option(help="What stage 2 stands on. Default: what training says.", show_default=False)
    ] = None,
    pipeline: Annotated[Path | None, typer.Option(help="Or a saved pipeline's folder.", show_default=False)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    config: Annotated[Path | None, typer.Option(help="YAML file of options.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any option by name: --set blend_options.unmasked_steps=0")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make pictures of a pose and a prompt: first the hands, then the body around them."""
    flags = {
        "num_inference_steps": steps,
        "scheduler": scheduler,
        "guidance_scale": guidance,
        "blend": blend,
        "negative_prompt": negative,
        **_size(size),
    }
    from h2d.cli.sample_method import method_of, open_method, own_overrides
    from h2d.errors import UserError
    from h2d.infer.baselines import OURS

    chosen = method_of(method, like)
    if save_intermediates and chosen != OURS:
        raise UserError(f"--save-intermediates: {chosen} has no stages to show: leave it out")
    theirs, overrides = overrides or [], own_overrides(chosen, overrides or [], config)
    models = _models(hand, outpaint, base, pipeline, like) if chosen == OURS else None
    request = None if batch else _request(pose, prompt, n, seed, like, flags, config, overrides)
    if models is not None and models.about and not as_json:
        console.print(models.about, soft_wrap=True, highlight=False)

    from h2d.cli.sample_batch import sample_batch
    from h2d.cli.sample_progress import SampleProgress
    from h2d.infer.session import Session

    session: MethodSession = (
        Session(models, device=device, precision=_precision(precision))
        if models is not None
        else open_method(chosen, theirs, like, base, device=device, precision=_precision(precision))
    )
    at_once = batch_size or (4 if session.device.type == "cuda" else 1)
    if request is None:
        assert batch is not None
        folder = out if out != _OUT else out / batch.stem
        options = _options(flags, config, overrides)
        sample_batch(session, batch, folder, options=options, seed=seed or 0, batch_size=at_once, as_json=as_json)
        return
    remarks = _compared(session, like, named=hand or pipeline) if request.only is not None else []
    items = request.items()
    at_once = len(items) if request.only is not None else at_once  # what is made again is made as it was
    with SampleProgress(quiet=as_json) as progress:
        made = [
            one
            for start in range(0, len(items), at_once)
            for one in session.sample(items[start : start + at_once], request.options, on_step=progress.step)
            if request.only in (None, one.record["seed"])
        ]
    paths = _write(made, out, grid=grid, intermediates=save_intermediates)
    if as_json:
        print_json({"pictures": [{"path": path, "seed": one.record["seed"], "notes": list(one.notes)}
                                 for path, one in zip(paths, made, strict=False)], "files": paths})  # fmt: skip
        return
    _tell(made, paths, remarks)


def _request(
    pose: Path | None,
    prompt: str | None,
    num: int,
    seed: int | None,
    like: Path | None,
    flags: dict[str, Any],
    config: Path | None,
    overrides: list[str],
) -> "Request":
    from h2d.errors import UserError
    from h2d.infer.provenance import read_record
    from h2d.infer.requests import Request, request_of, varied
    from h2d.pose.openpose_json import read_pose

    if prompt is not None and not prompt.strip():
        raise UserError("--prompt is empty: say what the picture shows")
    given = read_pose(pose) if pose else None
    if like is not None:
        request = request_of(read_record(like), str(like))
        given_flags = {name: value for name, value in flags.items() if value is not None}
        seeds = None if seed is None and num == 1 else _seeds(request.only if seed is None else seed, num)
        return varied(request, prompt=prompt, pose=given, seeds=seeds, options=given_flags)
    if given is None or prompt is None:
        missing = "--pose" if given is None else "--prompt"
        raise UserError(f'{missing} is missing: h2d sample --pose pose.json --prompt "a person waves"')
    options = _options(flags, config, overrides)
    return Request(prompt=prompt, pose=given, seeds=_seeds(seed, num), options=options)


def _options(flags: dict[str, Any], config: Path | None, overrides: list[str]) -> "SampleOptions":
    from h2d.config import load_config
    from h2d.infer.options import SampleOptions

    chosen: SampleOptions = load_config(SampleOptions, flags, file=config, overrides=overrides)
    return chosen


def _seeds(seed: int | None, num: int) -> tuple[int, ...]:
    from secrets import randbelow

    first = randbelow(2**31) if seed is None else seed
    return tuple(range(first, first + num))


def _models(
    hand: Path | None, outpaint: Path | None, base: str | None, pipeline: Path | None, like: Path | None
) -> "Models":
    """What was named, else what made the picture to be repeated, else what training left."""
    from h2d.errors import UserError
    from h2d.infer.loading import KINDS, Models, default_models, model_folder
    from h2d.infer.provenance import read_record

    if pipeline is not None:
        return Models(pipeline=pipeline)
    if hand is not None or outpaint is not None:
        if hand is None or outpaint is None:
            raise UserError(f"{'--hand' if hand is None else '--outpaint'} is missing: name both stages, or neither")
        return Models(hand=model_folder(hand), outpaint=model_folder(outpaint), base=base)
    if like is not None:
        then = read_record(like)["models"]
        hand, outpaint, pipeline = (Path(then[name]) if name in then else None for name in KINDS)
        if any(name in then for name in KINDS) and all(
            place.exists() for place in (hand, outpaint, pipeline) if place is not None
        ):
            return Models(hand=hand, outpaint=outpaint, pipeline=pipeline, base=base or then.get("base"))
    return default_models()


def _size(text: str | None) -> dict[str, int | None]:
    from h2d.errors import UserError

    if text is None:
        return {"width": None, "height": None}
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size {text}: give WIDTHxHEIGHT, as in 512x768")
    return {"width": int(width), "height": int(height)}


def _precision(name: str) -> Any:
    from h2d.errors import UserError

    choices = ("auto", "fp32", "fp16", "bf16")
    if name not in choices:
        raise UserError(f"--precision {name}: choose one of {', '.join(choices)}")
    return name


def _compared(session: "MethodSession", like: Path | None, *, named: Path | None) -> list[str]:
    """What is not as it was then; other weights are a mistake, unless they were named."""
    from h2d.infer.provenance import read_record

    assert like is not None
    record = read_record(like)
    if named is None:
        session.check_weights(record, str(like))
    return session.remarks(record)


def _write(made: "list[Made]", out: Path, *, grid: bool, intermediates: bool) -> list[Path]:
    from h2d.infer.intermediates import save_intermediates
    from h2d.infer.picture_files import file_stem, unused
    from h2d.infer.picture_files import grid as joined
    from h2d.infer.provenance import write_png

    named = out.suffix.lower() == ".png"
    folder = out.parent if named else out
    paths: list[Path] = []
    for one in made:
        seed, prompt = one.record["seed"], one.record["prompt"]
        stem = (out.stem if len(made) == 1 else f"{out.stem}-{seed}") if named else file_stem(prompt, seed)
        path = folder / f"{stem}.png" if named else unused(folder / f"{stem}.png")
        write_png(path, one.image, one.record)
        paths.append(path)
        if intermediates:
            assert one.output is not None
            save_intermediates(path.with_suffix(""), one.output, one.index, prompt)
    if grid:
        path = paths[0].with_name(f"{paths[0].stem}-grid.png")
        joined([one.image for one in made]).save(path)
        paths.append(path)
    return paths


def _tell(made: "list[Made]", paths: list[Path], remarks: list[str]) -> None:
    for path, one in zip(paths, made, strict=False):
        console.print(f"{path}  seed {one.record['seed']}", soft_wrap=True, highlight=False, markup=False)
        for note in dict.fromkeys(one.notes):
            console.print(f"  {note}", soft_wrap=True, highlight=False, markup=False)
        steps = path.with_suffix("") / "sheet.png"
        if steps.is_file():
            console.print(f"  step by step: {steps}", soft_wrap=True, highlight=False, markup=False)
    for path in paths[len(made) :]:
        console.print(f"{path}", soft_wrap=True, highlight=False, markup=False)
    for remark in remarks:
        errors.print(remark, soft_wrap=True, highlight=False, markup=False)
    console.print(f"Again: h2d sample --like {paths[0]}", soft_wrap=True, highlight=False, markup=False)
