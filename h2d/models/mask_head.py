"""The branch that predicts the hand's mask beside the noise (III-B).

The paper asks for four doublings of the U-Net's last features and an output of the picture's size; at 64 x 64 cells
of 8 pixels these exclude each other. The three readings are switches.
Axis legend: b batch, c channels, l k latent size, h w picture size.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from h2d.models.base import CELL_PX

Reading: TypeAlias = Literal["literal_resize", "pool32", "x8"]
"""`literal_resize`: four doublings, then a resize. `pool32`: halve the features first. `x8`: three doublings (as many
as `channels`, where cells are not 8 pixels wide) and one layer of stride 1. The default is our choice: it keeps the
count, the kernel, the stride and the size."""


class MaskHead(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Transposed convolutions of 2 x 2, stride 2, SiLU between them.

    Gives a value a pixel, trained towards 0 and 1 by mean square error; nothing keeps it in that range.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        in_channels: int = 320,
        channels: Sequence[int] = (128, 64, 32),
        reading: Reading = "literal_resize",
        cell_px: int = CELL_PX,
    ) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        layers: list[nn.Module] = []
        for narrow, wide in zip(widths[1:], widths[:-1], strict=True):
            layers += [nn.ConvTranspose2d(wide, narrow, 2, stride=2), nn.SiLU()]
        last = nn.Conv2d(widths[-1], 1, 1) if reading == "x8" else nn.ConvTranspose2d(widths[-1], 1, 2, stride=2)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, features: Float[Tensor, "b c l k"]) -> Float[Tensor, "b 1 h w"]:
        """Map the features of the last U-Net block to the mask at the picture's size, `cell_px` times theirs."""
        cell = self.config["cell_px"]
        size = (features.shape[-2] * cell, features.shape[-1] * cell)
        if self.config["reading"] == "pool32":
            features = functional.avg_pool2d(features, 2)
        mask: Tensor = self.layers(features)
        if mask.shape[-2:] == size:
            return mask
        # In float32: torch has no antialiased resize of bfloat16 on a CPU.
        return functional.interpolate(mask.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
