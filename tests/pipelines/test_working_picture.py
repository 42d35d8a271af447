"""What is kept of an original."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from h2d.images import decode_rgb, encode_jpeg, encode_png
from h2d.pipelines.working_picture import PictureConfig, working_picture


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (301, 407, 3), np.uint8)


def test_a_small_jpeg_is_kept_byte_for_byte(picture):
    original = encode_jpeg(picture)
    kept = working_picture(original, decode_rgb(original), PictureConfig(long_side=407))
    assert kept.data == original
    assert (kept.size_hw, kept.scale) == ((301, 407), 1.0)


@pytest.mark.parametrize(("long_side", "factor"), [(406, 2), (204, 2), (203, 3), (102, 4)])
def test_a_large_one_is_reduced_by_the_smallest_whole_factor_that_fits(picture, long_side, factor):
    kept = working_picture(encode_png(picture), picture, PictureConfig(long_side=long_side))
    assert kept.scale == 1 / factor
    assert kept.size_hw == (301 // factor, 407 // factor)
    assert decode_rgb(kept.data).shape == (*kept.size_hw, 3)
    assert max(kept.size_hw) <= long_side


def test_reducing_is_the_mean_of_whole_blocks(picture):
    kept = working_picture(b"", picture, PictureConfig(long_side=204, jpeg_quality=100))
    blocks = picture[:300, :406].reshape(150, 2, 203, 2, 3).mean(axis=(1, 3))
    smooth = cv2.GaussianBlur(decode_rgb(kept.data).astype(np.float32), (9, 9), 0)
    assert np.abs(smooth - cv2.GaussianBlur(blocks.astype(np.float32), (9, 9), 0)).mean() < 3


def test_a_rotated_photograph_is_stored_as_its_labels_see_it(picture):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(buffer, "JPEG", exif=exif)
    original = buffer.getvalue()
    decoded = decode_rgb(original)
    assert decoded.shape == picture.shape
    kept = working_picture(original, decoded, PictureConfig())
    assert kept.data != original
    assert Image.open(io.BytesIO(kept.data)).getexif().get(0x0112, 1) == 1
    assert kept.size_hw == (301, 407)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_modes_are_stored_as_rgb(picture, mode):
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, "JPEG")
    kept = working_picture(buffer.getvalue(), decode_rgb(buffer.getvalue()), PictureConfig())
    assert Image.open(io.BytesIO(kept.data)).mode == "RGB"
