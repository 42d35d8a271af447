"""The autoencoder's stage, for the miniature: windows of whole pictures, near and far.

Latents are held at mean 0 and spread 1 by the loss, so that the scale is 1. Axis legend: b batch, h w picture size,
c latent channels, l k latent size.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from h2d.config import config
from h2d.images import decode_rgb, resize
from h2d.models.base import (
    cell_px,
    check_parts,
    load_scheduler,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
    save_base,
)
from h2d.models.checkpoint import write_facts
from h2d.pose.layouts import HANDS
from h2d.pose.points import extent_xywh, present
from h2d.train.base_folder import TINY, base_folder
from h2d.train.batches import draw_noise, planes, to_picture
from h2d.train.stage import Batch, Example, Losses, Networks, Preset, Row

LATENT_NOISE: Final = 0.05
"""Standard deviation of the noise on the latents, whose own is 1."""


@config
class VaeOptions:
    """Our choices: the paper trains no autoencoder."""

    base: str = TINY
    """A folder in diffusers' format, whose autoencoder is trained."""
    nearest: float = 0.25
    """Side of the smallest window, in sides of the picture."""
    farthest: float = 1.0
    """Side of the largest: with `size_px` over it, the size at which whole pictures are seen."""
    hand_share: float = 0.6
    """How often a window is laid around a hand."""
    edge_weight: float = 1.0
    """Of the difference between neighbouring pixels, without which small decoders blur."""
    colour_weight: float = 1.0
    """Of the difference between means of 8 x 8 pixels, which the eye sees first and a mean over pixels last."""
    moment_weight: float = 0.05
    train_encoder: bool = True
    """False trains the decoder alone: latents stay as they are, and networks that were trained on them fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VaeExamples:
    """Makes a square window of a row of `images`."""

    options: VaeOptions
    size_px: int
    latent_size: int

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        """Half of the windows are mirrored; without `training`, the largest square in the middle."""
        noise = draw_noise(random, latent_size=self.latent_size)
        picture = decode_rgb(row["image"])
        shorter = min(picture.shape[:2])
        near, on_hand, mirrored, *place = random.uniform(size=5)
        side = round(shorter * self._share(near)) if training else shorter
        middle = np.array([picture.shape[1], picture.shape[0]]) / 2
        spread = (np.array(place) - 0.5) * (np.array([picture.shape[1], picture.shape[0]]) - side)
        hands = [row["body"][part] for part in HANDS.values() if present(row["body"][part]).any()]
        if training and hands and on_hand < self.options.hand_share:
            x, y, width, height = extent_xywh(hands[int(on_hand * 1e6) % len(hands)])
            middle, spread = np.array([x + width / 2, y + height / 2]), (np.array(place) - 0.5) * side / 2
        if training:
            middle = middle + spread
        left = int(np.clip(middle[0] - side / 2, 0, picture.shape[1] - side))
        top = int(np.clip(middle[1] - side / 2, 0, picture.shape[0] - side))
        window = np.ascontiguousarray(picture[top : top + side, left : left + side])
        if training and mirrored < 0.5:
            window = np.ascontiguousarray(window[:, ::-1])
        return {"image": torch.from_numpy(planes(resize(window, (self.size_px, self.size_px)))), **noise}

    def _share(self, near: float) -> float:
        """Of the picture's side, even in octaves, from `farthest` at 0 to `nearest` at 1."""
        return float(self.options.farthest * (self.options.nearest / self.options.farthest) ** near)


