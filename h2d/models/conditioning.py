"""What the hand generator is told: ten finger heatmaps and the hand mask, at the size of the latent.

Channels 0-4 are the left hand's thumb to little finger, 5-9 the right hand's, 10 is the mask; sides are the person's.
The paper (III-A) draws at the picture's size and shrinks bilinearly. Shrinking by an even factor reads four pixels of
each cell, so only those are drawn here. Axis legend: b batch, h w picture size, l k latent size.
"""

from typing import Final, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from h2d.pose.layouts import FINGERS, WRIST

WristRule: TypeAlias = Literal["all", "thumb", "none"]
"""Which fingers the wrist belongs to. The paper is silent; the default `all` is our choice."""

NUM_FINGERS: Final = 10
NUM_CONDITIONS: Final = 11
SIGMA_PX: Final = 9.0
"""At a picture of 512 pixels, in exp(-d2 / sigma2): that of the code the paper's group published. Our choice."""

_REFERENCE_PX: Final = 512
_FLIPPED: Final = (5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 10)


def finger_heatmaps(
    hands: Float[Tensor, "b 2 21 3"],
    *,
    size_px: int,
    latent_size: int,
    sigma_px: float = SIGMA_PX,
    wrist: WristRule = "all",
) -> Float[Tensor, "b 10 {latent_size} {latent_size}"]:
    """Heatmaps in 0..1 of the left and the right hand's points, in pixels of a square picture of `size_px`.

    A finger's map is the maximum over its points; missing points (NaN or confidence 0) draw nothing.
    `sigma_px` is given for 512 pixels and scales with the picture.
    """
    factor = size_px // latent_size
    assert size_px % (2 * latent_size) == 0, (size_px, latent_size)
    cells = torch.arange(latent_size, device=hands.device, dtype=torch.float32) * factor + factor / 2
    centres = torch.stack((cells - 0.5, cells + 0.5), dim=1).flatten()
    sigma = sigma_px * size_px / _REFERENCE_PX
    there = torch.isfinite(hands[..., :2]).all(dim=-1) & (hands[..., 2] > 0)
    points = torch.nan_to_num(hands[..., :2].float(), posinf=0.0, neginf=0.0)
    falloff = torch.exp(-(((points[..., None] - centres) / sigma) ** 2))
    across = falloff[..., 0, :] * there[..., None]
    down = falloff[..., 1, :]
    maps = [_finger_map(down, across, chain) for chain in _chains(wrist)]
    drawn = torch.stack(maps, dim=2).flatten(1, 2)
    return functional.avg_pool2d(drawn, 2)


def latent_mask(mask: Float[Tensor, "b 1 h w"], *, latent_size: int) -> Float[Tensor, "b 1 l k"]:
    """Shrink the hand mask bilinearly, kept soft (III-A)."""
    return functional.interpolate(mask, size=(latent_size, latent_size), mode="bilinear", align_corners=False)


def hand_condition(
    hands: Float[Tensor, "b 2 21 3"],
    mask: Float[Tensor, "b 1 h w"],
    *,
    latent_size: int,
    sigma_px: float = SIGMA_PX,
    wrist: WristRule = "all",
) -> Float[Tensor, "b 11 l k"]:
    """The 11 channels c_p; a mask of zeros stands for no mask."""
    heatmaps = finger_heatmaps(hands, size_px=mask.shape[-1], latent_size=latent_size, sigma_px=sigma_px, wrist=wrist)
    return torch.cat((heatmaps, latent_mask(mask, latent_size=latent_size)), dim=1)


def flip_condition(condition: Float[Tensor, "b 11 l k"]) -> Float[Tensor, "b 11 l k"]:
    """Mirror left to right: the hands swap sides."""
    return condition[:, list(_FLIPPED)].flip(-1)


def flip_hands(hands: Float[Tensor, "b 2 21 3"], *, width_px: int) -> Float[Tensor, "b 2 21 3"]:
    """Mirror the points left to right: the hands swap sides."""
    mirrored = hands.flip(1).clone()
    mirrored[..., 0] = width_px - mirrored[..., 0]
    return mirrored


def _chains(wrist: WristRule) -> list[tuple[int, ...]]:
    with_wrist = {"all": tuple(FINGERS), "thumb": ("thumb",), "none": ()}[wrist]
    return [(WRIST, *points) if name in with_wrist else points for name, points in FINGERS.items()]


def _finger_map(
    down: Float[Tensor, "b 2 21 n"], across: Float[Tensor, "b 2 21 n"], chain: tuple[int, ...]
) -> Float[Tensor, "b 2 n n"]:
    """One point after the other: all at once would hold five times the memory."""
    highest = down[:, :, chain[0], :, None] * across[:, :, chain[0], None, :]
    for point in chain[1:]:
        highest = torch.maximum(highest, down[:, :, point, :, None] * across[:, :, point, None, :])
    return highest
