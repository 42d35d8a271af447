"""`h2d sample`: a pose and a prompt to pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import errors
from h2d.cli.output import print_json, say
from h2d.cli.photographs import as_plain, tell_found
from h2d.cli.sample_choices import (
    read_device,
    read_models,
    read_options,
    read_precision,
    read_request,
    read_size,
    refuse,
)
from h2d.cli.sample_files import PictureFiles, check_out
from h2d.cli.start import one_thread_if_small, uncollected

if TYPE_CHECKING:
    from h2d.annotate.extract import Extracted
    from h2d.infer.requests import Request
    from h2d.infer.session import MethodSession

_OUT = Path("samples")


def sample(
    pose: Annotated[
        Path | None,
        typer.Option(help="OpenPose JSON, a photograph, or one of h2d pose examples.", show_default=False),
    ] = None,
    frame: Annotated[
        int | None, typer.Option(min=0, help="Which pose of a file that lists several, from 0.", show_default=False)
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What the picture shows. Default: of an example pose its own.", show_default=False),
    ] = None,
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
    from h2d.infer.batch_lines import read_lines
    from h2d.infer.provenance import read_record

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
        "loras": tuple(lora) if lora else None,
    }
    if batch is None:
        refuse({"workers": workers, "address": address}, "it is of --batch")
        check_out(out)
    else:
        of_one = {"pose": pose, "frame": frame, "prompt": prompt, "like": like, "n": n if n > 1 else None}
        refuse({**of_one, "save-intermediates": save_intermediates or None}, "with --batch the file says what is made")
        read_lines(batch)  # raises what is wrong with it before the networks are opened
    record = read_record(like) if like else None
    ours_alone = {**named, "offload": offload or None, "compile": compiled or None, **flags}
    chosen = read_method(method, record, ours_alone, intermediates=save_intermediates)
    own = own_overrides(chosen, overrides or [], config, record)
    photograph: dict[str, Any] = {}

    def tell_photograph(photo: Path, found: "Extracted", counts: Mapping[str, int]) -> None:
        if as_json:
            photograph.update(path=photo, **as_plain(found))
        else:
            tell_found(photo, found, counts)

    with uncollected():
        import h2d.infer.session  # noqa: F401  # torch, diffusers and transformers, which all that follows needs
    request = (
        None
        if batch
        else read_request(pose, frame, prompt, n, seed, record, str(like), flags, config, own, tell_photograph)
    )
    models = read_models(named, record) if chosen == OURS else None

    from h2d.infer.jobs import outgrown
    from h2d.infer.loading import native_sizes
    from h2d.infer.session import Session, first_size

    if models is not None:
        size_hw, native_px = first_size(models, request), native_sizes(models)[0]
        early = [models.about] if models.about else []
        early += outgrown(size_hw, native_px)  # a note on the picture too, which may come in an hour
        for line in [] if as_json else early:
            say(line)
    exactness = read_precision(precision, record)
    place = read_device(device, address, workers)
    at_once = batch_size or (4 if place.startswith("cuda") else 1)

    def open_session() -> "MethodSession":
        if models is None:
            return open_method(chosen, overrides or [], record, base, device=place, precision=exactness)
        loaded = Session(
            models, device=place, precision=exactness, offload=offload, compiled=compiled,
            batch_size=min(at_once, n) if request else at_once, asked=request,
        )  # fmt: skip
        return one_thread_if_small(loaded)

    if request is None:
        assert batch is not None
        from h2d.cli.sample_batch import Batch, Workers, sample_batch

        sample_batch(
            open_session,
            Batch(
                file=batch,
                out=out if out != _OUT else out / batch.stem,
                options=read_options(flags, config, own),
                seed=seed or 0,
                batch_size=at_once,
            ),
            Workers(number=workers, address=address, device=place),
            grid=grid,
            as_json=as_json,
        )
        return
    session, remarks = open_session(), []
    if record is not None and request.only is not None:
        if all(value is None for value in named.values()):
            session.check_weights(record, str(like))
        remarks = session.remarks(record)
    files = PictureFiles(out, count=request.count, intermediates=save_intermediates, grid=grid)
    notes = _make(session, request, files, at_once, quiet=as_json)
    others = files.finish()
    if not as_json:
        _tell(files, others, notes, remarks, request)
        return
    rows = zip(files.pictures, request.wanted_seeds, notes, strict=True)
    pictures = [{"path": path, "seed": seed, "notes": list(some)} for path, seed, some in rows]
    told = {"photograph": photograph} if photograph else {}
    print_json({**told, "pictures": pictures, "files": [*files.pictures, *others], "remarks": list(remarks)})


def _make(
    session: "MethodSession", request: "Request", files: PictureFiles, at_once: int, *, quiet: bool
) -> list[tuple[str, ...]]:
    """Make and write the pictures; the notes on each. What is written stays when the rest is interrupted."""
    from h2d.cli.sample_progress import SampleProgress

    items, notes = request.items(), []
    if request.only is not None:
        at_once = len(items)  # what is made again is made as it was
    try:
        with SampleProgress(quiet=quiet) as progress:
            for start in range(0, len(items), at_once):
                for made in session.sample(items[start : start + at_once], request.options, on_step=progress.step):
                    if request.only in (None, made.record["seed"]):
                        files.write(made)
                        notes.append(made.notes)
    except KeyboardInterrupt:
        left = request.wanted_seeds[len(files.pictures) :]
        told = f"{len(files.pictures)} of {request.count} pictures are in {files.folder}"
        rest = f"; the rest: --seed {left[0]} -n {len(left)}" if left else ""
        errors.print(f"Stopped: {told}{rest}.", soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(130) from None
    return notes


def _tell(
    files: PictureFiles,
    others: Sequence[Path],
    notes: Sequence[tuple[str, ...]],
    remarks: Sequence[str],
    request: "Request",
) -> None:
    for path, seed, some in zip(files.pictures, request.wanted_seeds, notes, strict=True):
        say(f"{path}  seed {seed}")
        for note in dict.fromkeys(some):
            say(f"  {note}")
        steps = path.with_suffix("") / "sheet.png"
        if steps.is_file():
            say(f"  step by step: {steps}")
    for path in others:
        say(f"{path}")
    for remark in remarks:
        errors.print(remark, soft_wrap=True, highlight=False, markup=False)
    say(f"Again: h2d sample --like {files.pictures[0]}")
