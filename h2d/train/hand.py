"""The hand generator's stage: hand crops, their keypoints and masks (III-A, III-B, IV-B).

Axis legend: b batch, h w picture size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from h2d.config import config
from h2d.errors import UserError
from h2d.manifests.masks import DEFAULT_DILATION, read_mask
from h2d.models.base import (
    cell_px,
    check_parts,
    check_text_to_image,
    load_scheduler,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
)
from h2d.models.checkpoint import write_facts
from h2d.models.conditioning import SIGMA_PX, WristRule, flip_hands, hand_condition
from h2d.models.diffusion import add_noise, mask_loss, noise_loss, target
from h2d.models.hand_generator import HandGenerator, Init, build_hand_generator, check_init
from h2d.models.mask_head import Reading
from h2d.train.base_folder import base_folder
from h2d.train.batches import decode_square, draw_noise, mask_plane, planes, shift_colours, shrink_mask, to_picture
from h2d.train.latents import drawn_latents, posterior_of
from h2d.train.previewing import decode_latents, grey_picture, sample_ddim
from h2d.train.stage import Batch, Example, Losses, Networks, Preset, Row
from h2d.train.text import caption_tokens, encode_text

CROP_PX: Final = 512
"""The size of the stored crops, in whose pixels their points are."""


@config
class HandOptions:
    """The paper's values where it states one."""

    base: str = "stable-diffusion-1.5"
    """A text-to-image checkpoint by name or path; `tiny` for the miniature."""
    conv_in_init: Init = "random"
    mask_reading: Reading = "literal_resize"
    mask_channels: tuple[int, ...] = (128, 64, 32)
    mask_weight: float = 0.5
    mask_drop: float = 0.5
    """How often a sample is shown no mask."""
    caption_dropout: float = 0.1
    augment: bool = True
    """Shift each of R, G and B, brightness and contrast, at random."""
    flip: float = 0.0
    """How often a crop is mirrored; its hands swap sides."""
    sigma_px: float = SIGMA_PX
    wrist: WristRule = "all"
    dilation_px: int = DEFAULT_DILATION

    def __post_init__(self) -> None:
        check_init(self.conv_in_init)


@dataclass(frozen=True, kw_only=True, slots=True)
class HandExamples:
    """Makes an example of a row of `hands`."""

    options: HandOptions
    size_px: int
    latent_size: int
    tokenizer: Any

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        """Decode, augment, drop; the same count of random numbers whatever happens."""
        return self.varied(self.fixed(row, random.spawn(1)[0] if training else None), random, training=training)

    def fixed(self, row: Row, colours: np.random.Generator | None) -> Example:
        """What stays the same of a row; colours shifted if a generator is given."""
        picture = planes(decode_square(row["image"], self.size_px))
        if colours is not None and self.options.augment:
            picture = shift_colours(picture, colours)
        mask = shrink_mask(read_mask(row["mask"], dilation=self.options.dilation_px), self.size_px)
        hands = np.stack([row["keypoints_left"], row["keypoints_right"]]).astype(np.float32)
        hands[..., :2] *= self.size_px / CROP_PX
        return {
            "image": torch.from_numpy(picture),
            "mask": mask_plane(mask),
            "hands": torch.from_numpy(hands),
            "tokens": caption_tokens(self.tokenizer, row["caption"]),
        }

    def varied(self, example: Example, random: np.random.Generator, *, training: bool) -> Example:
        """Noise, and the mask and the caption dropped, or the crop mirrored.

        Without `training` no mask is shown: sampling has none.
        """
        noise = draw_noise(random, latent_size=self.latent_size)
        mask_dropped, caption_dropped, flipped = random.uniform(size=3) < (
            self.options.mask_drop,
            self.options.caption_dropout,
            self.options.flip,
        )
        example = {**example, "mask_shown": torch.tensor(float(training and not mask_dropped))}
        if training and caption_dropped:
            example["tokens"] = caption_tokens(self.tokenizer, None)
        if training and flipped:
            example["image"], example["mask"] = example["image"].flip(-1), example["mask"].flip(-1)
            example["hands"] = flip_hands(example["hands"][None], width_px=self.size_px)[0]
        return {**example, **noise}


