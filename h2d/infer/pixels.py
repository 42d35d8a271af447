"""Pictures of files and tables to those of networks, and back: RGB uint8 HWC and float BCHW in [-1, 1].

Axis legend: b pictures, h height, w width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


def to_networks(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "b 3 h w"]:
    """Float32 on the CPU."""
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pictures(images: Float[Tensor, "b 3 h w"]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Values outside [-1, 1] are clipped."""
    levels = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())


def mask_to_networks(masks: Bool[np.ndarray, "b h w"]) -> Float[Tensor, "b 1 h w"]:
    """0 or 1, float32 on the CPU."""
    return torch.from_numpy(masks.astype(np.float32))[:, None]
