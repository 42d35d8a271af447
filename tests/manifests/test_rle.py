import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from h2d.errors import UserError
from h2d.manifests.rle import decode_joined, decode_rle, encode_rle


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda size: arrays(bool, size)))
def test_round_trip(mask):
    rle = encode_rle(mask)
    np.testing.assert_array_equal(decode_rle(rle), mask)
    assert decode_rle(rle).dtype == bool


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
        lambda size: st.lists(arrays(bool, size), min_size=1, max_size=3)
    )
)
def test_joined_masks_are_one_that_has_all_their_pixels(masks):
    joined = decode_joined([encode_rle(mask) for mask in masks])
    np.testing.assert_array_equal(joined, np.any(masks, axis=0))
    assert joined.dtype == bool


def test_masks_of_other_sizes_are_not_joined():
    with pytest.raises(UserError, match=r"damaged masks: .* sizes \[\(3, 4\), \(4, 3\)\]: prepare it again"):
        decode_joined([encode_rle(np.ones((3, 4), bool)), encode_rle(np.ones((4, 3), bool))])


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda size: arrays(bool, size)))
def test_pycocotools_decodes_the_same(mask):
    rle = encode_rle(mask)
    theirs = coco.decode({**rle, "counts": rle["counts"].encode()})
    np.testing.assert_array_equal(decode_rle(rle), theirs)


def test_masks_of_a_real_size_are_decoded_as_pycocotools_does():
    random = np.random.default_rng(0)
    for _ in range(20):
        mask = cv2.GaussianBlur(random.uniform(size=(500, 700)).astype(np.float32), (0, 0), random.uniform(1, 40))
        rle = encode_rle(mask > np.median(mask))
        theirs = coco.decode({**rle, "counts": rle["counts"].encode()})
        np.testing.assert_array_equal(decode_rle(rle), theirs)


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks_and_long_runs(value):
    mask = np.full((600, 800), value)
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


def test_other_coco_tools_read_it():
    mask = np.zeros((30, 50), bool)
    mask[3:9, 20:45] = True
    rle = encode_rle(mask)
    assert rle["size"] == [30, 50]
    assert rle["counts"].isascii()
    assert coco.area({**rle, "counts": rle["counts"].encode()}) == mask.sum()
    np.testing.assert_array_equal(coco.toBbox({**rle, "counts": rle["counts"].encode()}), [20, 3, 25, 6])


def compressed(*runs: int) -> str:
    """The format's own writing of up to three runs, negative ones too."""
    text = ""
    for run in runs:
        more = True
        while more:
            group, run = run & 31, run >> 5
            more = run != (-1 if group & 16 else 0)
            text += chr(48 + (group | (32 if more else 0)))
    return text


WHOLE = encode_rle(np.eye(40, dtype=bool))


def test_the_writing_of_runs_is_right():
    assert (
        compressed(100, 1400, 100)
        == encode_rle(np.repeat([False, True, False], [100, 1400, 100]).reshape(40, 40, order="F"))["counts"]
    )


@pytest.mark.parametrize(
    "damage",
    [
        {"size": [40, 41]},
        {"size": [20, 40]},
        {"size": [0, 40]},
        {"size": [40]},
        {"size": None},
        {"counts": None},
        {"counts": ""},
        {"counts": b"0"},
        {"counts": WHOLE["counts"][:-3]},
        {"counts": WHOLE["counts"] + "8"},
        {"counts": WHOLE["counts"][:5] + "~" + WHOLE["counts"][6:]},
        {"counts": WHOLE["counts"][:5] + "\n" + WHOLE["counts"][6:]},
        {"counts": "P"},
        {"counts": WHOLE["counts"] + "P"},
        {"counts": compressed(2000, -400)},
        {"counts": "o" * 50},
        {"counts": "o" * 50 + "0"},
        {"counts": WHOLE["counts"] + "\u00e9"},
        {"counts": "N" + WHOLE["counts"]},
    ],
)
def test_damage_is_told(damage):
    with pytest.raises(UserError, match=r"damaged mask: .*: prepare it again"):
        decode_rle({**WHOLE, **damage})
