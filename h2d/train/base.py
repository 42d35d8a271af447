"""The base's stage, for the miniature: a text-to-image U-Net and its text encoder, or an inpainting one made of them.

Axis legend: b batch, h w picture size, l k latent size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from h2d.config import config
from h2d.models.base import (
    cell_px,
    check_base,
    load_scheduler,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
    save_base,
)
from h2d.models.checkpoint import write_facts
from h2d.models.diffusion import add_noise, noise_loss, target
from h2d.models.hand_generator import widen_conv_in
from h2d.models.outpainter import canvas_of, kept_cells
from h2d.train.base_folder import TINY, base_folder
from h2d.train.batches import to_picture
from h2d.train.latents import drawn_latents, posterior_of
from h2d.train.outpaint import OutpaintExamples, OutpaintOptions, num_hand_px
from h2d.train.previewing import decode_latents, sample_ddim
from h2d.train.stage import Batch, Example, Losses, Networks, Preset, Row


@config
class BaseOptions:
    """Our choices: the paper starts from Stable Diffusion."""

    base: str = TINY
    """A folder in diffusers' format with a U-Net of 4 channels."""
    in_channels: int = 4
    """9 makes an inpainting U-Net of it, shown the hands in half of the samples and nothing in the others."""
    train_text: bool = True
    """The text encoder learns too; an inpainting U-Net leaves it as it is."""
    caption_dropout: float = 0.1
    dilation_px: int = 5

    def __post_init__(self) -> None:
        if self.in_channels not in (4, 9):
            raise ValueError(f"in_channels must be 4 or 9, got {self.in_channels}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseExamples:
    """The outpainter's examples without a skeleton, some of them with nothing to keep."""

    outpaint: OutpaintExamples

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        """Decode, cut, drop."""
        return self.varied(self.fixed(row, random.spawn(1)[0] if training else None), random, training=training)

    def fixed(self, row: Row, colours: np.random.Generator | None) -> Example:
        """What stays the same of a row; colours shifted if a generator is given."""
        example = self.outpaint.fixed(row, colours)
        del example["skeleton"]
        return example

    def varied(self, example: Example, random: np.random.Generator, *, training: bool) -> Example:
        """Noise, and the caption and the mask dropped."""
        shown = torch.tensor(float(random.uniform() < 0.5) if training else 0.0)
        return {**self.outpaint.varied(example, random, training=training), "mask_shown": shown}


class BaseStage:
    """Trains the U-Net, and the text encoder with it."""

    Options: ClassVar[type] = BaseOptions
    preset: ClassVar[Preset] = Preset(
        manifest="manifests/miniature", made_by="h2d synth manifest --out manifests/miniature", steps=10_000
    )
    table: ClassVar[str] = "images"
    columns: ClassVar[tuple[str, ...]] = ("id", "image", "body", "mask_left", "mask_right", "caption")
    light_columns: ClassVar[tuple[str, ...]] = ("id", "persons", "mask_left_px", "mask_right_px")
    activation_bytes: ClassVar[tuple[float, float]] = (0.98e9, 0.155e9)
    panels: ClassVar[tuple[str, ...]] = ("generated from the words", "the picture that they are of")

    def __init__(self, options: BaseOptions, *, size_px: int = 512) -> None:
        self._options = options
        self._size_px = size_px

    @cached_property
    def _base(self) -> Path:
        return base_folder(self._options.base, in_channels=4)

    def usable(self, light: pa.Table) -> Bool[np.ndarray, "n"]:
        """People with a hand that has a mask."""
        return num_hand_px(light) > 0

    def check(self) -> None:
        """Find the base."""
        check_base(self._base)

    def examples(self) -> BaseExamples:
        """With CLIP's tokenizer."""
        options = OutpaintOptions(
            caption_dropout=self._options.caption_dropout, dilation_px=self._options.dilation_px, min_mask_px=0
        )
        return BaseExamples(
            outpaint=OutpaintExamples(
                options=options,
                size_px=self._size_px,
                latent_size=self._size_px // cell_px(self._base),
                tokenizer=load_tokenizer(self._base),
            )
        )

    def build(self, *, seed: int) -> Networks:
        """The base's own parts; an inpainting U-Net's new weights are zero."""
        unet, text_encoder = load_unet(self._base), load_text_encoder(self._base)
        if unet.config["in_channels"] < self._options.in_channels:
            random = torch.Generator().manual_seed(seed)
            widen_conv_in(unet, self._options.in_channels, init="zero", random=random)
        trained = {"unet": unet, **({"text_encoder": text_encoder} if self._trains_text else {})}
        frozen = {"vae": load_vae(self._base), **({} if self._trains_text else {"text_encoder": text_encoder})}
        return Networks(
            trained=nn.ModuleDict(trained), frozen=nn.ModuleDict(frozen), scheduler=load_scheduler(self._base)
        )

    @property
    def _trains_text(self) -> bool:
        return self._options.train_text and self._options.in_channels == 4

    def check_cache(self) -> None:
        """Nothing is refused: colours are left alone."""

    def encode(self, networks: Networks, example: Batch) -> dict[str, Tensor]:
        """The posteriors of pictures and canvases instead of pixels, for the cache."""
        vae = networks.frozen["vae"]
        encoded = {"posterior": posterior_of(vae, example["image"])}
        if self._options.in_channels == 9:
            encoded["canvas_posterior"] = posterior_of(vae, canvas_of(example["image"], example["mask"]))
            encoded["empty_posterior"] = posterior_of(vae, torch.zeros_like(example["image"]))
        return encoded

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        """L_LDM."""
        known = self._latents(networks, batch)
        noisy = add_noise(networks.scheduler, known.picture, batch["noise"], batch["timesteps"])
        predicted = self._predict(networks, batch, known.canvas, noisy, batch["timesteps"])
        wanted = target(networks.scheduler, known.picture, batch["noise"], batch["timesteps"])
        losses = noise_loss(predicted, wanted)
        return Losses(
            total=losses.mean(),
            parts={"noise": losses.detach().mean()},
            per_sample=losses.detach(),
            timesteps=batch["timesteps"],
        )

    def other_cases(self, batch: Batch) -> dict[str, Batch]:
        """An inpainting U-Net shown the hands, as the outpainter's base is."""
        shown = batch.changed(mask_shown=torch.ones_like(batch["mask_shown"]))
        return {"hands_shown": shown} if self._options.in_channels == 9 else {}

    def preview(self, networks: Networks, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """What is generated from the words, beside the picture that they are of."""
        canvas = self._latents(networks, batch).canvas
        latents = sample_ddim(
            networks.scheduler,
            batch["noise"],
            lambda latents, steps: self._predict(networks, batch, canvas, latents, steps),
        )
        rows = [
            np.concatenate([generated, to_picture(batch["image"][number])], axis=1)
            for number, generated in enumerate(decode_latents(networks.frozen["vae"], latents))
        ]
        return np.concatenate(rows)

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        """A whole base, which any stage can start from; what is frozen as it was read, not rounded as it is used."""
        text_encoder = networks.trained["text_encoder"] if self._trains_text else load_text_encoder(self._base)
        save_base(
            folder,
            {
                "vae": load_vae(self._base),
                "unet": networks.trained["unet"],
                "text_encoder": text_encoder,
                "tokenizer": load_tokenizer(self._base),
                "scheduler": load_scheduler(self._base, as_is=True),
            },
        )
        write_facts(folder, {"stage": "base", "base": str(self._base), **facts})

    def _latents(self, networks: Networks, batch: Batch) -> "_Latents":
        known = batch.tensors if "posterior" in batch.tensors else self.encode(networks, batch)
        picture = drawn_latents(known["posterior"], batch["posterior_noise"])
        if self._options.in_channels == 4:
            return _Latents(picture=picture, canvas=None)
        with_hands, empty = (
            drawn_latents(known[name], batch["posterior_noise"]) for name in ("canvas_posterior", "empty_posterior")
        )
        return _Latents(picture=picture, canvas=torch.where(_shown(batch) > 0, with_hands, empty))

    def _predict(self, networks: Networks, batch: Batch, canvas: Tensor | None, noisy: Tensor, steps: Tensor) -> Tensor:
        text_encoder: Any = (networks.trained if self._trains_text else networks.frozen)["text_encoder"]
        text = text_encoder(batch["tokens"])[0]
        if canvas is not None:
            kept = kept_cells(batch["mask"].float(), batch["noise"].shape[-1]) * _shown(batch)
            noisy = torch.cat((noisy, 1 - kept, canvas), dim=1)
        noise: Tensor = networks.trained["unet"](noisy, steps, encoder_hidden_states=text, return_dict=False)[0]
        return noise


@dataclass(frozen=True, kw_only=True, slots=True)
class _Latents:
    picture: Float[Tensor, "b 4 l k"]
    canvas: Float[Tensor, "b 4 l k"] | None
    """What an inpainting U-Net is shown: the hands, or nothing."""


def _shown(batch: Batch) -> Float[Tensor, "b 1 1 1"]:
    return batch["mask_shown"].view(-1, 1, 1, 1)
