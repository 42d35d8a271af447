"""The parts of a Stable Diffusion 1.x checkpoint: a folder in diffusers' format, or one .safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.models.reading import check_network, read_json, read_network, read_part, refuse_pickle
from h2d.models.single_file import (
    check_file,
    text_encoder_of,
    tokenizer_folder,
    unet_channels_of,
    unet_of,
    vae_of,
)

CELL_PX: Final = 8
"""Pixels of a latent's cell, a side, in Stable Diffusion 1.x."""
SCHEDULER_FILE: Final = "scheduler_config.json"
TOKENIZER_FILES: Final = ("vocab.json", "tokenizer.json")
"""One of them is there."""


def check_base(base: Path) -> None:
    """Raise `UserError` unless `base` is a checkpoint of a kind that can be read."""
    refuse_pickle(base)
    if not base.exists():
        raise UserError(f"{base}: no such checkpoint: give a folder in diffusers' format or a .safetensors file")
    if base.is_file() and base.suffix != ".safetensors":
        raise UserError(f"{base}: not a checkpoint: give a folder in diffusers' format or a .safetensors file")


def check_parts(base: Path) -> None:
    """Raise `UserError` unless U-Net, autoencoder, text encoder and tokenizer are there, whole; reads headers alone."""
    check_base(base)
    if base.is_file():
        check_file(base)
        return
    for name in ("unet", "vae", "text_encoder"):
        check_network(_part(base, name))
    words = _part(base, "tokenizer")
    if not any((words / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(f"{words}: {TOKENIZER_FILES[0]} is missing: the tokenizer is not whole: fetch it again")


def unet_channels(base: Path) -> int:
    """How many channels the U-Net takes: 4, or 9 of an inpainting model; loads nothing."""
    return unet_channels_of(base) if base.is_file() else int(read_config(base, "unet")["in_channels"])


def check_text_to_image(base: Path) -> None:
    """Raise `UserError` where the U-Net takes more than the noisy latent; loads nothing."""
    if (channels := unet_channels(base)) != 4:
        raise UserError(f"{base}: its U-Net takes {channels} channels: give a text-to-image one, with 4")


def load_unet(base: Path) -> Any:
    """The U-Net in float32, of any number of input channels."""
    from diffusers import UNet2DConditionModel

    check_base(base)
    if base.is_dir():
        return read_network(UNet2DConditionModel, _part(base, "unet"))
    return unet_of(base)


def load_vae(base: Path) -> Any:
    """The autoencoder in float32."""
    from diffusers import AutoencoderKL

    check_base(base)
    if base.is_dir():
        return read_network(AutoencoderKL, _part(base, "vae"))
    return vae_of(base)


def load_text_encoder(base: Path) -> Any:
    """CLIP's text encoder in float32."""
    from transformers import CLIPTextModel

    check_base(base)
    if base.is_file():
        return text_encoder_of(base)
    return read_network(CLIPTextModel, _part(base, "text_encoder"))


def load_tokenizer(base: Path) -> Any:
    """CLIP's tokenizer, which lies beside a single file."""
    from transformers import CLIPTokenizer

    check_base(base)
    folder = tokenizer_folder(base) if base.is_file() else _part(base, "tokenizer")
    return read_part(CLIPTokenizer, folder, *TOKENIZER_FILES)


def load_scheduler(base: Path, *, as_is: bool = False) -> Any:
    """The noise levels of the checkpoint as a DDPM scheduler; those of Stable Diffusion where it states none.

    `as_is` gives the checkpoint's own DDIM scheduler, with the spacing of its steps.
    """
    from diffusers import DDIMScheduler, DDPMScheduler

    if (base / "scheduler" / SCHEDULER_FILE).is_file():
        return read_part(DDIMScheduler if as_is else DDPMScheduler, base / "scheduler", SCHEDULER_FILE)
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)


def cell_px(base: Path) -> int:
    """Pixels of the picture to a cell of the latent, a side: 8 in Stable Diffusion."""
    if base.is_file():
        return CELL_PX
    return cell_px_of(read_config(base, "vae"))


def cell_px_of(vae_config: Mapping[str, Any]) -> int:
    """The same, by the configuration of an `AutoencoderKL`: every block but the last halves."""
    return int(2 ** (len(vae_config["block_out_channels"]) - 1))


def size_multiple(base: Path) -> int:
    """Pixels that the sides of a picture are multiples of; loads nothing."""
    if base.is_file():
        return CELL_PX * 8
    return size_multiple_of(read_config(base, "unet"), read_config(base, "vae"))


def size_multiple_of(unet_config: Mapping[str, Any], vae_config: Mapping[str, Any]) -> int:
    """The same, by configurations: every block of the U-Net but the last halves the latent."""
    return int(cell_px_of(vae_config) * 2 ** (len(unet_config["block_out_channels"]) - 1))


def read_config(base: Path, name: str) -> dict[str, Any]:
    """The configuration of a part of a folder in diffusers' format; the part's weights need not be there."""
    check_base(base)
    file = base / name / "config.json"
    if not file.is_file():
        raise UserError(f"{file}: no such file: {base} is not a checkpoint in diffusers' format")
    return read_json(file)


def _part(base: Path, name: str) -> Path:
    folder = base / name
    if not folder.is_dir():
        raise UserError(f"{base}: the folder {name} is missing: it is not a whole checkpoint in diffusers' format")
    return folder


def save_base(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write a whole base: `StableDiffusionPipeline.from_pretrained` of diffusers reads it."""
    for name, part in parts.items():
        kind = {"safe_serialization": True} if name in ("unet", "vae", "text_encoder") else {}
        part.save_pretrained(folder / name, **kind)
    classes = {name: [type(part).__module__.split(".")[0], type(part).__name__] for name, part in parts.items()}
    absent = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    index = {"_class_name": "StableDiffusionPipeline", **classes, **absent}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
