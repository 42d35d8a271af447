"""The parts that stages make their examples of: pictures decoded, colours shifted, noise drawn.

Axis legend: h w picture size, c latent channels.
"""

from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from h2d.images import decode_rgb, resize

LATENT_CHANNELS: Final = 4
LATENT_SCALE: Final = 8
NUM_TIMESTEPS: Final = 1000


def decode_square(image: bytes, size_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """Decode the `image` of a row and resize it to a square; raises `DecodeError`."""
    picture = decode_rgb(image)
    return resize(picture, (size_px, size_px))


def shift_colours(
    picture: UInt8[np.ndarray, "h w 3"],
    random: np.random.Generator,
    *,
    shift: float = 20.0,
    brightness: float = 0.2,
    contrast: float = 0.2,
    probability: float = 0.5,
) -> UInt8[np.ndarray, "h w 3"]:
    """Add to each of R, G, B up to `shift` of 255, change brightness and contrast, each with `probability`.

    The paper's augmentations (IV-B); the ranges are our choice, albumentations' defaults. One table look-up: what three
    passes over floats would cost is most of a loader's time. Draws the same count of numbers whatever happens.
    """
    drawn = random.uniform(-1, 1, 5)
    happens = random.uniform(size=3) < probability
    levels = np.repeat(np.arange(256, dtype=np.float64)[:, None], 3, axis=1)
    if happens[0]:
        levels = levels + drawn[:3] * shift
    if happens[1]:
        levels = levels * (1 + drawn[4] * contrast)
    if happens[2]:
        levels = levels + drawn[3] * brightness * 255
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table[None]), np.uint8)


def planes(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    """A picture as an example holds it: RGB bytes, CHW. A batch of floats would be four times as much to copy."""
    separate = np.empty((3, *picture.shape[:2]), np.uint8)
    cv2.split(picture, list(separate))
    return torch.from_numpy(separate)


def mask_plane(mask: Bool[np.ndarray, "h w"]) -> UInt8[Tensor, "1 h w"]:
    """A mask as an example holds it: 0 or 255."""
    return torch.from_numpy(mask[None].view(np.uint8) * np.uint8(255))


def as_floats(name: str, tensor: Tensor) -> Tensor:
    """The bytes of an example as the losses take them: `image` in [-1, 1], all others in [0, 1]; floats stay."""
    if tensor.dtype != torch.uint8:
        return tensor
    return tensor.float() / 127.5 - 1 if name == "image" else tensor.float() / 255


def to_picture(image: Float32[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Float CHW in [-1, 1] to RGB uint8 HWC; values outside are clipped."""
    levels = ((image.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).numpy()


def draw_noise(random: np.random.Generator, *, size_px: int, num_timesteps: int = NUM_TIMESTEPS) -> dict[str, Tensor]:
    """`timesteps`, `noise` to add to the latent, and `posterior_noise` to sample the VAE's latent with."""
    size = (LATENT_CHANNELS, size_px // LATENT_SCALE, size_px // LATENT_SCALE)
    return {
        "timesteps": torch.tensor(int(random.integers(num_timesteps))),
        "noise": torch.from_numpy(random.standard_normal(size, np.float32)),
        "posterior_noise": torch.from_numpy(random.standard_normal(size, np.float32)),
    }
