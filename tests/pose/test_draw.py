"""Skeleton pictures follow OpenPose's rules: colours at joints, limbs and what is left out."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb
from posed_people import pose_of, raised_hand, standing_person

from h2d.images import load_rgb
from h2d.pose.draw import (
    COLOURS_18,
    HUMANSD_LIMBS,
    STYLES,
    control_picture,
    draw_pose,
    draw_skeleton,
    hand_colours,
    humansd_colours,
)
from h2d.pose.layouts import FACE, HANDS, LEFT_HAND, WRISTS
from h2d.pose.openpose_layouts import BODY_18, NECK, body_18
from h2d.pose.points import missing_points
from h2d.pose.pose import Pose


def person() -> np.ndarray:
    random = np.random.default_rng(3)
    points = np.column_stack([random.uniform(10, 246, (133, 2)), np.ones(133)])
    return points.astype(np.float32)


def test_neck_is_between_the_shoulders_and_right_comes_first():
    points = person()
    points[5, 2] = 0.4
    body = body_18(points)
    np.testing.assert_allclose(body[NECK], (*points[[5, 6], :2].mean(axis=0), 0.4), rtol=1e-6)
    np.testing.assert_array_equal(body[2], points[6])


def test_joints_of_v11_are_full_colour_and_limbs_six_tenths():
    points = missing_points(133)
    points[6], points[8] = (60, 100, 1), (160, 100, 1)
    picture = draw_skeleton(points, (200, 200))
    assert tuple(picture[100, 60]) == COLOURS_18[BODY_18.index(6)]
    assert tuple(picture[100, 110]) == tuple(int(channel * 0.6) for channel in COLOURS_18[2])
    blended = draw_skeleton(points, (200, 200), style="v1.0")
    np.testing.assert_allclose(blended[100, 110], np.multiply(COLOURS_18[2], 0.6), atol=1)


def test_hand_is_blue_joints_on_a_wheel_of_lines():
    points = missing_points(133)
    points[LEFT_HAND.start], points[LEFT_HAND.start + 1] = (20, 50, 1), (80, 50, 1)
    picture = draw_skeleton(points, (100, 100))
    assert tuple(picture[50, 20]) == (0, 0, 255)
    assert tuple(picture[50, 50]) == hand_colours()[0] == (255, 0, 0)
    assert draw_skeleton(points, (100, 100), hands=False).max() == 0


@pytest.mark.parametrize("style", ["v1.1", "v1.0", "humansd"])
def test_unsure_points_draw_nothing(style):
    points = person()
    points[:, 2] = 0.29
    assert draw_skeleton(points, (64, 64), style=style).max() == 0


def test_a_v11_person_does_not_dim_the_one_before():
    alone, other = missing_points(133), missing_points(133)
    alone[6], alone[8] = (20, 50, 1), (120, 50, 1)
    other[6], other[8] = (20, 150, 1), (120, 150, 1)
    both = draw_pose(pose_of(alone, other, width=150, height=200))
    np.testing.assert_array_equal(both[:100], draw_pose(pose_of(alone, width=150, height=200))[:100])


def test_v10_lays_every_limb_over_every_joint_of_everybody():
    limb, joint = missing_points(133), missing_points(133)
    limb[6], limb[8] = (20, 50, 1), (120, 50, 1)
    joint[0] = (70, 50, 1)
    picture = draw_pose(pose_of(limb, joint, width=150, height=100), style="v1.0")
    np.testing.assert_allclose(
        picture[50, 70], np.multiply(COLOURS_18[0], 0.4) + np.multiply(COLOURS_18[2], 0.6), atol=1
    )


def test_humansd_ends_limbs_round_in_the_colour_of_the_last():
    points = missing_points(133)
    points[5], points[7], points[9] = (30, 50, 1), (80, 50, 1), (130, 50, 1)
    points[0] = (10, 90, 1)
    picture = draw_skeleton(points, (100, 200), style="humansd")
    upper, lower = (humansd_colours()[HUMANSD_LIMBS.index(limb)] for limb in ((5, 7), (7, 9)))
    assert tuple(picture[50, 50]) == upper
    assert tuple(picture[50, 80]) == tuple(picture[50, 76]) == lower
    assert tuple(picture[50, 135]) == lower
    assert picture[85:].max() == 0  # a point with no limb is not drawn


def test_colour_wheels_are_those_of_matplotlib_and_seaborn():
    wheel = np.array([hsv_to_rgb((bone / 20, 1, 1)) for bone in range(20)]) * 255
    np.testing.assert_array_equal(hand_colours(), np.floor(wheel + 0.5))
    assert humansd_colours()[:3] == [(219, 94, 86), (219, 144, 86), (219, 194, 86)]


@pytest.mark.parametrize(("where", "drawn"), [((0.9, 50), False), ((1, 50), True), ((50, 0.9), False), ((50, 1), True)])
def test_hands_and_faces_leave_out_the_first_column_and_row_and_bodies_do_not(where, drawn):
    for point in (LEFT_HAND.start, FACE.start):
        points = missing_points(133)
        points[point] = (*where, 1)
        assert bool(draw_skeleton(points, (100, 100)).max()) == drawn
    points = missing_points(133)
    points[0] = (*where, 1)
    assert draw_skeleton(points, (100, 100)).max() == 255


@pytest.mark.parametrize("style", STYLES)
def test_nobody_is_black(style):
    nobody = Pose(people=np.zeros((0, 133, 3), np.float32), width=40, height=30)
    picture = draw_pose(nobody, style=style)
    assert picture.shape == (30, 40, 3)
    assert picture.max() == 0


def golden_pose() -> Pose:
    """Two people who overlap, the second without a left arm, one hand across the picture's edge."""
    first = standing_person()
    for side, inwards in (("left", -1), ("right", 1)):
        first[HANDS[side]] = raised_hand(first[WRISTS[side], :2], inwards, size_px=130)
    second = first.copy()
    second[:, :2] = second[:, :2] * 0.8 - (30, -60)
    second[[7, 9]] = missing_points(2)
    second[LEFT_HAND] = missing_points()
    return pose_of(first, second).resized(400, 400)


@pytest.mark.parametrize("style", STYLES)
def test_drawings_are_the_golden_pictures(style):
    """Made by these functions when they agreed, pixel by pixel, with ControlNet's and HumanSD's rules on 300 poses."""
    golden = load_rgb(Path(__file__).parent / "golden" / f"{style}.png")
    np.testing.assert_array_equal(draw_pose(golden_pose(), style=style), golden)


def test_a_control_picture_is_the_skeleton_itself_from_512_pixels_on():
    pose = pose_of(standing_person(), width=512, height=512)
    np.testing.assert_array_equal(control_picture(pose), draw_pose(pose))


def test_strokes_of_a_small_control_picture_keep_their_share_of_it():
    large = pose_of(standing_person(), width=512, height=512)
    small = control_picture(large.resized(128, 128))
    assert small.shape == (128, 128, 3)
    share = (draw_pose(large) > 0).any(axis=2).mean()
    assert small.astype(float).mean() == pytest.approx(draw_pose(large).astype(float).mean(), rel=0.1)
    assert (draw_pose(large.resized(128, 128)) > 0).any(axis=2).mean() > 2 * share