class HandStage:
    """Trains every weight of the U-Net, and the mask head."""

    Options: ClassVar[type] = HandOptions
    preset: ClassVar[Preset] = Preset(
        manifest="manifests/mix_hand", made_by="h2d prepare mix --config configs/mix_hand.yaml", steps=30_000
    )
    table: ClassVar[str] = "hands"
    columns: ClassVar[tuple[str, ...]] = ("id", "image", "keypoints_left", "keypoints_right", "mask", "caption")
    light_columns: ClassVar[tuple[str, ...]] = ("id", "mask_px")
    activation_bytes: ClassVar[tuple[float, float]] = (0.98e9, 0.155e9)
    panels: ClassVar[tuple[str, ...]] = ("pose", "generated hand", "predicted mask", "target")

    def __init__(self, options: HandOptions, *, size_px: int = CROP_PX) -> None:
        self._options = options
        self._size_px = size_px

    @cached_property
    def _base(self) -> Path:
        return base_folder(self._options.base, in_channels=4)

    def usable(self, light: pa.Table) -> Bool[np.ndarray, "n"]:
        """Crops whose hand has a mask."""
        pixels = light["mask_px"].to_numpy(zero_copy_only=False)
        return np.nan_to_num(np.asarray(pixels, np.float64)) > 0

    def check(self) -> None:
        """Find the base, a text-to-image one."""
        check_parts(self._base)
        check_text_to_image(self._base)

    def examples(self) -> HandExamples:
        """With CLIP's tokenizer."""
        return HandExamples(
            options=self._options,
            size_px=self._size_px,
            latent_size=self._size_px // cell_px(self._base),
            tokenizer=load_tokenizer(self._base),
        )

    def build(self, *, seed: int) -> Networks:
        """The base widened, and what it stands on."""
        generator = build_hand_generator(
            load_unet(self._base),
            random=torch.Generator().manual_seed(seed),
            init=self._options.conv_in_init,
            reading=self._options.mask_reading,
            mask_channels=self._options.mask_channels,
            cell_px=cell_px(self._base),
        )
        frozen = {"vae": load_vae(self._base), "text_encoder": load_text_encoder(self._base)}
        return Networks(
            trained=nn.ModuleDict({"generator": generator}),
            frozen=nn.ModuleDict(frozen),
            scheduler=load_scheduler(self._base),
        )

    def check_cache(self) -> None:
        """Raise `UserError` where a crop has other latents from one epoch to the next."""
        if self._options.flip:
            raise UserError("speed.cache_latents: a mirrored crop has other latents: set options.flip=0")
        if self._options.augment:
            raise UserError("speed.cache_latents: shifted colours have other latents: set options.augment=false")

    def encode(self, networks: Networks, example: Batch) -> dict[str, Tensor]:
        """The posteriors of the crops instead of pixels, for the cache."""
        return {"posterior": posterior_of(networks.frozen["vae"], example["image"])}

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        """L_LDM + 0.5 L_mask."""
        known = batch.tensors if "posterior" in batch.tensors else self.encode(networks, batch)
        latents = drawn_latents(known["posterior"], batch["posterior_noise"])
        noisy = add_noise(networks.scheduler, latents, batch["noise"], batch["timesteps"])
        text = encode_text(networks.frozen["text_encoder"], batch["tokens"])
        predicted, mask = networks.trained["generator"](noisy, batch["timesteps"], text, self.condition(batch))
        wanted = target(networks.scheduler, latents, batch["noise"], batch["timesteps"])
        noise = noise_loss(predicted, wanted)
        masks = mask_loss(mask, batch["mask"])
        return Losses(
            total=noise.mean() + self._options.mask_weight * masks.mean(),
            all_parts=(noise + self._options.mask_weight * masks).detach(),
            parts={"noise": noise.detach().mean(), "mask": masks.detach().mean()},
            per_sample=noise.detach(),
            timesteps=batch["timesteps"],
        )

    def other_cases(self, batch: Batch) -> dict[str, Batch]:
        """Shown the true mask, as some samples are in training."""
        return {"mask_shown": batch.changed(mask_shown=torch.ones_like(batch["mask_shown"]))}

    def condition(self, batch: Batch) -> Float[Tensor, "b 11 l k"]:
        """The pose, and the mask of the samples that are shown it."""
        return hand_condition(
            batch["hands"],
            batch["mask"] * batch["mask_shown"][:, None, None, None],
            latent_size=batch["noise"].shape[-1],
            sigma_px=self._options.sigma_px,
            wrist=self._options.wrist,
        )

    def sample(self, networks: Networks, batch: Batch) -> tuple[Float[Tensor, "b 4 l k"], Float[Tensor, "b 1 h w"]]:
        """Latents and the last step's masks of the batch's poses, started from its noise."""
        generator: HandGenerator = networks.trained["generator"]  # type: ignore[assignment]
        text, condition = encode_text(networks.frozen["text_encoder"], batch["tokens"]), self.condition(batch)
        masks: list[Tensor] = []

        def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
            noise, mask = generator(latents, timesteps, text, condition)
            masks[:] = [mask]
            word: Tensor = noise
            return word

        return sample_ddim(networks.scheduler, batch["noise"], predict), masks[0]

    def preview(self, networks: Networks, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """Pose, generated hand, predicted mask, target."""
        latents, masks = self.sample(networks, batch)
        heat = self.condition(batch)[:, :10].amax(dim=1)
        rows = []
        for number, generated in enumerate(decode_latents(networks.frozen["vae"], latents)):
            size = generated.shape[1], generated.shape[0]
            pose = cv2.resize(grey_picture(heat[number]), size, interpolation=cv2.INTER_NEAREST)
            panels = [np.asarray(pose, np.uint8), generated, grey_picture(masks[number, 0])]
            rows.append(np.concatenate([*panels, to_picture(batch["image"][number])], axis=1))
        return np.concatenate(rows)

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        """`unet`, `mask_head`, `scheduler`, and where the frozen parts are."""
        generator: HandGenerator = networks.trained["generator"]  # type: ignore[assignment]
        generator.save_pretrained(folder)
        networks.scheduler.save_pretrained(folder / "scheduler")
        write_facts(folder, {"stage": "hand", "base": str(self._base), **facts})
