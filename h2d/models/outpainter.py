"""The body outpainter: a ControlNet on the skeleton beside a frozen U-Net, the hand kept in its mask (III-C).

Axis legend: b batch, l k latent size, h w picture size, t text tokens, d text width, i input channels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from h2d.models.reading import check_network, read_network, refuse_pickle

Fill: TypeAlias = Literal["grey", "black", "white"]
FILLS: Final[dict[Fill, float]] = {"grey": 0.0, "black": -1.0, "white": 1.0}
"""The canvas around the hands, in [-1, 1]. Grey is what inpainting U-Nets were trained with; the paper is silent."""


class Outpainter(nn.Module):
    """Predicts the noise; its ControlNet learns, the U-Net that it steers is given to every call."""

    def __init__(self, controlnet: ControlNetModel) -> None:
        super().__init__()
        self.controlnet = controlnet

    def forward(
        self,
        unet: UNet2DConditionModel,
        noisy_latents: Float[Tensor, "b 4 l k"],
        timesteps: Int[Tensor, "b"],
        text: Float[Tensor, "b t d"],
        skeleton: Float[Tensor, "b 3 h w"],
        mask: Float[Tensor, "b 1 h w"],
        canvas_latents: Float[Tensor, "b 4 l k"],
    ) -> Float[Tensor, "b 4 l k"]:
        """`skeleton` in 0..1, `mask` 1 at the kept hands; the U-Net takes 4 channels, or 9 of an inpainting model."""
        steered = skeleton
        if self.controlnet.config["conditioning_channels"] == 4:
            steered = torch.cat((skeleton, mask), dim=1)
        down, middle = self.controlnet(
            noisy_latents, timesteps, encoder_hidden_states=text, controlnet_cond=steered, return_dict=False
        )
        joined = noisy_latents
        if unet.config["in_channels"] == 9:
            joined = torch.cat((noisy_latents, 1 - kept_cells(mask, noisy_latents.shape[-2:]), canvas_latents), dim=1)
        noise: Tensor = unet(
            joined,
            timesteps,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return noise

    def save_pretrained(self, folder: Path) -> None:
        """Write `controlnet` in diffusers' format."""
        self.controlnet.save_pretrained(folder / "controlnet", safe_serialization=True)

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Outpainter":
        """Read what `save_pretrained` wrote."""
        return cls(load_controlnet(folder / "controlnet"))


def kept_cells(mask: Float[Tensor, "b 1 h w"], latent_size: Sequence[int] | int) -> Float[Tensor, "b 1 l k"]:
    """The mask at the latent's size, 0 or 1 where the picture's is."""
    return functional.interpolate(mask, size=latent_size, mode="nearest")


def canvas_of(
    picture: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"], *, fill: Fill = "grey"
) -> Float[Tensor, "b 3 h w"]:
    """The hands alone, on a uniform ground."""
    return picture * mask + FILLS[fill] * (1 - mask)


def copy_controlnet(unet: UNet2DConditionModel, *, hint_channels: tuple[int, ...], seed: int) -> ControlNetModel:
    """A ControlNet to begin with: a copy of half of a text-to-image U-Net, whose word counts for nothing yet.

    `hint_channels` are the widths at which the skeleton is shrunk to the latent's size, one more than it is halved:
    four where cells are 8 pixels wide.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        controlnet: ControlNetModel = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hint_channels)
    return controlnet


def check_controlnet(folder: Path) -> None:
    """Raise `UserError` unless a ControlNet's configuration and weights are there, whole; reads headers alone."""
    refuse_pickle(folder)
    check_network(folder)


def load_controlnet(folder: Path, *, control_mask: bool = False) -> ControlNetModel:
    """Any ControlNet of Stable Diffusion 1.x; `control_mask` adds the mask to what it is shown, from zero weights."""
    controlnet: ControlNetModel = read_network(ControlNetModel, folder)
    return with_mask_channel(controlnet) if control_mask else controlnet


def with_mask_channel(controlnet: ControlNetModel) -> ControlNetModel:
    """Shown the mask beside the skeleton, from zero weights; one that is shown it already stays as it is."""
    if controlnet.config["conditioning_channels"] == 3:
        embedding = controlnet.controlnet_cond_embedding
        old = embedding.conv_in
        new = nn.Conv2d(4, old.out_channels, old.kernel_size, old.stride, old.padding)
        with torch.no_grad():
            new.weight.zero_()
            new.weight[:, :3] = old.weight
            assert new.bias is not None
            new.bias.copy_(old.bias)
        embedding.conv_in = new
        controlnet.register_to_config(conditioning_channels=4)
    return controlnet
