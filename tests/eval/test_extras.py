"""Fingers of drawn gestures are counted as people count them, and agreement is that of pose and picture."""

import numpy as np
import pytest
from pose_lists import pose_list, without

from h2d.eval.extras import hand_measures
from h2d.eval.fingers import BENT, OUT, UNKNOWN, finger_counts, finger_states
from h2d.eval.pairing import paired_people
from h2d.eval.poses import PoseSet
from h2d.pose.layouts import HANDS, LEFT_HAND
from h2d.synth.gestures import gesture_hands
from h2d.synth.hand import sample_shape

SHOWN = {
    "call": (1, 0, 0, 0, 1), "dislike": (1, 0, 0, 0, 0), "fist": (0, 0, 0, 0, 0), "four": (0, 1, 1, 1, 1),
    "like": (1, 0, 0, 0, 0), "little_finger": (0, 0, 0, 0, 1), "middle_finger": (0, 0, 1, 0, 0),
    "one": (0, 1, 0, 0, 0), "palm": (1, 1, 1, 1, 1), "peace": (0, 1, 1, 0, 0), "peace_inverted": (0, 1, 1, 0, 0),
    "rock": (0, 1, 0, 0, 1), "stop": (1, 1, 1, 1, 1), "stop_inverted": (1, 1, 1, 1, 1), "three": (0, 1, 1, 1, 0),
    "three2": (1, 1, 1, 0, 0), "three3": (0, 0, 1, 1, 1), "three_gun": (1, 1, 1, 0, 0),
    "thumb_index": (1, 1, 0, 0, 0), "two_up": (0, 1, 1, 0, 0), "two_up_inverted": (0, 1, 1, 0, 0),
    "ok": (0, 0, 1, 1, 1),
}  # fmt: skip
"""Thumb first: what a person sees who knows the gesture."""


def drawn(gesture: str, count: int, *, turned: bool = False) -> np.ndarray:
    """Hands of different people, left and right in turn, seen from the front."""
    rng = np.random.default_rng(sum(map(ord, gesture)))
    hands = []
    for number in range(count):
        shape = sample_shape(rng)
        side = ("right", "left")[number % 2]
        hand, rotation, _ = gesture_hands(gesture, side, {"left": shape, "right": shape}, rng)[side]
        xy = rotation.apply(hand.joints)[:, :2]
        if turned:
            angle = rng.uniform(0, 2 * np.pi)
            xy = xy @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.3 + 200
        hands.append(np.column_stack([xy, np.ones(21)]))
    return np.stack(hands).astype(np.float32)


@pytest.mark.parametrize("gesture", SHOWN)
def test_fingers_that_a_gesture_shows_are_out(gesture):
    states = finger_states(drawn(gesture, 20))
    right = (states == SHOWN[gesture]).all(axis=1).mean()
    assert right >= (0.8 if gesture == "ok" else 0.95), states


def test_a_hooked_finger_is_bent_though_its_tip_is_farthest():
    hands = drawn("one", 1)
    wrist, (knuckle, middle, _, _) = hands[0, 0, :2], hands[0, 5:9, :2].copy()
    along = (middle - knuckle) / np.linalg.norm(middle - knuckle)
    across = np.array([-along[1], along[0]])
    hands[0, 7, :2] = middle + 26 * across
    hands[0, 8, :2] = middle + 30 * across + 2 * along
    assert np.linalg.norm(hands[0, 8, :2] - wrist) > np.linalg.norm(middle - wrist)
    assert finger_states(hands)[0, 1] == BENT


def test_turning_and_size_change_nothing():
    for gesture in ("palm", "rock", "like"):
        assert (finger_states(drawn(gesture, 10, turned=True)) == SHOWN[gesture]).all()


def test_a_missing_point_makes_its_finger_unknown_and_the_hand_uncountable():
    hands = drawn("palm", 3)
    hands[1, 8] = (np.nan, np.nan, 0)
    hands[2, 0] = (np.nan, np.nan, 0)
    assert finger_states(hands)[1].tolist() == [OUT, UNKNOWN, OUT, OUT, OUT]
    assert (finger_states(hands)[2] == UNKNOWN).all()
    assert finger_counts(hands).tolist() == [5, -1, -1]
    assert finger_states(drawn("fist", 1)).tolist() == [[BENT] * 5]


def test_agreement_of_hands_is_by_side_and_counts_those_not_found():
    truth = with_hands("peace", 4)
    found = with_hands("peace", 4)
    found.points[0, LEFT_HAND] = drawn("three", 1)[0]
    found = without(found, HANDS["right"], pictures=[1])
    found.points[:, :, 2] *= 0.5
    measures = hand_measures(paired_people(truth, found))
    values = {name: measure.measured().value for name, measure in measures.items()}
    assert values == {
        "hands_found": pytest.approx(7 / 8),
        "hand_confidence": pytest.approx(0.5 * 7 / 8),
        "finger_count": pytest.approx(6 / 8),
        "finger_count_found": pytest.approx(6 / 7),
    }
    assert measures["hands_found"].statistic.per_picture.tolist() == [1, 0.5, 1, 1]


def test_hands_that_cannot_be_counted_are_left_out_of_counting_alone():
    truth = without(with_hands("peace", 2), slice(LEFT_HAND.start + 8, LEFT_HAND.start + 9), pictures=[0])
    measures = hand_measures(paired_people(truth, with_hands("peace", 2)))
    assert measures["finger_count"].statistic.weights.tolist() == [1, 2]
    assert measures["hands_found"].statistic.weights.tolist() == [2, 2]


def test_no_hands_are_a_reason():
    truth = without(pose_list(2), slice(LEFT_HAND.start, 133))
    for measure in hand_measures(paired_people(truth, pose_list(2))).values():
        assert measure.measured().value is None
        assert measure.measured().reason.startswith("no true hand")
    nobody = hand_measures(paired_people(pose_list(2), PoseSet.of([None, None])))
    assert nobody["hands_found"].measured().value == 0
    assert "was found so" in nobody["finger_count_found"].measured().reason


def with_hands(gesture: str, count: int) -> PoseSet:
    poses = pose_list(count)
    for points in HANDS.values():
        poses.points[:, points] = drawn(gesture, count)
    return poses
