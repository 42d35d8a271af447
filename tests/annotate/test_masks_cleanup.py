from dataclasses import replace

import numpy as np
import pytest
from masks_samples import SIZE_HW, open_hand, true_mask

from h2d.annotate.masks.cleanup import MaskRules, clean_mask, precision, problem_of, recall
from h2d.annotate.masks.prompts import hand_length

RULES = MaskRules()


def test_a_good_mask_is_kept_as_it_is():
    points = open_hand()
    mask = true_mask(points)
    np.testing.assert_array_equal(clean_mask(mask, points, RULES), mask)
    assert problem_of(mask, points, RULES) is None
    assert recall(mask, points) == 1
    assert precision(mask, points, RULES) == 1


def test_clean_mask_does_not_write_into_its_input():
    points = open_hand()
    mask = true_mask(points, arm_px=100)
    before = mask.copy()
    clean_mask(mask, points, RULES)
    np.testing.assert_array_equal(mask, before)


def test_specks_go_and_small_holes_are_filled():
    points = open_hand()
    mask = true_mask(points)
    ragged = mask.copy()
    ragged[150:156, 120:126] = True  # A speck beside the fingers.
    ragged[300:306, 250:256] = False
    np.testing.assert_array_equal(clean_mask(ragged, points, RULES), mask)


def test_a_large_hole_is_real():
    points = open_hand()
    mask = true_mask(points)
    mask[270:310, 230:280] = False
    assert not clean_mask(mask, points, RULES)[290, 255]
    assert clean_mask(mask, points, replace(RULES, max_hole=0.2))[290, 255]


def test_a_notch_at_the_border_is_no_hole():
    points = open_hand(centre=(256, 452))  # The wrist is on the lower edge.
    mask = true_mask(points)
    mask[-4:, 254:258] = False
    assert not clean_mask(mask, points, RULES)[-4:, 254:258].any()


def test_what_lies_around_is_no_hole_however_little_it_is():
    points = open_hand(scale=1.7)
    mask = np.ones(SIZE_HW, bool)
    mask[:10, :10] = False
    np.testing.assert_array_equal(clean_mask(mask, points, replace(RULES, wrist_cut=None)), mask)


def test_parts_that_hold_a_point_stay_even_if_cut_off():
    points = open_hand()
    mask = true_mask(points)
    row = int((points[10, 1] + points[11, 1]) / 2)
    mask[row - 2 : row + 2, 230:280] = False
    assert clean_mask(mask, points, RULES)[int(points[12, 1]), int(points[12, 0])]


def test_the_forearm_is_cut_below_the_wrist():
    points = open_hand(centre=(256, 250))
    mask = true_mask(points, arm_px=150)
    line = points[0, 1] + 0.15 * hand_length(points)
    cut = clean_mask(mask, points, RULES)
    assert np.flatnonzero(cut.any(axis=1))[-1] == pytest.approx(line, abs=1.5)
    uncut = clean_mask(mask, points, replace(RULES, wrist_cut=None))
    assert np.flatnonzero(uncut.any(axis=1))[-1] > line + 20


def test_nothing_stays_outside_the_clip_box():
    points = open_hand()
    cleaned = clean_mask(np.ones(SIZE_HW, bool), points, replace(RULES, wrist_cut=None))
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    extra = 0.3 * (high - low).max()
    rows, columns = np.flatnonzero(cleaned.any(axis=1)), np.flatnonzero(cleaned.any(axis=0))
    assert rows[0] == pytest.approx(max(0, low[1] - extra), abs=1)
    assert columns[-1] == pytest.approx(high[0] + extra, abs=1)


def test_refusals_name_the_measure_and_its_value():
    points = open_hand(scale=0.6)
    without_fingers = true_mask(points) & (np.arange(512)[:, None] > points[9, 1])
    share = recall(without_fingers, points)
    assert problem_of(without_fingers, points, RULES) == f"recall {share:.2f} of the hand's points is below 0.8"
    too_much = problem_of(np.ones(SIZE_HW, bool), points, RULES)
    assert too_much is not None
    assert too_much.startswith("area ")
    assert too_much.endswith(" of the hand's box is above 1.2")


def test_thin_scratches_are_too_small_for_a_hand():
    points = open_hand()
    scratches = np.zeros(SIZE_HW, bool)
    scratches[points[:, 1].astype(int), points[:, 0].astype(int)] = True
    assert problem_of(scratches, points, RULES) == "area 0.00 of the hand's box is below 0.15"


def test_limits_are_inclusive():
    points = np.tile(np.array([[100, 100, 1]], np.float32), (21, 1))
    points[1, :2] = (200, 200)
    mask = np.zeros(SIZE_HW, bool)
    mask[85:215, 85:215] = True
    assert problem_of(mask, points, replace(RULES, max_area=1.0)) is None
    assert problem_of(mask, points, replace(RULES, min_area=1.0)) is None
    assert problem_of(mask, points, replace(RULES, max_area=0.99)) == "area 1.00 of the hand's box is above 0.99"


def test_a_hand_out_of_sight_has_no_mask():
    points = open_hand(centre=(2000, 2000))
    mask = np.ones(SIZE_HW, bool)
    assert not clean_mask(mask, points, RULES).any()
    assert recall(mask, points) == precision(mask, points, RULES) == 0
    assert problem_of(mask, points, RULES) == "no point of the hand lies in the crop"
