"""The paper's limits lifted: hands handed on in the latent; and networks compiled."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from poses import pose_of
from test_two_stage import FEW, pixels
from tiny_models import write_checkpoints

from h2d.annotate.crops import Crop
from h2d.infer.framing import is_aligned, on_latent_grid
from h2d.infer.outpaint import with_latents
from h2d.infer.two_stage import TwoStagePipeline

# 128 px networks in a picture of 256: a hand of 85 px has a crop of 128.
POSE = pose_of(("left", 200, 330, 170))
WIDE = replace(FEW, height=256, width=256, hand_attempts=1)


@pytest.fixture(scope="module")
def one_vae(tmp_path_factory):
    hand, body = write_checkpoints(tmp_path_factory.mktemp("one"), in_channels=4)
    pipe = TwoStagePipeline.from_checkpoints(hand=hand, outpaint=body)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_crops_near_the_pictures_scale_come_to_it():
    near = on_latent_grid(Crop(hands="left", box_xywh=(37, 11, 140, 140), size=128), (256, 256))
    assert is_aligned(near)
    assert near.box_xywh == (40, 16, 128, 128)
    assert on_latent_grid(Crop(hands="left", box_xywh=(120, 130, 120, 120), size=128), (256, 256)).box_xywh[0] == 112
    far = Crop(hands="left", box_xywh=(37, 11, 64, 64), size=128)
    assert on_latent_grid(far, (256, 256)) is far
    assert not is_aligned(far)


@torch.no_grad()
def test_the_latents_of_an_aligned_hand_are_its_own(one_vae):
    output = one_vae("x", POSE, seed=1, options=replace(WIDE, latent_handover=True))
    (hand,) = output.hands[0]
    assert is_aligned(hand.crop)
    from h2d.infer.canvas import compose

    canvas = compose([hand.as_picture()], (256, 256))
    encoded = torch.zeros(1, 4, 32, 32)
    handed = with_latents(encoded, [[hand]], [canvas])
    left, top, side = (length // 8 for length in hand.crop.box_xywh[:3])
    inside = handed[0, :, top : top + side, left : left + side]
    taken = (inside != 0).any(dim=0)
    assert 0.1 < taken.float().mean() < 1
    assert torch.equal(inside[:, taken], hand.latents[:, taken])
    assert (handed[0, :, :top] == 0).all()
    plain = one_vae("x", POSE, seed=1, options=WIDE)
    assert not np.array_equal(pixels(plain), pixels(output))


def test_without_a_shared_vae_nothing_is_handed_on(pipe):
    output = pipe("x", POSE, seed=1, options=replace(WIDE, latent_handover=True))
    assert output.hands[0][0].latents is None


def test_channels_last_gives_the_same_picture_up_to_rounding(one_vae, pose):
    plain = pixels(one_vae("x", pose, seed=1, options=FEW))
    other = pixels(one_vae("x", pose, seed=1, options=replace(FEW, channels_last=True)))
    networks = (one_vae.unet, one_vae.hand_unet, one_vae.controlnet, one_vae.vae)
    kernels = [network.get_submodule("conv_in").weight for network in networks[:3]]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert np.abs(other.astype(int) - plain).max() <= 1
    assert np.array_equal(pixels(one_vae("x", pose, seed=1, options=FEW)), plain)
    assert all(kernel.is_contiguous() for kernel in kernels)


@pytest.mark.slow
def test_compiled_networks_give_the_same_pictures(one_vae, pose):
    """By the compiler's front alone: what it makes of the loops is what may go wrong."""
    plain = pixels(one_vae("x", pose, seed=1, options=FEW))
    try:
        one_vae.compile_networks(backend="eager")
        compiled = pixels(one_vae("x", pose, seed=1, options=FEW))
        again = pixels(one_vae("x", pose, seed=1, options=FEW))
    finally:
        for network in (one_vae.hand_unet, one_vae.unet, one_vae.controlnet):
            network._compiled_call_impl = None
        torch.compiler.reset()
    assert np.abs(compiled.astype(int) - plain).max() <= 1
    assert np.array_equal(again, compiled)
