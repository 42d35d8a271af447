"""The parts of a Stable Diffusion 1.x checkpoint: a folder in diffusers' format, or one .safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from h2d.errors import UserError
from h2d.models.single_file import (
    check_file,
    tensor_names,
    text_encoder_of,
    tokenizer_folder,
    unet_channels_of,
    unet_of,
    vae_of,
)

CELL_PX: Final = 8
"""Pixels of a latent's cell, a side, in Stable Diffusion 1.x."""


def check_base(base: Path) -> None:
    """Raise `UserError` unless `base` is a checkpoint of a kind that can be read."""
    if base.suffix in (".ckpt", ".bin", ".pt", ".pth"):
        raise UserError(
            f"{base}: pickled weights can run code when they are read: convert the file to .safetensors:"
            " h2d models convert"
        )
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
        _network(base, name)
    words = _part(base, "tokenizer")
    if not any((words / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise UserError(f"{words}: vocab.json is missing: the tokenizer is not whole: get it again")


def check_network(folder: Path) -> None:
    """Raise `UserError` unless a network's configuration and weights are there, whole; reads headers alone."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: config.json is missing: it is no network in diffusers' format")
    files = _weight_files(folder)
    if not files and any(folder.glob("*.bin")):
        raise UserError(f"{folder}: pickled weights can run code when they are read: convert them to .safetensors")
    if not files:
        raise UserError(f"{folder}: holds no .safetensors: the weights are missing: get them again")
    for file in files:
        tensor_names(file)


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
        return UNet2DConditionModel.from_pretrained(**stored_weights(_network(base, "unet")))
    return unet_of(base)


def load_vae(base: Path) -> Any:
    """The autoencoder in float32."""
    from diffusers import AutoencoderKL

    check_base(base)
    if base.is_dir():
        return AutoencoderKL.from_pretrained(**stored_weights(_network(base, "vae")))
    return vae_of(base)


def load_text_encoder(base: Path) -> Any:
    """CLIP's text encoder in float32."""
    from transformers import CLIPTextModel

    check_base(base)
    if base.is_file():
        return text_encoder_of(base)
    return CLIPTextModel.from_pretrained(**stored_weights(_network(base, "text_encoder")))


def load_tokenizer(base: Path) -> Any:
    """CLIP's tokenizer, which lies beside a single file."""
    from transformers import CLIPTokenizer

    check_base(base)
    return CLIPTokenizer.from_pretrained(tokenizer_folder(base) if base.is_file() else _part(base, "tokenizer"))


def load_scheduler(base: Path, *, as_is: bool = False) -> Any:
    """The noise levels of the checkpoint as a DDPM scheduler; those of Stable Diffusion where it states none.

    `as_is` gives the checkpoint's own DDIM scheduler, with the spacing of its steps.
    """
    from diffusers import DDIMScheduler, DDPMScheduler

    if (base / "scheduler" / "scheduler_config.json").is_file():
        if as_is:
            return DDIMScheduler.from_pretrained(base / "scheduler")
        return DDPMScheduler.from_pretrained(base / "scheduler")
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)


def cell_px(base: Path) -> int:
    """Pixels of the picture to a cell of the latent, a side: 8 in Stable Diffusion."""
    if base.is_file():
        return CELL_PX
    return cell_px_of(read_config(base, "vae"))


def cell_px_of(vae_config: Mapping[str, Any]) -> int:
    """The same, by the configuration of an `AutoencoderKL`: every block but the last halves."""
    return int(2 ** (len(vae_config["block_out_channels"]) - 1))


def read_config(base: Path, name: str) -> dict[str, Any]:
    """The configuration of a part of a folder in diffusers' format; the part's weights need not be there."""
    check_base(base)
    file = base / name / "config.json"
    if not file.is_file():
        raise UserError(f"{file}: no such file: {base} is not a checkpoint in diffusers' format")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def stored_weights(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` is told of one network's folder, to give it in float32.

    Some checkpoints are published in half precision only, by another name.
    """
    half_only = any(".fp16" in file.name for file in _weight_files(folder))
    variant = {"variant": "fp16"} if half_only else {}
    return {"pretrained_model_name_or_path": folder, "use_safetensors": True, "torch_dtype": torch.float32, **variant}


def _weight_files(folder: Path) -> list[Path]:
    """Those of full precision, else those of half; `non_ema` and other variants count for nothing."""
    plain = [file for file in folder.glob("*.safetensors") if "." not in file.stem]
    return plain or list(folder.glob("*.fp16*.safetensors"))


def _part(base: Path, name: str) -> Path:
    folder = base / name
    if not folder.is_dir():
        raise UserError(f"{base}: the folder {name} is missing: it is not a whole checkpoint in diffusers' format")
    return folder


def _network(base: Path, name: str) -> Path:
    folder = _part(base, name)
    check_network(folder)
    return folder
