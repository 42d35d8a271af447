"""Finger heatmaps at the latent's size are what drawing and shrinking would give."""

import pytest
import torch
from torch.nn import functional

from h2d.models.conditioning import finger_heatmaps, flip_condition, flip_hands, hand_condition
from h2d.pose.layouts import FINGERS


def some_hands(num: int = 2, size_px: int = 512) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    hands = torch.rand(num, 2, 21, 3, generator=random)
    hands[..., :2] *= size_px
    hands[..., 2] = 1
    hands[0, 1, 7] = torch.tensor([float("nan"), float("nan"), 0])
    return hands


def drawn_and_shrunk(hands: torch.Tensor, size_px: int, wrist: str) -> torch.Tensor:
    centres = torch.arange(size_px, dtype=torch.float64) + 0.5
    sigma = 9 * size_px / 512
    maps = torch.zeros(len(hands), 10, size_px, size_px, dtype=torch.float64)
    for sample in range(len(hands)):
        for side in range(2):
            for number, (name, chain) in enumerate(FINGERS.items()):
                points = (0, *chain) if wrist == "all" or (wrist == "thumb" and name == "thumb") else chain
                for point in points:
                    x, y, confidence = hands[sample, side, point].double()
                    if confidence > 0:
                        bump = torch.exp(-((centres[None] - x) ** 2 + (centres[:, None] - y) ** 2) / sigma**2)
                        channel = maps[sample, 5 * side + number]
                        torch.maximum(channel, bump, out=channel)
    return functional.interpolate(maps, size=(size_px // 8,) * 2, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("wrist", ["all", "thumb", "none"])
def test_as_drawn_at_512_and_shrunk(wrist):
    hands = some_hands()
    quick = finger_heatmaps(hands, size_px=512, latent_size=64, wrist=wrist)
    assert (quick - drawn_and_shrunk(hands, 512, wrist)).abs().max() <= 2e-7


def test_a_missing_hand_draws_nothing_and_channels_are_left_first():
    hands = some_hands(1)
    hands[:, 1] = torch.tensor([float("nan"), float("nan"), 0.0])
    maps = finger_heatmaps(hands, size_px=512, latent_size=64)
    assert (maps[:, :5].amax(dim=(2, 3)) > 0.5).all()
    assert (maps[:, 5:] == 0).all()


def test_flipping_points_is_flipping_channels():
    hands = some_hands()
    mask = torch.zeros(2, 1, 512, 512)
    mask[..., 100:200, 50:120] = 1
    flipped = hand_condition(flip_hands(hands, width_px=512), mask.flip(-1), latent_size=64)
    torch.testing.assert_close(flipped, flip_condition(hand_condition(hands, mask, latent_size=64)), atol=2e-6, rtol=0)
