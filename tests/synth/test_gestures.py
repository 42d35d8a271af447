import numpy as np
import pytest

from h2d.pose.layouts import HAND_BONES, SIDES
from h2d.synth.gestures import GESTURES, TWO_HANDED, free_hand, gesture_hands, relaxed_hand
from h2d.synth.hand import bone_gaps, mean_shape, place, pose_hand, touches_itself

CAMERA = "dislike fist four grabbing little_finger ok one palm peace rock stop three three2 three3 thumb_index two_up"
AWAY = "call like middle_finger no_gesture peace_inverted stop_inverted three_gun two_up_inverted"
TWO = {"hand_heart", "hand_heart2", "holy", "take_picture", "thumb_index2", "timeout", "xsign"}
UP_FINGERS = {
    "call": "thumb little", "dislike": "thumb", "fist": "", "four": "index middle ring little",
    "like": "thumb", "little_finger": "little", "middle_finger": "middle", "mute": "index", "one": "index",
    "palm": "thumb index middle ring little", "peace": "index middle", "peace_inverted": "index middle",
    "point": "index",
    "rock": "index little", "stop": "thumb index middle ring little", "three": "index middle ring",
    "stop_inverted": "thumb index middle ring little", "three2": "thumb index middle", "three3": "middle ring little",
    "three_gun": "thumb index middle", "thumb_index": "thumb index", "thumb_index2": "thumb index",
    "two_up": "index middle", "two_up_inverted": "index middle", "ok": "thumb middle ring little",
}  # fmt: skip


def posed(name, lead, seed):
    shapes = dict.fromkeys(SIDES, mean_shape())
    hands = gesture_hands(name, lead, shapes, np.random.default_rng(seed))
    return {side: place(hand, np.zeros(3), rotation) for side, (hand, rotation, _) in hands.items()}


def stretched(joints):
    """Which fingers are straight: nearly as long from base to tip as their bones together."""
    names = {"thumb": 1, "index": 5, "middle": 9, "ring": 13, "little": 17}
    straight = []
    for name, base in names.items():
        points = joints[base : base + 4]
        bones = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
        if np.linalg.norm(points[-1] - points[0]) > 0.93 * bones:
            straight.append(name)
    return straight


def test_there_are_the_34_classes():
    assert len(GESTURES) == 34
    assert set(TWO_HANDED) == TWO


@pytest.mark.parametrize("name", GESTURES)
@pytest.mark.parametrize("lead", SIDES)
def test_variations_stay_hands(name, lead):
    for seed in range(4):
        hands = posed(name, lead, seed)
        assert set(hands) == (set(SIDES) if name in TWO else {lead})
        for hand in hands.values():
            bones = [np.linalg.norm(hand.joints[end] - hand.joints[start]) for start, end in HAND_BONES]
            np.testing.assert_allclose(bones, mean_shape().bone_lengths())
            assert not touches_itself(hand, gap_mm=7)


@pytest.mark.parametrize("name", UP_FINGERS)
def test_the_right_fingers_are_stretched(name):
    joints = pose_hand(mean_shape(), GESTURES[name].lead.angles(), "right").joints
    assert stretched(joints) == UP_FINGERS[name].split()


@pytest.mark.parametrize("lead", SIDES)
@pytest.mark.parametrize("name", [*CAMERA.split(), *AWAY.split()])
def test_palms_face_as_they_should(name, lead):
    for seed in range(4):
        towards_camera = -posed(name, lead, seed)[lead].palm_normal[2]
        assert towards_camera > 0.5 if name in CAMERA.split() else towards_camera < -0.35


@pytest.mark.parametrize("lead", SIDES)
def test_thumbs_point_up_and_down(lead):
    for name, sign in (("like", -1), ("dislike", 1)):
        joints = posed(name, lead, 0)[lead].joints
        assert sign * (joints[4, 1] - joints[2, 1]) > 35


def test_every_class_looks_different():
    """After turning: some joint is elsewhere, by more than a finger is thick, or the hand is put elsewhere."""
    looks = {}
    for name, gesture in GESTURES.items():
        joints = posed(name, "right", 0)["right"].joints
        looks[name] = gesture.place, joints
    for name, (where, joints) in looks.items():
        for other, (place_of_other, other_joints) in looks.items():
            if name < other and place_of_other == where:
                assert np.linalg.norm(joints - other_joints, axis=1).max() > 20, (name, other)


def test_the_ring_of_ok_is_closed():
    joints = pose_hand(mean_shape(), GESTURES["ok"].lead.angles(), "right").joints
    assert 10 < np.linalg.norm(joints[4] - joints[8]) < 20


@pytest.mark.parametrize("side", SIDES)
def test_free_hands_do_not_pass_through_themselves(side):
    rng = np.random.default_rng(3)
    hands = [free_hand(mean_shape(), side, rng) for _ in range(30)]
    assert not any(touches_itself(hand) for hand in hands)
    assert np.std([hand.joints[12] for hand in hands], axis=0).max() > 20


def test_the_same_generator_gives_the_same_hands():
    first, second = (posed("peace", "left", 5)["left"].joints for _ in range(2))
    np.testing.assert_array_equal(first, second)
    relaxed = [relaxed_hand(mean_shape(), "left", np.random.default_rng(seed)).joints for seed in (0, 1)]
    assert not np.array_equal(*relaxed)


def test_praying_hands_touch_with_their_fingertips_alone():
    hands = posed("holy", "right", 0)
    joints = {side: hand.joints - hand.joints[12] for side, hand in hands.items()}
    joints["right"] -= [16, 0, 0]
    gaps = bone_gaps(joints["right"], joints["left"])
    assert gaps.min() > 8
    assert gaps[0, 0] > 40
