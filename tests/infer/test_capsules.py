"""Depth drawn from a hand's points."""

import numpy as np
from poses import pose_of, spread_hand

from h2d.infer.baselines.capsules import FARTHEST, MASK_PADDING_PX, box_around, draw_hands, hand_relief
from h2d.pose.layouts import FINGERS


def test_a_hand_stands_out_along_its_bones_and_nowhere_else():
    hand = spread_hand(128, 220, 100)
    relief = hand_relief(hand, (256, 256))
    for x, y, _ in hand:
        assert relief[int(y), int(x)] > 3
    tip = hand[FINGERS["middle"][-1]]
    assert relief[int(tip[1]) - 12, int(tip[0])] == 0
    assert relief[10:40].max() == 0
    index, middle = hand[FINGERS["index"][-1]], hand[FINGERS["middle"][-1]]
    between = (index + middle) / 2
    assert relief[int(between[1]), int(between[0])] == 0  # fingers are apart at their tips
    palm = hand[[0, 5, 17], :2].mean(axis=0)
    assert relief[int(palm[1]), int(palm[0])] > relief[int(tip[1]), int(tip[0])]


def test_it_moves_and_grows_with_the_hand():
    small = hand_relief(spread_hand(60, 110, 50), (256, 256))
    moved = hand_relief(spread_hand(90, 110, 50), (256, 256))
    large = hand_relief(spread_hand(120, 220, 100), (256, 256))
    assert np.abs(np.roll(small, 30, axis=1) - moved).max() < 1e-3
    assert 1.9 < large.max() / small.max() < 2.1


def test_brightness_has_handrefiners_range_and_missing_points_are_left_out():
    pose = pose_of(("left", 128, 220, 100), width=256, height=256)
    depth, boxes = draw_hands(pose)
    lit = depth[depth > 0]
    assert lit.max() == 255
    assert abs(int(lit.min()) - FARTHEST * 255) <= 1
    assert boxes[depth > 0].all()
    pose.people[0, 91 + 20] = (np.nan, np.nan, 0)
    fewer, _ = draw_hands(pose)
    assert (fewer > 0).sum() < (depth > 0).sum()
    nobody, none = draw_hands(pose_of(width=64, height=64))
    assert not nobody.any()
    assert not none.any()


def test_a_hand_outside_and_a_lone_point():
    assert not hand_relief(spread_hand(-500, -500, 50), (64, 64)).any()
    hand = np.full((21, 3), np.nan, np.float32)
    hand[:, 2] = 0
    hand[8] = (30, 30, 1)
    assert not hand_relief(hand, (64, 64)).any()


def test_boxes_are_padded_within_the_picture():
    shown = np.zeros((300, 300), bool)
    shown[100:140, 5:245] = True
    box = box_around(shown)
    rows, columns = np.nonzero(box)
    assert (rows.min(), rows.max()) == (100 - MASK_PADDING_PX, 139 + MASK_PADDING_PX)
    assert (columns.min(), columns.max()) == (0, 244 + 36)
