import numpy as np
import pytest
from masks_samples import SIZE_HW, open_hand

from h2d.annotate.masks.prompts import beyond_wrist, grown_box, hand_length, hand_prompts, inside
from h2d.pose.points import missing_points


def test_box_grows_by_its_longer_side_and_stays_in_the_crop():
    points = np.array([[100, 200, 1], [300, 240, 1]], np.float32)
    assert grown_box(points, 0.15, (512, 512)) == pytest.approx((70, 170, 330, 270))
    assert grown_box(points, 0.15, (250, 310)) == pytest.approx((70, 170, 310, 250))
    assert grown_box(points, 2.0, (512, 512)) == (0.0, 0.0, 512.0, 512.0)


def test_only_points_in_the_crop_are_asked():
    points = open_hand()
    points[8, :2] = (-1, 50)
    points[12, :2] = (512, 50)
    points[16] = (np.nan, np.nan, 0)
    prompt = hand_prompts({"left": points}, margin=0.15, size_hw=SIZE_HW)["left"]
    assert prompt.points.shape == (18, 2)
    assert prompt.labels.all()
    assert np.isfinite(prompt.points).all()
    assert inside(points, SIZE_HW).sum() == 18


def test_a_hand_out_of_sight_gets_no_prompt():
    hands = {"left": open_hand(), "right": missing_points()}
    assert list(hand_prompts(hands, margin=0.15, size_hw=SIZE_HW)) == ["left"]


def test_the_other_hands_points_outside_the_box_are_negative():
    left, right = open_hand(centre=(130, 300), scale=0.6), open_hand(centre=(380, 300), scale=0.6)
    prompts = hand_prompts({"left": left, "right": right}, margin=0.15, size_hw=SIZE_HW)
    assert prompts["left"].labels.sum() == 21
    assert len(prompts["left"].labels) == 42
    np.testing.assert_array_equal(prompts["left"].points[21:], right[:, :2])


def test_crossed_hands_give_no_negatives_inside_the_box():
    left, right = open_hand(centre=(230, 300)), open_hand(centre=(290, 300))
    prompt = hand_prompts({"left": left, "right": right}, margin=0.15, size_hw=SIZE_HW)["left"]
    negatives = prompt.points[~prompt.labels]
    left_edge, top, right_edge, bottom = prompt.box_xyxy
    assert 0 < len(negatives) < 21
    assert not ((negatives >= (left_edge, top)) & (negatives <= (right_edge, bottom))).all(axis=1).any()


@pytest.mark.parametrize("turn", [0, 45, 170, 300])
def test_hand_length_does_not_depend_on_where_it_points_nor_on_a_lost_finger(turn):
    whole = hand_length(open_hand())
    turned = open_hand(turn=turn)
    assert hand_length(turned) == pytest.approx(whole, rel=1e-4)
    turned[10:13] = (np.nan, np.nan, 0)
    assert hand_length(turned) == pytest.approx(whole, rel=0.15)
    assert hand_length(missing_points()) == 0


def test_wrist_line_is_perpendicular_to_the_palm():
    points = open_hand()
    wrist_y, length = points[0, 1], hand_length(points)
    arm = beyond_wrist(points, 0.15, SIZE_HW)
    assert arm is not None
    first_row = int(np.flatnonzero(arm.all(axis=1))[0])
    assert first_row == pytest.approx(wrist_y + 0.15 * length, abs=1)
    assert not arm[: first_row - 1].any()


def test_wrist_line_never_takes_a_point_of_the_hand():
    points = open_hand()
    points[4, :2] = points[0, :2] + (5, 80)
    arm = beyond_wrist(points, 0.15, SIZE_HW)
    assert arm is not None
    assert not arm[points[:, 1].astype(int), points[:, 0].astype(int)].any()


def test_wrist_line_is_unknown_without_a_direction():
    points = open_hand()
    towards_camera = points.copy()
    towards_camera[0, :2] = towards_camera[9, :2] + (0, 3)
    assert beyond_wrist(towards_camera, 0.15, SIZE_HW) is None
    points[0] = (np.nan, np.nan, 0)
    assert beyond_wrist(points, 0.15, SIZE_HW) is None
