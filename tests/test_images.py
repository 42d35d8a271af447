"""Reading pictures that strangers made."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from h2d.images import (
    DecodeError,
    _jpeg_size,
    decode_rgb,
    encode_jpeg,
    encode_png,
    fit_long_side,
    load_on_white,
    load_rgb,
    load_upright_rgb,
    refuse_bomb,
    resize,
)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def test_png_keeps_every_value(picture):
    assert (decode_rgb(encode_png(picture)) == picture).all()


def test_colours_are_red_green_blue():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert decode_rgb(encode_jpeg(red))[8, 8].tolist() == pytest.approx([254, 0, 0], abs=3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "empty"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: b"hello", "not a picture"),
        (lambda data: data[:2] + b"\xff\xd9", "not a picture"),
    ],
)
def test_damaged_files_say_what_is_wrong(picture, damage, message):
    with pytest.raises(DecodeError, match=message):
        decode_rgb(damage(encode_jpeg(picture)))


def test_too_large_a_picture_is_refused(picture, monkeypatch):
    monkeypatch.setattr("h2d.images.MAX_PIXELS", 1000)
    with pytest.raises(DecodeError, match="64 x 48 pixels exceed the limit of 1000"):
        decode_rgb(encode_png(picture))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"comment": b"a comment"},
        {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"},
        {"icc_profile": bytes(200_000)},
        {"optimize": True, "restart_marker_blocks": 2},
        {"extra": b"\xff\xe1\xff\xff" + bytes(65_533)},
    ],
)
def test_a_jpeg_states_its_size_as_pillow_reads_it(picture, options, monkeypatch):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", **options)
    assert _jpeg_size(stream.getvalue()) == (48, 64)
    monkeypatch.setattr("h2d.images.MAX_PIXELS", 1000)
    with pytest.raises(DecodeError, match="64 x 48 pixels exceed the limit of 1000"):
        refuse_bomb(stream.getvalue())


@pytest.mark.parametrize("place", [2, 20])
def test_a_size_behind_something_unusual_is_left_to_pillow(picture, place, monkeypatch):
    data = encode_jpeg(picture)
    odd = data[:place] + b"\xff" + data[place:]  # a byte of filling, which the standard allows before a marker
    assert place != 2 or _jpeg_size(odd) is None
    monkeypatch.setattr("h2d.images.MAX_PIXELS", 1000)
    with pytest.raises(DecodeError, match="64 x 48 pixels exceed the limit of 1000"):
        refuse_bomb(odd)


def test_no_cut_header_is_read_beyond_its_end(picture):
    data = encode_jpeg(picture)
    whole = next(length for length in range(len(data)) if _jpeg_size(data[:length]))
    assert all(_jpeg_size(data[:length]) is None for length in range(whole))
    assert {_jpeg_size(data[:length]) for length in range(whole, len(data), 97)} == {(48, 64)}


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_rgb(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    ("size", "fitted"), [((1080, 1920), (576, 1024)), ((1920, 1080), (1024, 576)), ((384, 512), (384, 512))]
)
def test_fitting_keeps_the_shape_and_never_enlarges(size, fitted):
    assert fit_long_side(*size, 1024) == fitted


def test_resizing_to_the_same_size_is_free(picture):
    assert resize(picture, (48, 64)) is picture
    assert resize(picture, (24, 32)).shape == (24, 32, 3)


@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_photographs_come_upright_as_viewers_show_them_and_datasets_as_stored(picture, orientation, tmp_path):
    file = tmp_path / "photo.png"
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(picture).save(file, exif=exif)
    with Image.open(file) as stored:
        shown = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(load_upright_rgb(file), shown)
    np.testing.assert_array_equal(load_rgb(file), picture)


def test_a_damaged_exif_header_turns_nothing(picture, tmp_path):
    file = tmp_path / "photo.jpg"
    whole = encode_jpeg(picture)
    file.write_bytes(whole[:2] + b"\xff\xe1\x00\x10Exif\0\0MM\0*\xff\xff\xff\xff" + whole[2:])
    np.testing.assert_array_equal(load_upright_rgb(file), decode_rgb(whole))


def test_white_lies_behind_what_is_transparent_and_other_pictures_stay_as_they_are(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    stored[..., 3] = np.repeat([0, 128, 255, 255], 2)[:, None]
    file = tmp_path / "picture.png"
    Image.fromarray(stored).save(file)
    shown, is_transparent = load_on_white(file)
    assert is_transparent
    assert (shown[:2] == 255).all()
    np.testing.assert_allclose(shown[2:4], (stored[2:4, :, :3].astype(float) * 128 + 255 * 127) / 255, atol=1)
    np.testing.assert_array_equal(shown[4:], stored[4:, :, :3])
    Image.fromarray(stored[..., :3]).save(file)
    shown, is_transparent = load_on_white(file)
    assert not is_transparent
    np.testing.assert_array_equal(shown, decode_rgb(file.read_bytes()))
