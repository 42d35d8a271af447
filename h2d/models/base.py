"""The parts of a Stable Diffusion 1.x checkpoint: a folder in diffusers' format, or one .safetensors file."""

import json
from pathlib import Path
from typing import Any

import torch

from h2d.errors import UserError


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


def load_unet(base: Path) -> Any:
    """The U-Net in float32, of any number of input channels."""
    from diffusers import UNet2DConditionModel

    check_base(base)
    if base.is_dir():
        return UNet2DConditionModel.from_pretrained(**_stored(_part(base, "unet")))
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    state = read_state(base)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    if first not in state:
        raise UserError(f"{base}: holds no U-Net of Stable Diffusion 1.x: {first} is missing")
    unet = UNet2DConditionModel(in_channels=state[first].shape[1], sample_size=64, cross_attention_dim=768)
    unet.load_state_dict(convert_ldm_unet_checkpoint(state, dict(unet.config)))
    return unet.float()


def load_vae(base: Path) -> Any:
    """The autoencoder in float32."""
    from diffusers import AutoencoderKL

    check_base(base)
    if base.is_dir():
        return AutoencoderKL.from_pretrained(**_stored(_part(base, "vae")))
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )
    vae.load_state_dict(convert_ldm_vae_checkpoint(read_state(base), dict(vae.config)))
    return vae.float()


def load_text_encoder(base: Path) -> Any:
    """CLIP's text encoder in float32; a single file does not carry it in a form that is read here."""
    from transformers import CLIPTextModel

    return CLIPTextModel.from_pretrained(**_stored(_text_part(base, "text_encoder")))


def load_tokenizer(base: Path) -> Any:
    """CLIP's tokenizer."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(_text_part(base, "tokenizer"))


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


def read_state(file: Path) -> dict[str, Any]:
    """Every tensor of a .safetensors file; raises `UserError` when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise UserError(f"{file}: damaged: {error}: fetch it again") from None


def read_config(base: Path, name: str) -> dict[str, Any]:
    """The configuration of a part of a folder in diffusers' format; the part's weights need not be there."""
    check_base(base)
    file = base / name / "config.json"
    if not file.is_file():
        raise UserError(f"{file}: no such file: {base} is not a whole checkpoint in diffusers' format")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _text_part(base: Path, name: str) -> Path:
    check_base(base)
    if base.is_file():
        raise UserError(f"{base}: a single file holds no {name}: name a diffusers folder for the text")
    return _part(base, name)


def _part(base: Path, name: str) -> Path:
    folder = base / name
    if not folder.is_dir():
        raise UserError(f"{base}: the folder {name} is missing: it is not a whole checkpoint in diffusers' format")
    if not any(folder.glob("*.safetensors")) and any(folder.glob("*.bin")):
        raise UserError(f"{folder}: pickled weights can run code when they are read: convert them to .safetensors")
    return folder


def _stored(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` is told: some checkpoints are published in half precision only, by another name."""
    half_only = any(folder.glob("*.fp16.safetensors")) and not any(
        not file.name.endswith(".fp16.safetensors") for file in folder.glob("*.safetensors")
    )
    variant = {"variant": "fp16"} if half_only else {}
    return {"pretrained_model_name_or_path": folder, "use_safetensors": True, "torch_dtype": torch.float32, **variant}
