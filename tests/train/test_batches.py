"""What examples are made of: colours as torchvision shifts them, masks by area, bytes that become floats."""

import cv2
import numpy as np
import pytest
import torch

from h2d.images import resize
from h2d.manifests.masks import dilate
from h2d.train.batches import as_floats, mask_plane, planes, shift_colours, shrink_mask, to_picture, to_square


def picture(seed: int, *, light: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = (random.integers(0, 256, (6, 6, 3)) * light).astype(np.uint8)
    return cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("shares", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("light", [0.3, 1.0])
def test_colours_are_shifted_as_torchvision_does(shares, seed, light):
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    before = planes(picture(1, light=light))
    shift, brightness, contrast = 20 * shares[0], 0.2 * shares[1], 0.2 * shares[2]
    drawn = np.random.default_rng(seed).uniform(-1, 1, 5)
    theirs = torch.from_numpy(before).float() / 255
    theirs = (theirs + torch.tensor(drawn[:3] * shift).round().float()[:, None, None] / 255).clamp(0, 1)
    theirs = functional.adjust_brightness(theirs, 1 + brightness * drawn[3])
    theirs = functional.adjust_contrast(theirs, 1 + contrast * drawn[4])
    ours = shift_colours(
        before, np.random.default_rng(seed), shift=shift, brightness=brightness, contrast=contrast, probability=1.0
    )
    assert np.abs(ours - theirs.numpy() * 255).max() <= 1.2, "rounded to whole levels, twice at most"
    assert not np.array_equal(ours, before)


def test_colours_draw_as_many_numbers_whatever_happens():
    left = [np.random.default_rng(0), np.random.default_rng(0)]
    for random, probability in zip(left, (0.0, 1.0), strict=True):
        shift_colours(planes(picture(2)), random, probability=probability)
    assert left[0].uniform() == left[1].uniform()


@pytest.mark.parametrize("size_px", [30, 64, 80, 90, 128])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_have_the_pixels_that_they_half_cover_in_either_order(size_px, order):
    mask = np.zeros((90, 90), bool)
    cv2.circle(mask.view(np.uint8), (40, 51), 23, 1, -1)
    mask[70:72, 10:80] = True
    given = np.array(mask, order=order)
    covered = cv2.resize(mask.astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_AREA)
    shrunk = shrink_mask(given, size_px)
    clear = np.abs(covered - 0.5) > 0.25
    assert np.array_equal(shrunk[clear], covered[clear] > 0.5)
    assert shrunk.mean() == pytest.approx(covered.mean(), rel=0.03)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert np.array_equal(dilate(given, 5), grown)
    assert torch.equal(mask_plane(given)[0], torch.from_numpy(mask * np.uint8(255)))


@pytest.mark.parametrize("size_px", [64, 90])
def test_pictures_shrunk_bilinearly_are_nearly_those_shrunk_by_area(size_px):
    square = cv2.resize(picture(4), (96, 96))
    by_area = resize(square, (size_px, size_px)).astype(int)
    assert np.abs(to_square(square, size_px) - by_area).mean() < 1
    fine = np.indices((96, 96)).sum(0).astype(np.uint8) % 2 * np.uint8(255)
    assert to_square(fine, 64).std() < 60, "no pixel is skipped: a chequerboard of single pixels turns grey"
    assert np.array_equal(to_square(square, 24), resize(square, (24, 24)))


def test_bytes_become_what_the_losses_take():
    drawn = picture(3)
    image = torch.from_numpy(planes(drawn))[None]
    floats = as_floats("image", image)
    assert floats.min() >= -1
    assert floats.max() <= 1
    assert np.array_equal(to_picture(floats[0]), drawn)
    assert as_floats("mask", torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]
    assert as_floats("noise", torch.tensor([300.0])).tolist() == [300]
