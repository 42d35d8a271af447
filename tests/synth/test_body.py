import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from h2d.pose.layouts import SIDES
from h2d.synth.body import body_points, reach, sample_build, sample_stance
from h2d.synth.hand import mean_shape, place, pose_hand

ORIGIN = np.zeros(3)


def standing(seed, legs="standing"):
    rng = np.random.default_rng(seed)
    build = sample_build(rng)
    return build, sample_stance(build, rng, at=ORIGIN, legs=legs)


def hand_at(wrist, side="right"):
    return place(pose_hand(mean_shape(), np.zeros(21), side), np.asarray(wrist, np.float64), Rotation.identity())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("side", SIDES)
def test_arms_reach_the_wrist_and_keep_their_lengths(seed, side):
    build, stance = standing(seed)
    out = 1 if side == "left" else -1
    wrist = stance.shoulders[side] + np.random.default_rng(seed).uniform([0, -250, -300], [150, 200, -180]) * [
        out,
        1,
        1,
    ]
    elbow, hand = reach(build, stance, side, hand_at(wrist, side))
    assert np.linalg.norm(hand.joints[0] - wrist) < 1e-6
    assert np.linalg.norm(elbow - stance.shoulders[side]) == pytest.approx(build.upper_arm, abs=1e-6)
    assert np.linalg.norm(elbow - wrist) == pytest.approx(build.forearm, abs=1e-6)


@pytest.mark.parametrize("offset", [[-2000.0, 0, 0], [0.0, 0, -1500], [-5.0, 3, -5]])
def test_hands_out_of_reach_are_pulled_in(offset):
    build, stance = standing(0)
    shoulder = stance.shoulders["right"]
    asked = hand_at(shoulder + offset)
    elbow, hand = reach(build, stance, "right", asked)
    assert np.linalg.norm(elbow - shoulder) == pytest.approx(build.upper_arm, abs=1e-6)
    assert np.linalg.norm(elbow - hand.joints[0]) == pytest.approx(build.forearm, abs=1e-6)
    shift = hand.joints - asked.joints
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], (21, 3)), atol=1e-9)


def test_the_elbow_of_a_raised_hand_hangs():
    for seed in range(10):
        build, stance = standing(seed)
        shoulder = stance.shoulders["right"]
        elbow, _ = reach(build, stance, "right", hand_at(shoulder + np.array([-90, -60, -200])))
        assert elbow[1] > shoulder[1] + 100


@pytest.mark.parametrize("legs", ["standing", "sitting"])
def test_legs_keep_their_lengths_and_the_points_their_order(legs):
    build, stance = standing(4, legs)
    hands = {side: hand_at(stance.shoulders[side] + [0, 450, -50], side) for side in SIDES}
    reached = {side: reach(build, stance, side, hand) for side, hand in hands.items()}
    points = body_points(
        stance,
        {side: elbow for side, (elbow, _) in reached.items()},
        {side: hand for side, (_, hand) in reached.items()},
    )
    for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
        assert np.linalg.norm(points[hip] - points[knee]) == pytest.approx(build.thigh)
        assert np.linalg.norm(points[knee] - points[ankle]) == pytest.approx(build.shank)
    lefts, rights = (
        np.array([1, 3, 5, 7, 9, 11, 13, 15, 17, 18, 19]),
        np.array([2, 4, 6, 8, 10, 12, 14, 16, 20, 21, 22]),
    )
    assert (points[lefts, 0] > points[rights, 0]).all()
    assert points[0, 1] < points[5, 1] < points[11, 1] < points[15, 1]
    assert points[0, 2] < points[3, 2]
    np.testing.assert_allclose(points[9], reached["left"][1].joints[0])


def test_heads_stand_on_the_neck_for_all_builds():
    for seed in range(30):
        build, stance = standing(seed)
        chin = stance.head_point(np.array([0.0, 109, -84]))
        assert -0.11 * build.height < chin[1] < -0.02 * build.height
        assert abs(stance.head_centre[0]) < 60
