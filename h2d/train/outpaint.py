"""The body outpainter's stage: whole people, whose hands are cut out and kept (III-C, IV-B).

Axis legend: b batch, h w picture size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float64, UInt8
from torch import Tensor, nn

from h2d.config import config
from h2d.errors import UserError
from h2d.images import decode_rgb
from h2d.manifests.masks import DEFAULT_DILATION, dilate
from h2d.manifests.rle import decode_joined
from h2d.models.base import (
    cell_px,
    check_parts,
    check_text_to_image,
    load_scheduler,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
    unet_channels,
)
from h2d.models.checkpoint import write_facts
from h2d.models.diffusion import LossNorm, add_noise, blend, outside_loss, target
from h2d.models.outpainter import (
    Fill,
    Outpainter,
    canvas_of,
    check_controlnet,
    copy_controlnet,
    kept_cells,
    load_controlnet,
    with_mask_channel,
)
from h2d.pose.draw import Style, control_picture
from h2d.pose.points import moved
from h2d.pose.pose import Pose
from h2d.pose.squares import square_around
from h2d.train.base_folder import base_folder
from h2d.train.batches import draw_noise, mask_plane, planes, shift_colours, shrink_mask, to_picture, to_square
from h2d.train.latents import drawn_latents, posterior_of
from h2d.train.previewing import decode_latents, sample_ddim
from h2d.train.stage import Batch, Example, Losses, Networks, Preset, Row
from h2d.train.text import caption_tokens, encode_text

PICTURE_PX = 512


@config
class OutpaintOptions:
    """Our choices where the paper is silent: all but the ControlNet, the blending and the loss outside the mask."""

    base: str = "sd-1.5-inpainting"
    """A checkpoint whose U-Net stays as it is, by name or path; `tiny` for the miniature."""
    controlnet: str = "control-openpose-1.1"
    """A ControlNet by name or path, or a run of this stage; `copy:` and a text-to-image base makes a new one of its
    U-Net."""
    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    """Of a new ControlNet: the widths at which the skeleton is shrunk. ControlNet's own."""
    control_mask: bool = False
    """Show the ControlNet the mask beside the skeleton."""
    in_channels: int = 9
    """Of the base's U-Net: 9 for an inpainting model, or 4."""
    caption_dropout: float = 0.1
    augment: bool = False
    """Shift colours as for the hand generator; the paper says so of that one alone."""
    canvas_fill: Fill = "grey"
    loss_norm: LossNorm = "masked_mean"
    skeleton: Style = "v1.1"
    dilation_px: int = DEFAULT_DILATION
    keep: Literal["hands", "nothing"] = "hands"
    """`nothing` trains an ordinary ControlNet on whole pictures, the single-stage method of the comparison."""
    min_mask_px: int = 2500
    """People whose hands are smaller are left out (IV-B); pixels of the working picture."""

    def __post_init__(self) -> None:
        if self.in_channels not in (4, 9):
            raise ValueError(f"in_channels must be 4 or 9, got {self.in_channels}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutpaintExamples:
    """Makes an example of a row of `images`: the largest square around the person."""

    options: OutpaintOptions
    size_px: int
    latent_size: int
    tokenizer: Any

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        """Decode, cut, draw the skeleton; the same count of random numbers whatever happens."""
        return self.varied(self.fixed(row, random.spawn(1)[0] if training else None), random, training=training)

    def fixed(self, row: Row, colours: np.random.Generator | None) -> Example:
        """What stays the same of a row; colours shifted if a generator is given."""
        picture = decode_rgb(row["image"])
        left, top, side = square_around(row["body"], (picture.shape[0], picture.shape[1]))
        window = slice(top, top + side), slice(left, left + side)
        square = planes(to_square(picture[window], self.size_px))
        if colours is not None and self.options.augment:
            square = shift_colours(square, colours)
        points = moved(row["body"], scale=self.size_px / side, shift=(-left, -top))
        pose = Pose(people=points[None], width=self.size_px, height=self.size_px)
        skeleton = control_picture(pose, style=self.options.skeleton)
        return {
            "image": torch.from_numpy(square),
            "mask": mask_plane(self._kept(row, window)),
            "skeleton": torch.from_numpy(planes(skeleton)),
            "tokens": caption_tokens(self.tokenizer, row["caption"]),
        }

    def _kept(self, row: Row, window: tuple[slice, slice]) -> Bool[np.ndarray, "h w"]:
        """Both hands' mask within the window; `usable` has seen that one is there."""
        if self.options.keep == "nothing":
            return np.zeros((self.size_px, self.size_px), bool)
        mask = decode_joined([row[name] for name in ("mask_left", "mask_right") if row[name] is not None])
        # COCO's masks lie column by column: cut and changed lying on their side, they need no copy.
        grown = dilate(mask.T[window[::-1]], self.options.dilation_px)
        return shrink_mask(grown, self.size_px).T

    def varied(self, example: Example, random: np.random.Generator, *, training: bool) -> Example:
        """Noise, and the caption dropped."""
        noise = draw_noise(random, latent_size=self.latent_size)
        if random.uniform() < self.options.caption_dropout and training:
            example = {**example, "tokens": caption_tokens(self.tokenizer, None)}
        return {**example, **noise}


class OutpaintStage:
    """Trains the ControlNet alone."""

    Options: ClassVar[type] = OutpaintOptions
    preset: ClassVar[Preset] = Preset(manifest="manifests/laion-human", made_by="h2d prepare laion-human", steps=6_000)
    table: ClassVar[str] = "images"
    columns: ClassVar[tuple[str, ...]] = ("id", "image", "body", "mask_left", "mask_right", "caption")
    light_columns: ClassVar[tuple[str, ...]] = ("id", "persons", "mask_left_px", "mask_right_px")
    activation_bytes: ClassVar[tuple[float, float]] = (0.93e9, 0.155e9)
    panels: ClassVar[tuple[str, ...]] = ("skeleton", "canvas", "generated person", "target")

    def __init__(self, options: OutpaintOptions, *, size_px: int = PICTURE_PX) -> None:
        self._options = options
        self._size_px = size_px

    @cached_property
    def _base(self) -> Path:
        return base_folder(self._options.base, in_channels=self._options.in_channels)

    @property
    def _copied(self) -> str | None:
        """The base that a new ControlNet is made of."""
        kind, _, base = self._options.controlnet.partition(":")
        return base if kind == "copy" else None

    @cached_property
    def _controlnet(self) -> Path:
        folder = base_folder(self._options.controlnet, in_channels=self._options.in_channels)
        inside = folder / "controlnet"  # of a run of this stage, or of the miniature with random weights
        return inside if inside.is_dir() else folder

    def usable(self, light: pa.Table) -> Bool[np.ndarray, "n"]:
        """One person, with hands that are large enough."""
        alone = np.asarray(light["persons"].to_numpy() == 1, bool)
        return alone & (num_hand_px(light) >= max(1, self._options.min_mask_px))

    def check(self) -> None:
        """Find the base and the ControlNet, and see that they fit."""
        check_parts(self._base)
        channels = unet_channels(self._base)
        if channels != self._options.in_channels:
            raise UserError(
                f"{self._base}: its U-Net takes {channels} channels, "
                f"not in_channels = {self._options.in_channels}: set options.in_channels"
            )
        cell, widths = cell_px(self._base), self._options.hint_channels
        if self._copied and 2 ** (len(widths) - 1) != cell:
            raise UserError(
                f"options.hint_channels: {len(widths)} widths halve the skeleton {len(widths) - 1} times, but a cell of"
                f" {self._base} is {cell} pixels wide: give {cell.bit_length()} widths"
            )
        if not self._copied:
            check_controlnet(self._controlnet)
            return
        copied = base_folder(self._copied, in_channels=4)
        check_parts(copied)
        check_text_to_image(copied)

    def examples(self) -> OutpaintExamples:
        """With CLIP's tokenizer."""
        return OutpaintExamples(
            options=self._options,
            size_px=self._size_px,
            latent_size=self._size_px // cell_px(self._base),
            tokenizer=load_tokenizer(self._base),
        )

    def build(self, *, seed: int) -> Networks:
        """The ControlNet, and the frozen base; only a new ControlNet's first layers are drawn."""
        unet = load_unet(self._base)
        if self._copied:
            base = load_unet(base_folder(self._copied, in_channels=4))
            controlnet = copy_controlnet(base, hint_channels=self._options.hint_channels, seed=seed)
            controlnet = with_mask_channel(controlnet) if self._options.control_mask else controlnet
        else:
            controlnet = load_controlnet(self._controlnet, control_mask=self._options.control_mask)
        frozen = {"unet": unet, "vae": load_vae(self._base), "text_encoder": load_text_encoder(self._base)}
        return Networks(
            trained=nn.ModuleDict({"outpainter": Outpainter(controlnet)}),
            frozen=nn.ModuleDict(frozen),
            scheduler=load_scheduler(self._base),
        )

    def check_cache(self) -> None:
        """Raise `UserError` where a picture has other latents from one epoch to the next."""
        if self._options.augment:
            raise UserError("speed.cache_latents: shifted colours have other latents: set options.augment=false")

    def encode(self, networks: Networks, example: Batch) -> dict[str, Tensor]:
        """The posteriors of pictures and canvases instead of pixels, for the cache."""
        canvas = canvas_of(example["image"], example["mask"], fill=self._options.canvas_fill)
        vae = networks.frozen["vae"]
        return {"posterior": posterior_of(vae, example["image"]), "canvas_posterior": posterior_of(vae, canvas)}

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        """The square error outside the mask, of latents blended as in equation (11)."""
        scheduler, steps = networks.scheduler, batch["timesteps"]
        known = batch.tensors if "posterior" in batch.tensors else self.encode(networks, batch)
        latents, canvas = (
            drawn_latents(known[name], batch["posterior_noise"]) for name in ("posterior", "canvas_posterior")
        )
        kept = kept_cells(batch["mask"], batch["noise"].shape[-1])
        noisy = blend(
            kept,
            add_noise(scheduler, canvas, batch["noise"], steps),
            add_noise(scheduler, latents, batch["noise"], steps),
        )
        predicted = self._predict(networks, batch, canvas, noisy, steps)
        wanted = target(scheduler, latents, batch["noise"], steps)
        outside = outside_loss(predicted, wanted, kept, norm=self._options.loss_norm)
        return Losses(
            total=outside.mean(),
            parts={"noise": outside.detach().mean()},
            per_sample=outside.detach(),
            timesteps=steps,
        )

    def preview(self, networks: Networks, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """Skeleton, canvas, generated person, target. The canvas is not blended in: the sampler's work."""
        known = self.encode(networks, batch)
        canvas = drawn_latents(known["canvas_posterior"], batch["posterior_noise"])
        latents = sample_ddim(
            networks.scheduler,
            batch["noise"],
            lambda latents, steps: self._predict(networks, batch, canvas, latents, steps),
        )
        canvases = canvas_of(batch["image"], batch["mask"], fill=self._options.canvas_fill)
        rows = []
        for number, generated in enumerate(decode_latents(networks.frozen["vae"], latents)):
            inputs = (batch["skeleton"][number] * 2 - 1, canvases[number])
            panels = [*(to_picture(panel) for panel in inputs), generated]
            rows.append(np.concatenate([*panels, to_picture(batch["image"][number])], axis=1))
        return np.concatenate(rows)

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        """`controlnet`, `scheduler`, and where the frozen parts are."""
        outpainter: Outpainter = networks.trained["outpainter"]  # type: ignore[assignment]
        outpainter.save_pretrained(folder)
        networks.scheduler.save_pretrained(folder / "scheduler")
        write_facts(folder, {"stage": "outpaint", "base": str(self._base), **facts})

    def _predict(self, networks: Networks, batch: Batch, canvas: Tensor, noisy: Tensor, steps: Tensor) -> Tensor:
        text = encode_text(networks.frozen["text_encoder"], batch["tokens"])
        noise: Tensor = networks.trained["outpainter"](
            networks.frozen["unet"], noisy, steps, text, batch["skeleton"], batch["mask"], canvas
        )
        return noise


def num_hand_px(light: pa.Table) -> Float64[np.ndarray, "n"]:
    """How many pixels of each picture are of hands; 0 where there is no mask."""
    left, right = (
        np.nan_to_num(np.asarray(light[name].to_numpy(zero_copy_only=False), np.float64))
        for name in ("mask_left_px", "mask_right_px")
    )
    return left + right
