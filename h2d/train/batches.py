"""The parts that stages make their examples of: pictures decoded, colours shifted, noise drawn.

Axis legend: h w picture size, c latent channels.
"""

from typing import Final, TypeAlias

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from h2d.images import decode_rgb, resize

LATENT_CHANNELS: Final = 4
NUM_TIMESTEPS: Final = 1000

Planes: TypeAlias = UInt8[np.ndarray, "3 h w"]

_GREY: Final = (0.2989, 0.587, 0.114)
"""Of red, green and blue in a grey: torchvision's."""


def decode_square(image: bytes, size_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """Decode the `image` of a row and resize it to a square; raises `DecodeError`."""
    return to_square(decode_rgb(image), size_px)


def to_square(levels: UInt8[np.ndarray, "h w *c"], size_px: int) -> UInt8[np.ndarray, "h2 w2 *c"]:
    """Resize as `h2d.images.resize`, but bilinearly where shrinking to no less than half.

    Every pixel still counts then. By area it would take a third of a loader's time, to differ by part of a level.
    """
    height, width = levels.shape[:2]
    if max(height, width) <= 2 * size_px and min(height, width) > size_px:
        return np.asarray(cv2.resize(levels, (size_px, size_px), interpolation=cv2.INTER_LINEAR), np.uint8)
    return resize(levels, (size_px, size_px))


def planes(picture: UInt8[np.ndarray, "h w 3"]) -> Planes:
    """A picture as examples hold it: RGB bytes, CHW. A batch of floats would be four times as much to copy."""
    separate = np.empty((3, *picture.shape[:2]), np.uint8)
    cv2.split(picture, list(separate))
    return separate


def shift_colours(
    picture: Planes,
    random: np.random.Generator,
    *,
    shift: float = 20.0,
    brightness: float = 0.2,
    contrast: float = 0.2,
    probability: float = 0.5,
) -> Planes:
    """Add to each of R, G, B up to `shift` of 255, change brightness and contrast, each with `probability`.

    The paper's augmentations (IV-B); the ranges are our choice, and a shift is a whole number. Brightness and contrast
    are torchvision's: a factor of up to 1 +- `brightness`, and one about the mean grey. Each step saturates and rounds:
    floats in between, or tables to look levels up in, would cost most of a loader's time. Draws the same count of
    numbers whatever happens.
    """
    drawn = random.uniform(-1, 1, 5)
    happens = random.uniform(size=3) < probability
    if happens[0]:
        shifts = np.rint(drawn[:3] * shift)
        planes_and_shifts = zip(picture, shifts.tolist(), strict=True)
        picture = np.stack([cv2.add(plane, levels) for plane, levels in planes_and_shifts])
    if happens[1]:
        picture = _scaled(picture, 1 + drawn[3] * brightness)
    if happens[2]:
        grey = sum(weight * cv2.mean(plane)[0] for weight, plane in zip(_GREY, picture, strict=True))
        factor = 1 + drawn[4] * contrast
        picture = _scaled(picture, factor, offset=(1 - factor) * grey)
    return picture


def shrink_mask(mask: Bool[np.ndarray, "h w"], size_px: int) -> Bool[np.ndarray, "h2 w2"]:
    """The mask at the size of the training picture, resized as the picture is: a pixel that it half covers is in it."""
    if mask.shape == (size_px, size_px):
        return mask
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:
        return shrink_mask(mask.T, size_px).T
    return np.asarray(to_square(mask.view(np.uint8) * np.uint8(255), size_px) >= 128)


def mask_plane(mask: Bool[np.ndarray, "h w"]) -> UInt8[Tensor, "1 h w"]:
    """A mask as an example holds it: 0 or 255."""
    rows = mask.view(np.uint8)
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:  # as COCO's masks are; numpy would copy pixel by pixel
        rows = np.asarray(cv2.transpose(rows.T), np.uint8)
    return torch.from_numpy((rows * np.uint8(255))[None])


def _scaled(picture: Planes, factor: float, *, offset: float = 0) -> Planes:
    """Each level times `factor` plus `offset`, rounded, within 0..255."""
    rows = picture.reshape(-1, picture.shape[-1])
    return np.asarray(cv2.addWeighted(rows, factor, rows, 0, offset), np.uint8).reshape(picture.shape)


def as_floats(name: str, tensor: Tensor) -> Tensor:
    """The bytes of an example as the losses take them: `image` in [-1, 1], all others in [0, 1]; floats stay."""
    if tensor.dtype != torch.uint8:
        return tensor
    return tensor.float() / 127.5 - 1 if name == "image" else tensor.float() / 255


def to_picture(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Float CHW in [-1, 1] to RGB uint8 HWC; values outside are clipped."""
    levels = ((image.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).numpy()


def draw_noise(
    random: np.random.Generator, *, latent_size: int, num_timesteps: int = NUM_TIMESTEPS
) -> dict[str, Tensor]:
    """`timesteps`, `noise` to add to the latent, and `posterior_noise` to sample the VAE's latent with."""
    size = (LATENT_CHANNELS, latent_size, latent_size)
    return {
        "timesteps": torch.tensor(int(random.integers(num_timesteps))),
        "noise": torch.from_numpy(random.standard_normal(size, np.float32)),
        "posterior_noise": torch.from_numpy(random.standard_normal(size, np.float32)),
    }
