"""Blending keeps the hand, and the outpainter's loss does not see it."""

import pytest
import torch

from h2d.models.diffusion import blend, outside_loss


def test_blend_keeps_the_canvas_inside_and_the_latent_outside():
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 1
    blended = blend(mask, torch.ones(1, 4, 4, 4), torch.zeros(1, 4, 4, 4))
    assert (blended[..., :2, :] == 1).all()
    assert (blended[..., 2:, :] == 0).all()


@pytest.mark.parametrize(("norm", "expected"), [("masked_mean", 4.0), ("mean", 3.0)])
def test_loss_is_of_the_outside_alone(norm, expected):
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :1, :] = 1
    predicted = torch.full((1, 4, 4, 4), 2.0)
    predicted[..., :1, :] = 100
    assert outside_loss(predicted, torch.zeros_like(predicted), mask, norm=norm).tolist() == [expected]


def test_a_mask_of_everything_is_no_loss():
    wanted = torch.zeros(1, 4, 2, 2)
    assert outside_loss(wanted + 1, wanted, torch.ones(1, 1, 2, 2)).tolist() == [0]
