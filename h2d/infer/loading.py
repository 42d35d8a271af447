"""From files to a pipeline: two training checkpoints, what they stand on, and which ones when nobody says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from h2d.errors import UserError
from h2d.models.checkpoint import read_facts

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline

RUNS: Final = (("hand", "outpaint"), ("tiny_hand", "tiny_outpaint"))
"""Where training writes by default: at full size, and tiny."""

_SHARED: Final = ("sigma_px", "wrist")
"""Options of the hand's training that sampling must repeat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """The two checkpoints to sample with, or one folder that holds a saved pipeline."""

    hand: Path | None = None
    outpaint: Path | None = None
    pipeline: Path | None = None
    about: str = ""
    """One line for a person, where they were not named."""


def default_models(runs: Path = Path("runs")) -> Models:
    """The newest checkpoints of both stages under `runs/`; raises `UserError` with the remedy where there are none."""
    for hand_run, outpaint_run in RUNS:
        hand, outpaint = newest_model(runs / hand_run), newest_model(runs / outpaint_run)
        if hand and outpaint:
            kind = "miniature networks, which show that it runs and not how it looks" if "tiny" in hand_run else "yours"
            return Models(hand=hand, outpaint=outpaint, about=f"With {hand.parent} and {outpaint.parent}: {kind}.")
    raise UserError(
        f"no models: {runs}/ holds no checkpoints of both stages: name them by --hand and --outpaint, or train the"
        " miniature: h2d train hand --config configs/tiny_hand.yaml, and the same with outpaint"
    )


def newest_model(run: Path) -> Path | None:
    """The `model` folder of a run's last whole checkpoint."""
    found = [path / "model" for path in (run / "checkpoints").glob("step-*") if (path / "state.json").is_file()]
    return max(found, key=lambda path: path.parent.name, default=None)


def model_folder(given: Path) -> Path:
    """The folder of a stage's weights, of a run, a checkpoint or the folder itself; raises `UserError`."""
    if (given / "h2d.json").is_file():
        return given
    if (given / "model" / "h2d.json").is_file():
        return given / "model"
    if found := newest_model(given):
        return found
    raise UserError(f"{given}: no checkpoint of h2d train: give a run, a step of it, or its folder `model`")


def load_models(models: Models, **options: Any) -> "TwoStagePipeline":
    """The pipeline of what `default_models` or a user named."""
    from h2d.infer.two_stage import TwoStagePipeline

    if models.pipeline is not None:
        return load_pipeline(models.pipeline, **options)
    assert models.hand is not None
    assert models.outpaint is not None
    return TwoStagePipeline.from_checkpoints(hand=models.hand, outpaint=models.outpaint, **options)


def load_pipeline(folder: Path, **options: Any) -> "TwoStagePipeline":
    """A pipeline that `save_pretrained` wrote; raises `UserError` where it is none, or pickled."""
    from h2d.infer.two_stage import TwoStagePipeline

    if not (folder / "model_index.json").is_file():
        raise UserError(f"{folder}: no saved pipeline: model_index.json is missing")
    pickled = [*folder.glob("*/*.bin"), *folder.glob("*/*.ckpt"), *folder.glob("*/*.pt")]
    if pickled and not any(folder.glob("*/*.safetensors")):
        raise UserError(f"{pickled[0]}: pickled weights can run code when they are read: convert them to .safetensors")
    pipe: TwoStagePipeline = TwoStagePipeline.from_pretrained(folder, use_safetensors=True, **options)
    return pipe


def load_checkpoints(
    *,
    hand: Path,
    outpaint: Path,
    base: Path | str | None = None,
    hand_base: Path | str | None = None,
    torch_dtype: Any = None,
) -> "TwoStagePipeline":
    """Join two checkpoints with the bases that they were trained on, or others by name or path.

    The stages share a VAE and a text encoder where theirs are the same. Raises `UserError` on what is missing or of
    another kind.
    """
    from h2d.infer.two_stage import TwoStagePipeline
    from h2d.models.base import load_text_encoder, load_tokenizer, load_unet, load_vae
    from h2d.models.hand_generator import HandGenerator
    from h2d.models.outpainter import load_controlnet

    hand, outpaint = model_folder(Path(hand)), model_folder(Path(outpaint))
    hand_facts, body_facts = _facts(hand, "hand"), _facts(outpaint, "outpaint")
    hand_place, place = _base(hand, hand_facts, hand_base), _base(outpaint, body_facts, base)
    generator = HandGenerator.from_pretrained(hand)
    shared = {name: value for name, value in _options(hand_facts).items() if name in _SHARED}
    body = _options(body_facts)
    vae, text_encoder = load_vae(place), load_text_encoder(place)
    pipe = TwoStagePipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=load_tokenizer(place),
        unet=load_unet(place),
        controlnet=load_controlnet(outpaint / "controlnet"),
        scheduler=_scheduler(outpaint),
        hand_scheduler=_scheduler(hand),
        hand_unet=generator.unet,
        mask_head=generator.mask_head,
        hand_vae=_unless_same(load_vae(hand_place), vae),
        hand_text_encoder=_unless_same(load_text_encoder(hand_place), text_encoder),
        hand_size_px=hand_facts["config"]["size_px"],
        size_px=body_facts["config"]["size_px"],
        canvas_fill=body.get("canvas_fill", "grey"),
        skeleton=body.get("skeleton", "v1.1"),
        **shared,
    )
    return pipe.to(torch_dtype) if torch_dtype is not None else pipe


def _facts(folder: Path, stage: str) -> dict[str, Any]:
    facts = read_facts(folder)
    if facts.get("stage") != stage:
        raise UserError(f"{folder}: a checkpoint of stage {facts.get('stage')!r}: give one of `h2d train {stage}`")
    if "size_px" not in facts.get("config", {}):
        raise UserError(f"{folder / 'h2d.json'}: config.size_px is missing: it was not written by h2d train")
    return facts


def _options(facts: Mapping[str, Any]) -> dict[str, Any]:
    return dict(facts["config"].get("options", {}))


def _base(folder: Path, facts: Mapping[str, Any], given: Path | str | None) -> Path:
    """What a stage stands on: what is given, else where training found it, else what training was told."""
    from h2d.models.weights import WEIGHTS, locate

    if given is not None:
        return locate(str(given)) if str(given) in WEIGHTS else Path(given)
    stated = Path(facts["base"])
    if stated.exists():
        return stated
    name = str(_options(facts).get("base", ""))
    if name in WEIGHTS:
        return locate(name)
    raise UserError(f"{folder}: its base {stated} is not on this machine: name it by --base")


def _scheduler(folder: Path) -> Any:
    """DDIM over the noise levels that the stage was trained with."""
    from diffusers import DDPMScheduler

    from h2d.infer.schedulers import make_scheduler

    return make_scheduler("ddim", DDPMScheduler.from_pretrained(folder / "scheduler"))


def _unless_same(own: Any, other: Any) -> Any:
    """None where two networks have the same weights."""
    import torch

    mine, theirs = own.state_dict(), other.state_dict()
    if mine.keys() != theirs.keys():
        return own
    # torch.equal is False of tensors of two shapes.
    return None if all(torch.equal(mine[name], theirs[name]) for name in mine) else own
