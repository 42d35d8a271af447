import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from h2d.pose.layouts import HAND_BONES, SIDES
from h2d.synth.hand import (
    ANGLE_LIMITS,
    ANGLE_NAMES,
    bone_gaps,
    mean_shape,
    place,
    pose_hand,
    rotation_facing,
    sample_shape,
    touches_itself,
)

STRAIGHT = np.zeros(21)


def lengths(joints):
    return np.array([np.linalg.norm(joints[end] - joints[start]) for start, end in HAND_BONES])


@pytest.mark.parametrize("side", SIDES)
def test_every_pose_keeps_the_bones_lengths(side):
    rng = np.random.default_rng(0)
    shape = sample_shape(rng, scale=1.1)
    for _ in range(50):
        hand = pose_hand(shape, rng.uniform(*ANGLE_LIMITS.T), side)
        np.testing.assert_allclose(lengths(hand.joints), shape.bone_lengths(), atol=1e-9)
        assert np.all(hand.joints[0] == 0)


@pytest.mark.parametrize("number", range(21))
@pytest.mark.parametrize("end", [0, 1])
def test_angles_beyond_the_limits_are_refused_by_name(number, end):
    angles = STRAIGHT.copy()
    angles[number] = ANGLE_LIMITS[number, end]
    pose_hand(mean_shape(), angles, "right")
    angles[number] += 1 if end else -1
    with pytest.raises(ValueError, match=ANGLE_NAMES[number]):
        pose_hand(mean_shape(), angles, "right")


def test_left_mirrors_right():
    angles = np.random.default_rng(1).uniform(*ANGLE_LIMITS.T)
    right, left = (pose_hand(mean_shape(), angles, side) for side in ("right", "left"))
    np.testing.assert_array_equal(left.joints, right.joints * [-1, 1, 1])
    np.testing.assert_array_equal(left.palm_normal, right.palm_normal * [-1, 1, 1])


def test_an_upright_right_hand_shows_its_palm_with_the_thumb_to_the_pictures_right():
    angles = STRAIGHT.copy()
    angles[ANGLE_NAMES.index("thumb_flexion")] = -45
    hand = pose_hand(mean_shape(), angles, "right")
    assert hand.joints[12, 1] < -180
    assert hand.joints[4, 0] > hand.joints[8, 0] > hand.joints[20, 0]
    assert hand.palm_normal[2] == -1


@pytest.mark.parametrize("joint", ["mcp", "pip", "dip"])
@pytest.mark.parametrize("finger", ["index", "middle", "ring", "little"])
def test_flexion_bends_towards_the_palm(finger, joint):
    angles = STRAIGHT.copy()
    angles[ANGLE_NAMES.index(f"{finger}_{joint}")] = 60
    tip = 8 + 4 * ["index", "middle", "ring", "little"].index(finger)
    straight, bent = (pose_hand(mean_shape(), each, "right").joints[tip] for each in (STRAIGHT, angles))
    assert bent[2] < straight[2] - 10
    assert bent[1] > straight[1] + 5


def test_spreading_towards_the_thumb_is_positive():
    angles = STRAIGHT.copy()
    angles[ANGLE_NAMES.index("index_spread")] = 20
    assert pose_hand(mean_shape(), angles, "right").joints[8, 0] > 24 + 20
    assert pose_hand(mean_shape(), angles, "left").joints[8, 0] < -24 - 20


def test_placing_turns_about_the_wrist():
    hand = pose_hand(mean_shape(), STRAIGHT, "left")
    turn = Rotation.from_euler("XYZ", [20, -40, 70], degrees=True)
    wrist = np.array([10.0, -20, 30])
    placed = place(hand, wrist, turn)
    np.testing.assert_allclose(placed.joints[0], wrist)
    np.testing.assert_allclose(lengths(placed.joints), lengths(hand.joints))
    np.testing.assert_allclose(placed.palm_normal, turn.apply(hand.palm_normal))


def test_facing_puts_fingers_and_palm_where_they_were_asked():
    hand = pose_hand(mean_shape(), STRAIGHT, "right")
    fingers, palm = np.array([0.6, 0.8, 0.0]), np.array([0.2, 0.0, 1.0])
    placed = place(hand, np.zeros(3), rotation_facing(fingers, palm))
    assert placed.palm_normal @ palm > 0.9
    np.testing.assert_allclose(placed.palm_normal @ fingers, 0, atol=1e-9)
    assert placed.joints[12] @ fingers > 0.98 * np.linalg.norm(placed.joints[12])


def test_crossed_fingers_touch():
    angles = STRAIGHT.copy()
    angles[ANGLE_NAMES.index("thumb_flexion")] = -45
    assert not touches_itself(pose_hand(mean_shape(), angles, "right"))
    angles[ANGLE_NAMES.index("index_spread")], angles[ANGLE_NAMES.index("middle_spread")] = -15, 15
    hand = pose_hand(mean_shape(), angles, "right")
    assert touches_itself(hand)
    assert bone_gaps(hand.joints, hand.joints + np.array([0, 0, 500])).min() > 400
