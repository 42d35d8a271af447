"""From files to a pipeline: checkpoints of both stages, and what they stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from h2d.errors import UserError
from h2d.infer.choosing import Models, model_folder, our_model
from h2d.infer.fit import check_fit
from h2d.infer.saved_pipeline import PUBLIC_SIZE_PX, load_pipeline, saved_size_px, saved_weights
from h2d.infer.schedulers import make_scheduler
from h2d.models.base import SCHEDULER_FILE, check_base, check_parts, size_multiple
from h2d.models.checkpoint import FACTS_FILE, read_facts
from h2d.models.reading import check_network, read_part
from h2d.models.weights import WEIGHTS, named_or_path

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline

PUBLIC_BASE: Final = "sd-1.5-inpainting"
PUBLIC_HAND_BASE: Final = "stable-diffusion-1.5"
"""What public ControlNets of Stable Diffusion 1.5 stand on."""

_SHARED: Final = ("sigma_px", "wrist")
"""Options of the hand's training that sampling must repeat."""


def load_models(models: Models) -> "TwoStagePipeline":
    """The pipeline of what `default_models` or a user named."""
    if models.pipeline_folder is not None:
        return load_pipeline(models.pipeline_folder)
    assert models.outpaint is not None
    return load_checkpoints(
        outpaint=models.outpaint,
        hand=models.hand,
        hand_controlnet=models.hand_controlnet,
        base=models.base,
        hand_base=models.hand_base,
    )


def made_ready(pipe: Any, device: Any, dtype: Any) -> Any:
    """A pipeline where and in what it will work, without the library's own bars; float32 stays as it was read."""
    import torch

    pipe = pipe.to(device)
    if dtype != torch.float32:
        cast(pipe, dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def cast(pipe: Any, dtype: Any) -> Any:
    """A pipeline with its networks in another precision; diffusers' own `to` warns of layers that these lack."""
    from torch import nn

    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            nn.Module.to(part, dtype)
    return pipe


def load_checkpoints(
    *,
    outpaint: Path | str,
    hand: Path | None = None,
    hand_controlnet: Path | str | None = None,
    base: Path | str | None = None,
    hand_base: Path | str | None = None,
    torch_dtype: Any = None,
) -> "TwoStagePipeline":
    """Join the checkpoints of the stages with what they stand on, or with other bases by name or path.

    `outpaint` is a training checkpoint or any OpenPose ControlNet; hands come from a training checkpoint, from a public
    ControlNet of hand landmarks, or from neither: then from photographs alone. The stages share a VAE and a text
    encoder where theirs are the same. Raises `UserError` on what is missing or of another kind.
    """
    from h2d.infer.two_stage import TwoStagePipeline
    from h2d.models.base import load_text_encoder, load_tokenizer, load_unet, load_vae
    from h2d.models.outpainter import load_controlnet

    body = _body(outpaint, base)
    vae, text_encoder = load_vae(body.base), load_text_encoder(body.base)
    pipe = TwoStagePipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=load_tokenizer(body.base),
        unet=load_unet(body.base),
        controlnet=load_controlnet(body.controlnet),
        scheduler=body.scheduler,
        size_px=body.size_px,
        canvas_fill=body.options.get("canvas_fill", "grey"),
        skeleton=body.options.get("skeleton", "v1.1"),
        **_hand_parts(hand, hand_controlnet, hand_base, vae=vae, text_encoder=text_encoder, scheduler=body.scheduler),
    )
    check_fit(pipe)
    return cast(pipe, torch_dtype) if torch_dtype is not None else pipe


def weight_folders(models: Models) -> dict[str, Path]:
    """Where each network's weights are, by component: a folder, or a base in one file. Loads nothing.

    Raises `UserError` on what is missing or pickled.
    """
    found = saved_weights(models.pipeline_folder) if models.pipeline_folder is not None else _named_weights(models)
    for place in found.values():
        if not place.is_file():
            check_network(place)
    return found


def native_sizes(models: Models) -> tuple[int, int]:
    """The short side of the pictures that stage 2 was trained at, and what sides are multiples of; loads nothing."""
    if models.pipeline_folder is not None:
        return saved_size_px(models.pipeline_folder), size_multiple(models.pipeline_folder)
    assert models.outpaint is not None
    body = _body(models.outpaint, models.base)
    return body.size_px, size_multiple(body.base)


def _named_weights(models: Models) -> dict[str, Path]:
    assert models.outpaint is not None
    body = _body(models.outpaint, models.base)
    found = {name: _part(body.base, name) for name in ("unet", "vae", "text_encoder")}
    found["controlnet"] = body.controlnet
    if models.hand is not None:
        folder = model_folder(models.hand)
        place = _base(folder, _facts(folder, "hand"), models.hand_base, flag="--hand-base")
        found |= {"hand_unet": folder / "unet", "mask_head": folder / "mask_head"}
    elif models.hand_controlnet is not None:
        place = named_or_path(models.hand_base or PUBLIC_HAND_BASE)
        found |= {"hand_unet": _part(place, "unet"), "hand_controlnet": named_or_path(models.hand_controlnet)}
    else:
        return found
    check_base(place)
    if place != body.base:
        found |= {f"hand_{name}": _part(place, name) for name in ("vae", "text_encoder")}
    return found


