"""Every blending strategy keeps the contract; sequential mask expansion equals its dilations one by one."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from h2d.infer.blending import BLENDS, DEFAULT_BLEND
from h2d.infer.blending.base import Blending, cells_of
from h2d.infer.blending.expanding import Expanding
from h2d.registry import resolve


def hand_masks(size_hw=(128, 192)) -> np.ndarray:
    masks = np.zeros((2, *size_hw), bool)
    cv2.circle(view := masks[0].astype(np.uint8), (60, 50), 20, 1, -1)
    masks[0] = view.astype(bool)
    masks[1, 90:100, 3:15] = True
    return masks


BOXES = [[(30, 20, 64, 64)], [(-8, 80, 40, 40), (100, 100, 64, 64)]]


@pytest.mark.parametrize("name", BLENDS)
@pytest.mark.parametrize("num_steps", [1, 2, 5, 20, 50])
@pytest.mark.parametrize("unmasked_steps", [0, 2])
def test_contract(name, num_steps, unmasked_steps):
    blending = resolve(BLENDS, name, kind="blending")(unmasked_steps=unmasked_steps)
    assert isinstance(blending, Blending)
    masks = hand_masks()
    steps = blending.step_masks(masks, BOXES, num_steps)
    assert steps.shape == (num_steps, 2, 16, 24)
    assert steps.dtype == bool
    masked = max(0, num_steps - unmasked_steps)
    assert not steps[masked:].any()
    for before, after in pairwise(steps):
        assert not (after & ~before).any(), "a mask may only shrink"
    assert (steps[:masked] | ~cells_of(masks)).all(), "the hand is always inside"


@pytest.mark.parametrize("name", BLENDS)
def test_no_hand_keeps_nothing(name):
    blending = resolve(BLENDS, name, kind="blending")()
    assert not blending.step_masks(np.zeros((1, 64, 64), bool), [[]], 10).any()


@pytest.mark.parametrize("num_steps", [20, 50, 60])
def test_expanding_equals_dilating_step_by_step(num_steps):
    """At 512 px, one 3 x 3 dilation a step, from the last step backwards; with 50 steps at least."""
    mask = np.zeros((512, 512), np.uint8)
    cv2.ellipse(mask, (200, 240), (60, 25), 30, 0, 360, 1, -1)
    steps = Expanding(unmasked_steps=0).step_masks(mask[None].astype(bool), [[]], num_steps)
    if num_steps < 50:
        radii = [int(49 * (num_steps - 1 - step) / (num_steps - 1)) for step in range(num_steps)]
    else:
        radii = [num_steps - 1 - step for step in range(num_steps)]
    for step, radius in enumerate(radii):
        dilated = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=radius) if radius else mask
        assert np.array_equal(steps[step, 0], cells_of(dilated.astype(bool))), step


def test_reach_follows_the_picture_and_the_profile():
    assert Expanding().reach_px(50, short_side_px=512)[[0, 1, 49]].tolist() == [49, 48, 0]
    assert Expanding().reach_px(20, short_side_px=1024)[0] == 98
    assert Expanding(max_px=10).reach_px(50, short_side_px=512)[0] == 10
    cosine = Expanding(profile="cosine").reach_px(51, short_side_px=512)
    assert cosine[0] == 50
    assert cosine[10] > Expanding().reach_px(51, short_side_px=512)[10]
    assert (np.diff(cosine) < 0).all()


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="max_px"):
        Expanding(max_px=-1)
    with pytest.raises(ValueError, match="unmasked_steps"):
        Expanding(unmasked_steps=-1)


def test_the_default_is_in_the_table():
    assert DEFAULT_BLEND in BLENDS
