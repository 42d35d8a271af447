"""Small hands are outpainted once more in an enlarged window; the rest of the picture stays."""

from dataclasses import replace

import numpy as np
import pytest
from poses import pose_of

from h2d.infer.options import SampleOptions
from h2d.infer.sheet import contact_sheet
from h2d.infer.zoom import fade, rim, small_windows

OPTIONS = SampleOptions(num_inference_steps=3, hand_attempts=1, paste="none")


def picture_of(output) -> np.ndarray:
    return np.asarray(output.images[0]).astype(int)


def test_only_the_windows_of_small_hands_change(pipe):
    """A large left hand and a small right one, in a picture of 256 by networks of 128."""
    pose = pose_of(("left", 120, 400, 260), ("right", 420, 200, 40))
    size = {"height": 256, "width": 256}
    sizes = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape)))
    try:
        plain = pipe("x", pose, seed=1, options=replace(OPTIONS, **size))
        zoomed = pipe("x", pose, seed=1, options=replace(OPTIONS, **size, zoom_hands=True, zoom_strength=0.6))
    finally:
        handle.remove()
    assert sizes == [(2, 9, 32, 32)] * 6 + [(2, 9, 16, 16)] * 2
    (window,) = small_windows(plain.hands[0], 0, (256, 256), 128)
    assert window.hand.crop.hands == "right"
    difference = np.abs(picture_of(zoomed) - picture_of(plain)).sum(axis=2)
    inside = np.zeros((256, 256), bool)
    inside[window.slices] = True
    assert difference[~inside].max() == 0
    middle = difference[window.slices][window.side // 4 : -window.side // 4, window.side // 4 : -window.side // 4]
    assert middle.mean() > 5
    edge = np.concatenate([difference[window.slices][0], difference[window.slices][:, -1]])
    assert edge.mean() < 0.2 * middle.mean()
    small = "the right hand is 2.9 latent cells wide, too few for its fingers: "
    assert f"{small}--zoom-hands, or a larger picture" in plain.notes[0]
    assert f"{small}outpainted once more, enlarged" in zoomed.notes[0]
    assert np.array_equal(zoomed.masks[0], plain.masks[0])
    assert plain.enlarged == [[]]
    (seen,) = zoomed.enlarged[0]
    assert seen.hands == "right"
    assert seen.before.shape == seen.after.shape == (128, 128, 3)
    higher = contact_sheet(zoomed, 0, "x").height - contact_sheet(plain, 0, "x").height
    assert higher == 224 + 98, "a row of its own"


@pytest.mark.parametrize("scheduler", ["dpm++", "unipc", "euler"])
def test_every_scheduler_starts_in_the_middle(pipe, scheduler):
    pose = pose_of(("right", 420, 200, 40))
    options = replace(OPTIONS, scheduler=scheduler, num_inference_steps=3, height=256, width=256, zoom_hands=True)
    assert np.isfinite(picture_of(pipe("x", pose, seed=1, options=options))).all()


def test_a_large_hand_and_a_small_picture_are_left_alone(pipe, pose):
    large = pose_of(("left", 250, 400, 260))
    plain = pipe("x", large, seed=1, options=replace(OPTIONS, height=256, width=256))
    zoomed = pipe("x", large, seed=1, options=replace(OPTIONS, height=256, width=256, zoom_hands=True))
    assert np.array_equal(picture_of(plain), picture_of(zoomed))
    said = "no hand is small enough for --zoom-hands: nothing was enlarged"
    assert said in zoomed.notes[0]
    assert said not in plain.notes[0]
    assert small_windows(pipe("x", pose, seed=1, options=OPTIONS).hands[0], 0, (128, 128), 128) == []


def test_the_window_fades_out_over_its_rim():
    assert rim(64)[0].all()
    assert not rim(64)[8:-8, 8:-8].any()
    weight = fade(64)
    assert weight[32, 32] == 1
    assert weight[0].max() < 0.1
    assert (weight[8:-8, 8:-8] == 1).all()
