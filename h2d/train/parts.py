"""What both stages do alike: find the base, read text and latents, and sample a preview.

Axis legend: b batch, c channels, l k latent size, h w picture size, t text tokens, d text width.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from h2d.models.tiny import write_tiny
from h2d.models.weights import locate, models_folder
from h2d.train.batches import to_picture
from h2d.train.checkpoints import newest
from h2d.train.stage import Networks

TINY: Final = "tiny"
"""Stands for the miniature with random weights, which is written where models lie."""

NUM_PREVIEW_STEPS: Final = 20


def base_folder(base: str, *, in_channels: int) -> Path:
    """Where the checkpoint of a name or a path is; raises `UserError` when it is not on this machine.

    A run's own folder stands for the model of its last checkpoint.
    """
    if base == TINY:
        return _tiny_folder(in_channels)
    last = newest(Path(base))
    if last is not None:
        return last / "model"
    if Path(base).exists() or os.sep in base:
        return Path(base)
    return locate(base)


def caption_tokens(tokenizer: Any, caption: str | None) -> Int[Tensor, "t"]:
    """The tokens of a caption, padded; of the empty text where there is none."""
    length = tokenizer.model_max_length
    tokens = tokenizer(caption or "", padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: Tensor = tokens.input_ids[0]
    return ids


def shrink_mask(mask: Bool[np.ndarray, "h w"], size_px: int) -> Bool[np.ndarray, "h2 w2"]:
    """The mask at the size of the training picture: a pixel belongs to it when it covers half."""
    if mask.shape == (size_px, size_px):
        return mask
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:
        return shrink_mask(mask.T, size_px).T
    levels = mask.view(np.uint8) * np.uint8(255)
    covered = cv2.resize(levels, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(covered >= 128)


@torch.no_grad()
def encode_text(text_encoder: Any, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
    """CLIP's last hidden state."""
    state: Tensor = text_encoder(tokens)[0]
    return state


@torch.no_grad()
def posterior_of(vae: Any, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 4 l k"]:
    """Mean and standard deviation of the autoencoder's posterior, scaled: all that is to be kept of a picture."""
    posterior = vae.encode(pictures.to(vae.dtype)).latent_dist
    scaled: Tensor = torch.stack((posterior.mean, posterior.std), dim=1).float() * vae.config.scaling_factor
    return scaled


def drawn_latents(
    posterior: Float[Tensor, "b 2 4 l k"], posterior_noise: Float[Tensor, "b 4 l k"]
) -> Float[Tensor, "b 4 l k"]:
    """A sample of it."""
    return posterior[:, 0] + posterior[:, 1] * posterior_noise


def save_base(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write a whole base: `StableDiffusionPipeline.from_pretrained` of diffusers reads it."""
    for name, part in parts.items():
        kind = {"safe_serialization": True} if name in ("unet", "vae", "text_encoder") else {}
        part.save_pretrained(folder / name, **kind)
    classes = {name: [type(part).__module__.split(".")[0], type(part).__name__] for name, part in parts.items()}
    absent = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    index = {"_class_name": "StableDiffusionPipeline", **classes, **absent}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


@torch.no_grad()
def decode_latents(vae: Any, latents: Float[Tensor, "b 4 l k"]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures of scaled latents."""
    decoded = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    return [to_picture(picture.float().cpu()) for picture in decoded]


@torch.no_grad()
def sample_ddim(
    scheduler: Any, noise: Float[Tensor, "b 4 l k"], predict: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "b 4 l k"]:
    """A few DDIM steps without guidance; `predict` gives the network's word on latents and timesteps."""
    from diffusers import DDIMScheduler

    ddim = DDIMScheduler.from_config(scheduler.config)
    ddim.set_timesteps(NUM_PREVIEW_STEPS)
    latents = noise
    for timestep in ddim.timesteps:
        timesteps = torch.full((len(latents),), int(timestep), device=latents.device)
        latents = ddim.step(predict(latents, timesteps).float(), timestep, latents).prev_sample
    return latents


def grey_picture(values: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Values of 0..1 as a grey picture."""
    levels = (values.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return np.repeat(levels[..., None], 3, axis=2)


def _tiny_folder(in_channels: int) -> Path:
    folder = models_folder() / f"tiny-{in_channels}"
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        write_tiny(partial, in_channels=in_channels)
        try:
            partial.replace(folder)
        except OSError:  # another process of the run was faster, with the same weights
            if not folder.is_dir():
                raise
            shutil.rmtree(partial)
    return folder


def use_plain_attention(networks: Networks) -> None:
    """Write attention out as products.

    On a CPU torch's fused one takes 1.4 to 6 times as long in bfloat16 for up to 256 positions, where it cannot use the
    products' own instructions. In float32 it takes a third to nine tenths of the time.
    """
    from diffusers.models.attention_processor import AttnProcessor

    for network in (*networks.trained.modules(), *networks.frozen.modules()):
        change: Any = getattr(network, "set_attn_processor", None)
        if change is not None:
            change(AttnProcessor())
