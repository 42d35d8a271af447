"""MediaPipe on real photographs: which hands it finds, whose they are, and that order changes nothing."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from h2d.annotate.keypoints.checks import hand_size
from h2d.annotate.keypoints.graphs import Graphs
from h2d.annotate.keypoints.hints import believed, box_hints, cut_regions
from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.images import load_rgb
from h2d.pose.layouts import FEET, HANDS, HIPS, NOSE, NUM_POINTS, SHOULDERS
from h2d.pose.points import missing_points

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "hagrid-mini"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the sample photographs are not at {SAMPLES}")

# Told by eye: whose hand each photograph shows, and where its wrist is, in fractions of the picture.
SIDES_BY_EYE = {
    "0413d5c5-f5ba-476f-a921-ea5e967692a9": {"left": (0.71, 0.41)},
    "044768ad-1709-44ba-b041-c2f8cbe4c166": {"left": (0.73, 0.47)},
    "17b3aa02-dc4d-448d-8601-e2b67193d436": {"left": (0.68, 0.40)},
    "06aa70cc-a12a-4b1e-85cf-e54d44c19a3a": {"left": (0.70, 0.45)},
    "077fa4bf-a99e-496b-b895-709afc614eec": {"right": (0.41, 0.60)},
    "0c960166-75b0-4c1b-a3cc-2ddbd5a21703": {"right": (0.21, 0.66)},
    "105f8f8e-ccd6-45a0-b22a-e314930bc13e": {"right": (0.33, 0.48)},
    "10eacf4b-8aaf-46d9-be21-7fb8d8353005": {"right": (0.28, 0.53)},
    "0e022ee9-74fd-44fe-adad-60c11835e44f": {"left": (0.86, 0.79), "right": (0.40, 0.42)},
    "00c84257-800d-4032-9e64-e47eb97005f5": {"left": (0.57, 0.40), "right": (0.36, 0.77)},
    "0a272153-56c7-42d5-a17d-cd307a1cd6d4": {"left": (0.46, 0.55), "right": (0.16, 0.89)},
}


@pytest.fixture(scope="module")
def photos():
    """Name -> picture and the dataset's boxes in pixels."""
    notes = {}
    for path in sorted(SAMPLES.glob("hagrid_annotations/*/*.json")):
        notes |= json.loads(path.read_text())
    photos = {}
    for path in sorted(SAMPLES.glob("hagrid_dataset/*/*.jpg")):
        picture = load_rgb(path)
        height, width = picture.shape[:2]
        boxes = np.asarray(notes[path.stem]["bboxes"], np.float32) * np.array([width, height] * 2, np.float32)
        photos[path.stem] = picture, boxes
    return photos


@pytest.fixture(scope="module")
def detector():
    detector = HolisticDetector()
    detector.setup()
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def graphs():
    graphs = Graphs()
    yield graphs
    graphs.close()


@pytest.fixture(scope="module")
def found(detector, photos):
    return {name: detector.detect(picture, boxes) for name, (picture, boxes) in photos.items()}


def same(one, other):
    """Whether two detections are equal to the bit."""
    hands = [
        {side: (hand.points.tobytes(), hand.found_by, hand.checks) for side, hand in it.hands.items()}
        for it in (one, other)
    ]
    return one.num_persons == other.num_persons and one.body.tobytes() == other.body.tobytes() and hands[0] == hands[1]


def test_hands_are_found_and_no_fewer_than_by_holistic_alone(detector, photos, found, record_property):
    alone = HolisticDetector(ask_hands=False)
    alone.setup()
    by_holistic = {name: alone.detect(picture, boxes) for name, (picture, boxes) in photos.items()}
    alone.close()
    ours, theirs = (sum(len(it.hands) for it in answers.values()) for answers in (found, by_holistic))
    with_hand = sum(bool(it.hands) for it in found.values())
    record_property("hands", f"{with_hand} of {len(found)} photographs; {ours} hands, {theirs} by Holistic alone")
    assert with_hand >= 20
    assert ours >= theirs >= 25
    for name, before in by_holistic.items():
        for side, hand in before.hands.items():
            np.testing.assert_array_equal(found[name].hands[side].points, hand.points)


def test_no_hand_of_these_photographs_is_called_implausible(found):
    assert {name: hand.checks for name, it in found.items() for hand in it.hands.values() if hand.checks} == {}


@pytest.mark.parametrize("name", SIDES_BY_EYE)
def test_left_and_right_are_the_persons_own(photos, found, name):
    height, width = photos[name][0].shape[:2]
    hands = found[name].hands
    assert set(hands) == set(SIDES_BY_EYE[name])
    for side, wrist in SIDES_BY_EYE[name].items():
        np.testing.assert_allclose(hands[side].points[0, :2] / [width, height], wrist, atol=0.06)
        np.testing.assert_array_equal(found[name].body[HANDS[side]], hands[side].points)