def _part(base: Path, name: str) -> Path:
    return base if base.is_file() else base / name


@dataclass(frozen=True, kw_only=True, slots=True)
class _Body:
    """What stage 2 is made of."""

    controlnet: Path
    base: Path
    scheduler: Any
    size_px: int
    options: Mapping[str, Any]


def _body(outpaint: Path | str, base: Path | str | None) -> _Body:
    """The checkpoint, read as far as its weights; raises `UserError` on a base of which a part is missing."""
    body = _named_body(outpaint, base)
    check_parts(body.base)
    return body


def _named_body(outpaint: Path | str, base: Path | str | None) -> _Body:
    from h2d.models.base import load_scheduler

    folder = named_or_path(outpaint)
    # A run's own folder holds a `config.json` too.
    if our_model(folder) is None and (folder / "config.json").is_file():
        place = named_or_path(base or PUBLIC_BASE)
        scheduler = make_scheduler("ddim", load_scheduler(place))
        return _Body(controlnet=folder, base=place, scheduler=scheduler, size_px=PUBLIC_SIZE_PX, options={})
    folder = model_folder(folder)
    facts = _facts(folder, "outpaint")
    return _Body(
        controlnet=folder / "controlnet",
        base=_base(folder, facts, base, flag="--base"),
        scheduler=_scheduler(folder),
        size_px=facts["config"]["size_px"],
        options=_options(facts),
    )


def _hand_parts(
    hand: Path | None,
    hand_controlnet: Path | str | None,
    hand_base: Path | str | None,
    *,
    vae: Any,
    text_encoder: Any,
    scheduler: Any,
) -> dict[str, Any]:
    """Stage 1's components and settings."""
    from h2d.models.base import load_scheduler, load_text_encoder, load_unet, load_vae
    from h2d.models.hand_generator import HandGenerator
    from h2d.models.outpainter import load_controlnet

    if hand is None and hand_controlnet is None:
        return {"hand_scheduler": scheduler, "hand_size_px": PUBLIC_SIZE_PX}
    if hand is not None:
        folder = model_folder(Path(hand))
        facts = _facts(folder, "hand")
        place = _base(folder, facts, hand_base, flag="--hand-base")
        generator = HandGenerator.from_pretrained(folder)
        parts = {
            "hand_unet": generator.unet,
            "mask_head": generator.mask_head,
            "hand_scheduler": _scheduler(folder),
            "hand_size_px": facts["config"]["size_px"],
            **{name: value for name, value in _options(facts).items() if name in _SHARED},
        }
    else:
        assert hand_controlnet is not None
        place = named_or_path(hand_base or PUBLIC_HAND_BASE)
        parts = {
            "hand_unet": load_unet(place),
            "hand_controlnet": load_controlnet(named_or_path(hand_controlnet)),
            "hand_scheduler": make_scheduler("ddim", load_scheduler(place)),
            "hand_size_px": PUBLIC_SIZE_PX,
        }
    own_vae = _unless_same(load_vae(place), vae)
    return {**parts, "hand_vae": own_vae, "hand_text_encoder": _unless_same(load_text_encoder(place), text_encoder)}


def _facts(folder: Path, stage: str) -> dict[str, Any]:
    facts = read_facts(folder)
    if facts.get("stage") != stage:
        raise UserError(f"{folder}: a checkpoint of stage {facts.get('stage')!r}: give one of `h2d train {stage}`")
    config = facts.get("config")
    if "base" not in facts or not isinstance(config, Mapping) or "size_px" not in config:
        raise UserError(f"{folder / FACTS_FILE}: base or config.size_px is missing: it was not written by h2d train")
    return facts


def _options(facts: Mapping[str, Any]) -> dict[str, Any]:
    return dict(facts["config"].get("options", {}))


def _base(folder: Path, facts: Mapping[str, Any], given: Path | str | None, *, flag: str) -> Path:
    """What a stage stands on: what is given, else where training found it, else what training was told."""
    if given is not None:
        return named_or_path(given)
    stated = Path(facts["base"])
    name = str(_options(facts).get("base", ""))
    if stated.exists():
        return stated
    if name in WEIGHTS:
        return named_or_path(name)
    raise UserError(f"{folder}: its base {stated} is not on this machine: name it by {flag}")


def _scheduler(folder: Path) -> Any:
    """DDIM over the noise levels that the stage was trained with."""
    from diffusers import DDPMScheduler

    return make_scheduler("ddim", read_part(DDPMScheduler, folder / "scheduler", SCHEDULER_FILE))


def _unless_same(own: Any, other: Any) -> Any:
    """None where two networks have the same weights."""
    import torch

    mine, theirs = own.state_dict(), other.state_dict()
    if mine.keys() != theirs.keys():
        return own
    # torch.equal is False of tensors of two shapes.
    return None if all(torch.equal(mine[name], theirs[name]) for name in mine) else own