class VaeStage:
    """Trains the autoencoder of a base."""

    Options: ClassVar[type] = VaeOptions
    preset: ClassVar[Preset] = Preset(
        manifest="manifests/miniature", made_by="h2d synth manifest --out manifests/miniature", steps=10_000
    )
    table: ClassVar[str] = "images"
    columns: ClassVar[tuple[str, ...]] = ("id", "image", "body")
    light_columns: ClassVar[tuple[str, ...]] = ("id",)
    activation_bytes: ClassVar[tuple[float, float]] = (4e9, 1e9)
    panels: ClassVar[tuple[str, ...]] = ("picture", "what is left of it")

    def __init__(self, options: VaeOptions, *, size_px: int = 512) -> None:
        self._options = options
        self._size_px = size_px

    @cached_property
    def _base(self) -> Path:
        return base_folder(self._options.base, in_channels=4)

    def usable(self, light: pa.Table) -> Bool[np.ndarray, "n"]:
        """All."""
        return np.ones(len(light), bool)

    def check(self) -> None:
        """Find the base, all of which is saved again with the new autoencoder."""
        check_parts(self._base)

    def examples(self) -> VaeExamples:
        """Windows need no words."""
        latent_size = self._size_px // cell_px(self._base)
        return VaeExamples(options=self._options, size_px=self._size_px, latent_size=latent_size)

    def build(self, *, seed: int) -> Networks:
        """The autoencoder as it is in the base; nothing is drawn."""
        del seed
        vae = load_vae(self._base)
        if not self._options.train_encoder:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        return Networks(trained=nn.ModuleDict({"vae": vae}))

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        """The differences of pixels and of neighbours, and how far the latents are from mean 0 and spread 1."""
        means, decoded = self._round_trip(networks, batch)
        picture, rebuilt = batch["image"].float(), decoded.float()
        pixels = functional.l1_loss(rebuilt, picture, reduction="none").mean(dim=(1, 2, 3))
        edges = sum((rebuilt.diff(dim=axis) - picture.diff(dim=axis)).abs().mean(dim=(1, 2, 3)) for axis in (2, 3))
        assert isinstance(edges, Tensor)
        colours = functional.avg_pool2d(rebuilt - picture, 8).abs().mean()
        moments = _moment_error(means)
        total = (
            pixels.mean()
            + self._options.edge_weight * edges.mean()
            + self._options.colour_weight * colours
            + self._options.moment_weight * moments
        )
        parts = {"pixels": pixels.mean(), "edges": edges.mean(), "colours": colours, "moments": moments}
        return Losses(
            total=total,
            parts={name: part.detach() for name, part in parts.items()},
            per_sample=pixels.detach(),
            timesteps=batch["timesteps"],
        )

    def preview(self, networks: Networks, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The picture, and what is left of it."""
        _, decoded = self._round_trip(networks, batch)
        rows = [
            np.concatenate([to_picture(batch["image"][number]), to_picture(rebuilt)], axis=1)
            for number, rebuilt in enumerate(decoded)
        ]
        return np.concatenate(rows)

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        """The base with its new autoencoder, whose posterior is as wide as the decoder was trained for."""
        vae = networks.trained["vae"]
        set_posterior_std(vae, LATENT_NOISE)
        save_base(
            folder,
            {
                "vae": vae,
                "unet": load_unet(self._base),
                "text_encoder": load_text_encoder(self._base),
                "tokenizer": load_tokenizer(self._base),
                "scheduler": load_scheduler(self._base, as_is=True),
            },
        )
        write_facts(folder, {"stage": "vae", "base": str(self._base), **facts})

    def _round_trip(
        self, networks: Networks, batch: Batch
    ) -> tuple[Float[Tensor, "b c l k"], Float[Tensor, "b 3 h w"]]:
        """Latents and pictures; a little noise on the latents keeps the decoder from leaning on their last digits."""
        vae: Any = networks.trained["vae"]
        means = vae.encode(batch["image"]).latent_dist.mean
        noisy = means + LATENT_NOISE * batch["posterior_noise"] if vae.training else means
        return means, vae.decode(noisy).sample


@torch.no_grad()
def set_posterior_std(vae: Any, std: float) -> None:
    """Give the posterior one standard deviation everywhere: the loss sees means alone and leaves the other half random.

    A random half is a standard deviation near 1, and networks that learn from samples of it learn from noise.
    """
    channels = vae.config.latent_channels
    vae.quant_conv.weight[channels:] = 0
    vae.quant_conv.bias[channels:] = 2 * math.log(std)


def _moment_error(latents: Float[Tensor, "b c l k"]) -> Float[Tensor, ""]:
    """How far every channel is from mean 0 and spread 1."""
    values = latents.float()
    means, spreads = values.mean(dim=(0, 2, 3)), values.std(dim=(0, 2, 3))
    error: Tensor = (means.square() + (spreads - 1).square()).mean()
    return error
