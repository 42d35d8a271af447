"""The hand generator: Stable Diffusion's U-Net with 11 more input channels, and a mask head (III-A, III-B).

Axis legend: b batch, l k latent size, h w picture size, t text tokens, d text width.
"""

import re
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn

from h2d.errors import UserError
from h2d.models.base import CELL_PX
from h2d.models.conditioning import NUM_CONDITIONS
from h2d.models.mask_head import MaskHead, Reading
from h2d.models.reading import read_network

Init: TypeAlias = str
"""How the new input weights are drawn: `random` (as the paper), `zero`, or `normal:` and a standard deviation."""

_SPREAD: Final = re.compile(r"normal:\d+\.?\d*(?:e-?\d+)?")


class HandGenerator(nn.Module):
    """Predicts the noise and the hand mask of a noisy latent, given the pose."""

    def __init__(self, unet: UNet2DConditionModel, mask_head: MaskHead) -> None:
        super().__init__()
        self.unet = unet
        self.mask_head = mask_head
        self._features: Tensor | None = None
        # A hook leaves the U-Net plain, so that diffusers can load what is saved.
        unet.up_blocks[-1].register_forward_hook(self._keep_features)

    def forward(
        self,
        noisy_latents: Float[Tensor, "b 4 l k"],
        timesteps: Int[Tensor, "b"],
        text: Float[Tensor, "b t d"],
        condition: Float[Tensor, "b 11 l k"],
    ) -> tuple[Float[Tensor, "b 4 l k"], Float[Tensor, "b 1 h w"]]:
        """The noise (or velocity), and the mask at the picture's size; 0 background, 1 hand, not clamped."""
        joined = torch.cat((noisy_latents, condition), dim=1)
        noise: Tensor = self.unet(joined, timesteps, encoder_hidden_states=text, return_dict=False)[0]
        features, self._features = self._features, None
        assert features is not None
        return noise, self.mask_head(features)

    def _keep_features(self, block: nn.Module, inputs: Any, features: Tensor) -> None:
        self._features = features

    def save_pretrained(self, folder: Path) -> None:
        """Write `unet` and `mask_head` in diffusers' format."""
        self.unet.save_pretrained(folder / "unet", safe_serialization=True)
        self.mask_head.save_pretrained(folder / "mask_head", safe_serialization=True)

    @classmethod
    def from_pretrained(cls, folder: Path) -> "HandGenerator":
        """Read what `save_pretrained` wrote."""
        unet = read_network(UNet2DConditionModel, folder / "unet")
        return cls(unet, read_network(MaskHead, folder / "mask_head"))


def build_hand_generator(
    base: UNet2DConditionModel,
    *,
    random: torch.Generator,
    init: Init = "random",
    reading: Reading = "literal_resize",
    mask_channels: tuple[int, ...] = (128, 64, 32),
    cell_px: int = CELL_PX,
) -> HandGenerator:
    """Widen a text-to-image U-Net in place, and put an untrained mask head on it."""
    if base.config["in_channels"] != 4:
        raise UserError(f"the base U-Net takes {base.config['in_channels']} channels: give a text-to-image one, with 4")
    widen_conv_in(base, 4 + NUM_CONDITIONS, init=init, random=random)
    # torch draws a layer's first weights from its global generator.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(int(torch.randint(2**31, (), generator=random)))
        width = base.config["block_out_channels"][0]
        head = MaskHead(in_channels=width, channels=mask_channels, reading=reading, cell_px=cell_px)
    return HandGenerator(base, head)


def widen_conv_in(unet: UNet2DConditionModel, in_channels: int, *, init: Init, random: torch.Generator) -> None:
    """Give the first convolution more inputs: the weights of the old ones and the bias stay."""
    old = unet.conv_in
    new = nn.Conv2d(in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    with torch.no_grad():
        _draw(new.weight, init, random)
        new.weight[:, : old.in_channels] = old.weight
        assert new.bias is not None
        assert old.bias is not None
        new.bias.copy_(old.bias)
    unet.conv_in = new.to(old.weight.dtype)
    unet.register_to_config(in_channels=in_channels)


def check_init(init: Init) -> None:
    """Raise `UserError` unless new weights can be drawn so."""
    if init not in ("random", "zero") and not _SPREAD.fullmatch(init):
        raise UserError(f"conv_in_init {init!r}: choose random, zero, or normal: and a number, as in normal:0.02")


def _draw(weight: Tensor, init: Init, random: torch.Generator) -> None:
    check_init(init)
    if init == "zero":
        nn.init.zeros_(weight)
    elif init == "random":
        # What torch's own convolutions start with.
        nn.init.kaiming_uniform_(weight, a=5**0.5, generator=random)
    else:
        nn.init.normal_(weight, std=float(init.removeprefix("normal:")), generator=random)
