"""`h2d sample`: a pose and a prompt to pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import errors
from h2d.cli.output import print_json, say
from h2d.cli.sample_choices import read_models, read_options, read_precision, read_request, read_size
from h2d.cli.start import one_thread_if_small, uncollected

if TYPE_CHECKING:
    from h2d.infer.session import Made, MethodSession


_OUT = Path("samples")


def sample(
    pose: Annotated[
        Path | None, typer.Option(help="OpenPose JSON, or a name of h2d pose examples.", show_default=False)
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What the picture shows.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="A folder, or a file ending in .png.")] = _OUT,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Pictures, of seeds counted up.")] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="Also all as one picture; of --batch, each beside its pose.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: a random one, which is told.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the picture must not show.", show_default=False)] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Of either stage. Default: the pipeline's, else 50 of ddim, 20 of dpm++ and unipc."),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="ddim (default), dpm++, unipc, euler.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How much the prompt is followed. Default: the pipeline's, else 7.5.")
    ] = None,
    blend: Annotated[str | None, typer.Option(help="expanding (default), naive, bbox.")] = None,
    zoom_hands: Annotated[
        bool, typer.Option("--zoom-hands", help="Outpaint around small hands once more, enlarged.")
    ] = False,
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
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --batch: processes of a local Ray. Default: this one alone.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="With --batch: a Ray cluster that sees the same files.", show_default=False)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="controlnet, t2i-adapter, humansd, handrefiner, stable-diffusion; ours: two-stage."),
    ] = None,
    hand: Annotated[Path | None, typer.Option(help="Run or checkpoint of h2d train hand.", show_default=False)] = None,
    hand_controlnet: Annotated[
        Path | None,
        typer.Option(help="Or a ControlNet of hand landmarks: controlnet-hands, a folder.", show_default=False),
    ] = None,
    hand_photo: Annotated[
        Path | None, typer.Option(help="Or a photograph of a hand, fitted to the pose.", show_default=False)
    ] = None,
    outpaint: Annotated[
        str | None,
        typer.Option(help="Run or checkpoint of h2d train outpaint, or an OpenPose ControlNet.", show_default=False),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="What stage 2 stands on. Default: what training says.", show_default=False)
    ] = None,
    hand_base: Annotated[str | None, typer.Option(help="The same of stage 1.", show_default=False)] = None,
    pipeline: Annotated[Path | None, typer.Option(help="Or a saved pipeline's folder.", show_default=False)] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="FILE.safetensors or FILE:STRENGTH; may be repeated.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    offload: Annotated[bool, typer.Option("--offload", help="Keep networks that wait off the GPU.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the networks: minutes at first, then faster.")
    ] = False,
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    config: Annotated[Path | None, typer.Option(help="YAML file of options.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any option by name: --set blend_options.unmasked_steps=0")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make pictures of a pose and a prompt: first the hands, then the body around them."""
    from h2d.cli.sample_method import open_method, own_overrides, read_method
    from h2d.infer.baselines import OURS

    flags = {
        "num_inference_steps": steps,
        "scheduler": scheduler,
        "guidance_scale": guidance,
        "blend": blend,
        "negative_prompt": negative,
        "zoom_hands": zoom_hands or None,
        "hand_photo": hand_photo,
        **read_size(size),
    }
    named: dict[str, Any] = {
        "hand": hand,
        "hand_controlnet": hand_controlnet,
        "outpaint": outpaint,
        "base": base,
        "hand_base": hand_base,
        "pipeline": pipeline,
    }
    ours_alone = {**named, "lora": lora or None, "offload": offload or None, "compile": compiled or None}
    chosen = read_method(method, like, ours_alone, intermediates=save_intermediates)
    named["loras"] = tuple(lora) if lora else None
    own = own_overrides(chosen, overrides or [], config)
    with uncollected():
        import h2d.infer.session  # noqa: F401  # torch, diffusers and transformers, which all that follows needs
    request = None if batch else read_request(pose, prompt, n, seed, like, flags, config, own)
    models = read_models(named, like) if chosen == OURS else None
    if models is not None and models.about and not as_json:
        say(models.about)

    from h2d.cli.sample_batch import Batch, Workers, sample_batch
    from h2d.cli.sample_progress import SampleProgress
    from h2d.infer.session import Session, device_of

    place, exactness = device_of(device), read_precision(precision)
    at_once = batch_size or (4 if place.type == "cuda" else 1)

    def open_session() -> "MethodSession":
        if models is None:
            return open_method(chosen, overrides or [], like, base, device=device, precision=exactness)
        size = min(at_once, n) if request else at_once
        return one_thread_if_small(
            Session(
                models,
                device=device,
                precision=exactness,
                offload=offload,
                compiled=compiled,
                batch_size=size,
                asked=request,
            )
        )

    if request is None:
        assert batch is not None
        sample_batch(
            open_session,
            Batch(
                file=batch,
                out=out if out != _OUT else out / batch.stem,
                options=read_options(flags, config, own),
                seed=seed or 0,
                batch_size=at_once,
            ),
            Workers(number=workers, address=address, on_gpu=place.type == "cuda"),
            grid=grid,
            as_json=as_json,
        )
        return
    session = open_session()
    remarks: list[str] = []
    if like is not None and request.only is not None:
        remarks = _compared(session, like, named=any(value is not None for value in named.values()))
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


def _compared(session: "MethodSession", like: Path, *, named: bool) -> list[str]:
    """What is not as it was then; other weights are a mistake, unless they were named."""
    from h2d.infer.provenance import read_record

    record = read_record(like)
    if not named:
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
        say(f"{path}  seed {one.record['seed']}")
        for note in dict.fromkeys(one.notes):
            say(f"  {note}")
        steps = path.with_suffix("") / "sheet.png"
        if steps.is_file():
            say(f"  step by step: {steps}")
    for path in paths[len(made) :]:
        say(f"{path}")
    for remark in remarks:
        errors.print(remark, soft_wrap=True, highlight=False, markup=False)
    say(f"Again: h2d sample --like {paths[0]}")
