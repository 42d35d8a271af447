"""What `h2d sample` is told, read and checked before anything heavy is loaded."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h2d.errors import UserError

if TYPE_CHECKING:
    from h2d.cli.photographs import TellFound
    from h2d.infer.choosing import Models
    from h2d.infer.options import SampleOptions
    from h2d.infer.requests import Request


def read_request(
    pose: Path | None,
    frame: int | None,
    prompt: str | None,
    num: int,
    seed: int | None,
    record: Mapping[str, Any] | None,
    like: str,
    flags: dict[str, Any],
    config: Path | None,
    overrides: list[str],
    tell: "TellFound",
) -> "Request":
    """What is to be made: anew, or after the picture `like`, whose record that is; `tell` is told of a photograph."""
    from h2d.cli.photographs import is_photograph, pose_of_photograph
    from h2d.infer.batch_lines import NO_CHARACTER
    from h2d.infer.requests import Request, request_of, varied
    from h2d.pose.examples import EXAMPLES, find_pose

    if record is None and prompt is None and pose is not None and str(pose) in EXAMPLES and not pose.exists():
        prompt = EXAMPLES[str(pose)]
    if prompt is not None and not prompt.strip():
        raise UserError("--prompt is empty: say what the picture shows")
    if prompt is not None and NO_CHARACTER.search(prompt):  # as bytes of another encoding reach Python
        raise UserError("--prompt is not UTF-8: say what the picture shows in characters of Unicode")
    if record is None and (pose is None or prompt is None):
        missing = "--pose" if pose is None else "--prompt"
        raise UserError(f'{missing} is missing: h2d sample --pose pose.json --prompt "a person waves"')
    if pose is None:
        given = None
    elif is_photograph(pose):
        refuse({"frame": frame}, f"{pose} is a photograph")
        given = pose_of_photograph(pose, tell)
    else:
        given = find_pose(pose, frame=frame)
    if record is not None:
        request = request_of(record, like)
        seeds = None if seed is None and num == 1 else _seeds(request.only if seed is None else seed, num)
        options = read_options(flags, config, overrides, over=request.options)
        return varied(request, prompt=prompt, pose=given, seeds=seeds, options=options)
    assert given is not None
    assert prompt is not None
    options = read_options(flags, config, overrides)
    return Request(prompt=prompt, pose=given, seeds=_seeds(seed, num), options=options)


def read_options(
    flags: dict[str, Any], config: Path | None, overrides: list[str], *, over: "SampleOptions | None" = None
) -> "SampleOptions":
    """Of a file, of `--set` and of flags, the last before the first; what they leave out is as `over` has it."""
    from h2d.config import load_config
    from h2d.infer.options import SampleOptions

    chosen: SampleOptions = load_config(SampleOptions, flags, file=config, overrides=overrides, over=over)
    return chosen


def _seeds(seed: int | None, num: int) -> tuple[int, ...]:
    from secrets import randbelow

    first = randbelow(2**31) if seed is None else seed
    return tuple(range(first, first + num))


def read_models(named: dict[str, Any], record: Mapping[str, Any] | None) -> "Models":
    """What was named, else what made the picture to be repeated, else what training left."""
    from h2d.infer.choosing import default_models, models_of, recorded_models

    given = {name: value for name, value in named.items() if value is not None}
    if not given.keys() - {"base", "hand_base", "loras"}:
        then = recorded_models(record["models"]) if record is not None else None
        found = then if then is not None and then.exist() else default_models()
        for name in ("base", "hand_base"):
            if name in given and found.pipeline is not None:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} {given[name]}: {found.pipeline} is a whole: name --outpaint as well")
        return replace(found, **given)
    if "pipeline" in given:
        others = {name: value for name, value in given.items() if name not in ("pipeline", "loras")}
        refuse(others, f"--pipeline {given['pipeline']} is a whole")
    elif "outpaint" not in given:
        models_of({"hand": given.get("hand")})  # what is named and not there goes first
        raise UserError("--outpaint is missing: name a checkpoint of h2d train outpaint, or control-openpose-1.1")
    return models_of(given)


def read_size(text: str | None) -> dict[str, int | None]:
    """`512x768` as width and height."""
    if text is None:
        return {"width": None, "height": None}
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size {text}: give WIDTHxHEIGHT, as in 512x768")
    return {"width": int(width), "height": int(height)}


def refuse(given: Mapping[str, Any], why: str) -> None:
    """Raise `UserError` on the first flag that was given a value."""
    for name, value in given.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')}: {why}: leave it out")


def read_precision(name: str, record: Mapping[str, Any] | None = None) -> Any:
    """The name, if it is one; for `auto` that of the picture which is made again."""
    choices = ("auto", "fp32", "fp16", "bf16")
    if name not in choices:
        raise UserError(f"--precision {name}: choose one of {', '.join(choices)}")
    if name == "auto" and record is not None:
        return record["machine"]["precision"]
    return name


def read_device(name: str, address: str | None, workers: int | None) -> str:
    """The device that pictures are made on, `auto` decided by what is here, or what the cluster at `address` has."""
    from h2d.infer.session import device_of
    from h2d.ray_start import cluster_device

    return cluster_device(name, address, workers=workers or 1) if address else str(device_of(name))