def test_the_body_stands_the_right_way_round(found):
    for it in found.values():
        assert it.num_persons == 1
        assert it.body[SHOULDERS["left"], 0] > it.body[SHOULDERS["right"], 0], "they all face the camera"
        assert it.body[NOSE, 1] < it.body[SHOULDERS["left"], 1] < it.body[HIPS["left"], 1]
        assert np.isnan(it.body[[FEET.start + 1, FEET.start + 4], :2]).all(), "small toes"
        assert ((it.body[:, 2] >= 0) & (it.body[:, 2] <= 1)).all()


def test_hands_alone_finds_the_same_hands_and_sides_in_the_boxes(graphs, photos, found):
    """The second look, as if Holistic had found nothing: no body to tell the side by."""
    nobody = missing_points(NUM_POINTS)
    for name, by_eye in SIDES_BY_EYE.items():
        picture, boxes = photos[name]
        for hint in box_hints(boxes):
            region, region_xywh = next(cut_regions(picture, hint))
            answers = graphs.loose_hands(region)
            told = believed(answers, hint, region_xywh=region_xywh, body=nobody, hands={}, size_hw=picture.shape[:2])
            assert told is not None, name
            side, hand = told
            assert (side in by_eye, hand.found_by) == (True, "hands"), name
            apart = np.linalg.norm(hand.points[:, :2] - found[name].hands[side].points[:, :2], axis=1).mean()
            assert apart < 0.1 * hand_size(hand.points), name


def test_a_larger_picture_gives_the_same_points_in_its_own_pixels(photos, found):
    name = "105f8f8e-ccd6-45a0-b22a-e314930bc13e"
    picture, boxes = photos[name]
    double = picture.repeat(2, axis=0).repeat(2, axis=1)
    detector = HolisticDetector(max_side=max(picture.shape))
    detector.setup()
    answer = detector.detect(double, boxes * 2)
    detector.close()
    np.testing.assert_allclose(answer.body, found[name].body * np.array([2, 2, 1], np.float32), rtol=1e-5)


def test_the_order_of_pictures_changes_nothing(detector, photos, found):
    for seed in range(2):
        for name in np.random.default_rng(seed).permutation(sorted(photos)):
            assert same(detector.detect(*photos[name]), found[name]), name


def shifted(picture, pixels=8):
    return np.ascontiguousarray(np.roll(picture, pixels, axis=1))


def test_a_picture_like_the_one_before_changes_nothing(detector, photos, found):
    """Bursts, frames of a film, duplicates: where the region tracker of Holistic would take over."""
    for name in list(photos)[::4]:
        picture, boxes = photos[name]
        detector.detect(shifted(picture), boxes)
        assert same(detector.detect(picture, boxes), found[name]), name
        assert same(detector.detect(picture, boxes), found[name]), name


def test_mediapipes_own_holistic_would_be_changed_by_it(photos):
    """Should this fail, the patch in graphs.py is needed no more."""
    from mediapipe.python.solutions.holistic import Holistic

    def hands(holistic, picture):
        answer = holistic.process(picture)
        both = (answer.left_hand_landmarks, answer.right_hand_landmarks)
        return [None if it is None else it.SerializeToString() for it in both]

    changed = 0
    with Holistic(static_image_mode=True) as holistic:
        for picture, _ in list(photos.values())[::4]:
            holistic.process(np.zeros((64, 64, 3), np.uint8))
            fresh = hands(holistic, picture)
            holistic.process(shifted(picture))
            changed += hands(holistic, picture) != fresh
    assert changed > 0


def test_hands_forgets_the_picture_before(graphs, photos):
    pictures = [picture for picture, _ in photos.values()][::4]
    pictures = [picture for original in pictures for picture in (original, shifted(original, 4))]
    once = [[hand.points.tobytes() for hand in graphs.loose_hands(picture)] for picture in pictures]
    for index in np.random.default_rng(0).permutation(len(pictures)):
        assert [hand.points.tobytes() for hand in graphs.loose_hands(pictures[index])] == once[index]


def detect_all(detector, photos):
    detector.setup()
    answers = {name: detector.detect(picture, boxes) for name, (picture, boxes) in photos.items()}
    detector.close()
    return answers


def test_another_process_gives_the_same_in_another_order(photos, found):
    some = dict(list(photos.items())[::-3])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answers = pool.apply(detect_all, (HolisticDetector(), some))
    assert all(same(answers[name], found[name]) for name in some)
