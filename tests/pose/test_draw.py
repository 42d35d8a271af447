"""Skeleton pictures follow OpenPose's rules: colours at joints, limbs and what is left out."""

import hashlib

import numpy as np
import pytest

from h2d.pose.draw import COLOURS_18, draw_skeleton, hand_colours
from h2d.pose.layouts import LEFT_HAND
from h2d.pose.openpose_layouts import BODY_18, NECK, body_18
from h2d.pose.points import missing_points


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


GOLDEN = {"humansd": "47d27584a7f63020", "v1.0": "7b897ca4f16f4196", "v1.1": "78445cd8d0bd8cf4"}


@pytest.mark.parametrize("style", sorted(GOLDEN))
def test_drawings_stay_as_they_were(style):
    drawn = draw_skeleton(person(), (256, 256), style=style)
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == GOLDEN[style]
