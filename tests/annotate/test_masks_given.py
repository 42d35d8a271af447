from dataclasses import replace

import cv2
import numpy as np
import pytest
from masks_samples import open_hand, true_mask

from h2d.annotate.base import HandView
from h2d.annotate.masks.given import GivenSegmenter, MaskSizeError, cut_mask, read_given_mask
from h2d.images import DecodeError

SOURCE_HW = (300, 400)


def view_of(file, hands, *, box=(0.0, 0.0, 128.0, 128.0), crop_px=128) -> HandView:
    return HandView(picture=np.zeros((crop_px, crop_px, 3), np.uint8), hands=hands, given_mask=file, crop_box_xywh=box)


def small_hand(x: float, y: float) -> np.ndarray:
    return open_hand(centre=(x, y), scale=0.25)


@pytest.fixture
def source_mask() -> np.ndarray:
    mask = np.zeros(SOURCE_HW, bool)
    mask[40:120, 50:130] = True
    return mask


@pytest.mark.parametrize(
    "pixels",
    [
        lambda mask: mask.astype(np.uint8),
        lambda mask: mask.astype(np.uint16) * 300,
        lambda mask: np.stack([mask * 0, mask * 255, mask * 0], axis=2).astype(np.uint8),
        lambda mask: np.dstack([np.repeat(mask[..., None] * 9, 3, 2), np.full(mask.shape, 255)]).astype(np.uint8),
        lambda mask: np.dstack([np.zeros((*mask.shape, 3)), mask * 255]).astype(np.uint8),
    ],
    ids=["one channel", "16 bits", "one colour", "opaque with alpha", "black with alpha"],
)
def test_any_kind_of_mask_file(tmp_path, source_mask, pixels):
    file = tmp_path / "mask.png"
    assert cv2.imwrite(str(file), pixels(source_mask))
    np.testing.assert_array_equal(read_given_mask(file), source_mask)


def test_a_black_opaque_file_is_empty(tmp_path):
    file = tmp_path / "mask.png"
    assert cv2.imwrite(str(file), np.dstack([np.zeros((*SOURCE_HW, 3)), np.full(SOURCE_HW, 255)]).astype(np.uint8))
    assert not read_given_mask(file).any()
    answer = GivenSegmenter().segment([view_of(file, {"left": small_hand(60, 60)})])[0]["left"]
    assert answer.mask is None
    assert answer.problem == "the given mask is empty here"


@pytest.mark.parametrize(
    ("box", "crop_px"), [((10, 20, 128, 128), 128), ((10, 20, 128, 128), 256), ((10, 20, 128, 128), 64)]
)
def test_the_box_is_cut_and_scaled(source_mask, box, crop_px):
    scale = crop_px / 128
    expected = np.zeros((crop_px, crop_px), bool)
    expected[int(20 * scale) : int(100 * scale), int(40 * scale) : int(120 * scale)] = True
    np.testing.assert_array_equal(cut_mask(source_mask, tuple(map(float, box)), (crop_px, crop_px)), expected)


@pytest.mark.parametrize(
    "box", [(-30.0, -10.0, 120.0, 120.0), (340.0, 250.0, 120.0, 120.0), (900.0, 900.0, 60.0, 60.0)]
)
def test_nothing_lies_outside_the_picture(box):
    cut = cut_mask(np.ones(SOURCE_HW, bool), box, (120, 120))
    y, x = (np.arange(120) + 0.5) * box[3] / 120 + box[1], (np.arange(120) + 0.5) * box[2] / 120 + box[0]
    expected = ((y >= 0) & (y < 300))[:, None] & ((x >= 0) & (x < 400))[None, :]
    np.testing.assert_array_equal(cut, expected)


def test_each_hand_gets_the_pixels_nearer_to_it(tmp_path):
    left, right = small_hand(35, 70), small_hand(95, 70)
    truth = {side: true_mask(points, size_hw=(128, 128)) for side, points in (("left", left), ("right", right))}
    file = tmp_path / "mask.png"
    assert cv2.imwrite(str(file), (truth["left"] | truth["right"]).astype(np.uint8) * 255)
    answer = GivenSegmenter().segment([view_of(file, {"left": left, "right": right})])[0]
    assert not (answer["left"].mask & answer["right"].mask).any()
    np.testing.assert_array_equal(answer["left"].mask | answer["right"].mask, truth["left"] | truth["right"])
    assert (answer["left"].mask & truth["left"]).sum() > 0.95 * truth["left"].sum()
    assert answer["left"].quality == 1


def test_one_hand_gets_everything(tmp_path, source_mask):
    file = tmp_path / "mask.png"
    assert cv2.imwrite(str(file), source_mask.astype(np.uint8))
    answer = GivenSegmenter().segment([view_of(file, {"right": small_hand(60, 60)})])[0]["right"]
    np.testing.assert_array_equal(answer.mask, source_mask[:128, :128])


def test_absence_is_an_answer(tmp_path):
    hands = {"left": small_hand(60, 60)}
    absent, unnamed = GivenSegmenter().segment([view_of(tmp_path / "no.png", hands), view_of(None, hands)])
    assert (absent["left"].mask, absent["left"].quality, absent["left"].problem) == (None, 0.0, "no mask file no.png")
    assert unnamed["left"].problem == "the dataset names no mask file"


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_an_unreadable_file_is_named(tmp_path, content):
    file = tmp_path / "mask.png"
    file.write_bytes(content)
    with pytest.raises(DecodeError, match=r"mask\.png: the mask cannot be decoded"):
        GivenSegmenter().segment([view_of(file, {"left": small_hand(60, 60)})])


def test_a_mask_of_another_size_than_its_picture_is_refused(tmp_path, source_mask):
    file = tmp_path / "mask.png"
    cv2.imwrite(str(file), source_mask.astype(np.uint8))
    view = view_of(file, {"left": small_hand(90, 80)})
    assert GivenSegmenter().segment([replace(view, source_size_hw=SOURCE_HW)])[0]["left"].mask is not None
    with pytest.raises(MaskSizeError, match=r"mask\.png: .* differ in size: 400 x 300 and 400 x 301 pixels"):
        GivenSegmenter().segment([replace(view, source_size_hw=(301, 400))])


def test_a_part_of_another_hand_is_not_in_the_mask(tmp_path, source_mask):
    file = tmp_path / "mask.png"
    cv2.imwrite(str(file), np.ones(SOURCE_HW, np.uint8))
    view = view_of(file, {"left": small_hand(40, 64)})
    alone = GivenSegmenter().segment([view])[0]["left"].mask
    beside = GivenSegmenter().segment([replace(view, others={"right": small_hand(110, 64)})])[0]
    assert alone.all()
    assert set(beside) == {"left"}
    assert beside["left"].mask[:, :50].all()
    assert not beside["left"].mask[:, 100:].any()
