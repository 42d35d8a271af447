import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from masks_samples import SIZE_HW, open_hand, photograph, true_mask

from h2d.annotate.base import HandView
from h2d.annotate.masks.grabcut import GrabCutSegmenter, seeds
from h2d.images import load_rgb
from h2d.pose.points import missing_points

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "hagrid-mini"


@pytest.fixture
def segmenter():
    made = GrabCutSegmenter()
    made.setup()
    return made


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize(("turn", "scale"), [(0, 1.0), (120, 0.8), (250, 0.4)])
def test_finds_a_drawn_hand(segmenter, turn, scale):
    points = open_hand(centre=(256, 256), turn=turn, scale=scale)
    truth = true_mask(points)
    answer = segmenter.segment([HandView(picture=photograph(truth), hands={"left": points})])[0]["left"]
    assert answer.problem is None
    assert overlap(answer.mask, truth) > 0.9
    assert answer.quality > 0.9


def test_stops_at_the_wrist_and_before_a_face(segmenter):
    points = open_hand(centre=(220, 250))
    flesh = true_mask(points, arm_px=200)
    y, x = np.ogrid[:512, :512]
    face = (x - 470) ** 2 + (y - 200) ** 2 < 90**2
    answer = segmenter.segment([HandView(picture=photograph(flesh | face), hands={"left": points})])[0]["left"]
    assert overlap(answer.mask, true_mask(points)) > 0.85
    assert not (answer.mask & face).any()


def test_two_hands_get_a_mask_each(segmenter):
    left, right = open_hand(centre=(140, 300), scale=0.7), open_hand(centre=(360, 300), scale=0.7, turn=15)
    picture = photograph(true_mask(left) | true_mask(right))
    answer = segmenter.segment([HandView(picture=picture, hands={"left": left, "right": right})])[0]
    assert overlap(answer["left"].mask, true_mask(left)) > 0.85
    assert overlap(answer["right"].mask, true_mask(right)) > 0.85
    assert not (answer["left"].mask & true_mask(right)).any()


def test_the_other_skeleton_is_background_but_for_our_own():
    left, right = open_hand(centre=(230, 300)), open_hand(centre=(280, 300))
    right[20, :2], right[19, :2] = left[8, :2] + (12, 0), left[8, :2] - (12, 0)  # A finger across ours.
    labels = seeds(left, [right], SIZE_HW, reach=0.16)
    ours, theirs = left[8, :2].astype(int), right[20, :2].astype(int)
    assert labels[ours[1], ours[0]] == cv2.GC_FGD
    assert labels[theirs[1], theirs[0]] == cv2.GC_BGD


def test_the_same_whatever_was_asked_before(segmenter):
    view = HandView(picture=photograph(true_mask(open_hand()), seed=1), hands={"left": open_hand()})
    other = HandView(picture=photograph(true_mask(open_hand(turn=90)), seed=2), hands={"right": open_hand(turn=90)})
    alone = segmenter.segment([view])[0]["left"]
    after = segmenter.segment([other, view])[1]["left"]
    np.testing.assert_array_equal(alone.mask, after.mask)
    assert alone.quality == after.quality


def test_a_hand_out_of_sight_is_an_answer(segmenter):
    far = open_hand(centre=(3000, 3000))
    picture = photograph(np.zeros(SIZE_HW, bool))
    answer = segmenter.segment([HandView(picture=picture, hands={"left": missing_points(), "right": far})])[0]
    for hand in answer.values():
        assert hand.mask is None
        assert hand.quality == 0
        assert hand.problem == "only 0 points of the hand lie in the crop"


def test_a_hand_partly_outside_the_crop(segmenter):
    points = open_hand(centre=(256, 470))
    answer = segmenter.segment([HandView(picture=photograph(true_mask(points)), hands={"left": points})])[0]["left"]
    assert overlap(answer.mask, true_mask(points)) > 0.85


def test_a_close_up_and_a_tiny_hand(segmenter):
    """Neither leaves GrabCut without pixels to learn from."""
    close, tiny = open_hand(), open_hand(scale=0.04)
    close[:, :2] = (250, -500)
    close[[5, 9, 13, 17], :2] = [(100, 10), (200, 10), (300, 10), (400, 10)]
    close[0, :2] = (250, 3000)
    lone = missing_points()
    lone[[4, 8, 12]] = [(200, 200, 1), (256, 180, 1), (300, 200, 1)]
    lone[0] = (256, 400, 1)
    picture = photograph(np.ones(SIZE_HW, bool))
    answers = segmenter.segment([HandView(picture=picture, hands={"left": hand}) for hand in (close, tiny, lone)])
    assert all((answer["left"].mask is None) == (answer["left"].problem is not None) for answer in answers)
    assert answers[1]["left"].problem == "the hand is 12.0 pixels long in the crop, less than 16"


def test_identity_is_plain_and_the_segmenter_can_be_sent(segmenter):
    assert json.loads(json.dumps(segmenter.identity()))["rules"]["wrist_cut"] == 0.15
    assert segmenter.identity() != GrabCutSegmenter(reach=0.2).identity()
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the sample photographs are not here")
def test_real_photographs_get_masks(segmenter):
    """One gesture; each whole photograph is the view."""
    notes = json.loads((PHOTOGRAPHS / "hagrid_annotations" / "train" / "four.json").read_text())
    for name, note in notes.items():
        picture = load_rgb(PHOTOGRAPHS / "hagrid_dataset" / "four" / f"{name}.jpg")
        xy = np.asarray(note["hand_landmarks"][0], np.float32)[:, :2] * picture.shape[1::-1]
        points = np.concatenate([xy, np.ones((21, 1))], axis=1).astype(np.float32)
        answer = segmenter.segment([HandView(picture=picture, hands={"right": points})])[0]["right"]
        assert answer.mask is not None
        assert answer.quality > 0.8
