"""What is missing in a pose and what cannot be: each check finds its own fault, and good poses have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from posed_people import pose_of, raised_hand, standing_person

from h2d.pose.checks import CHECKS, inventory, validate
from h2d.pose.layouts import ELBOWS, FEET, FLIP, HANDS, HIPS, SHOULDERS, WRISTS
from h2d.pose.points import missing_points
from h2d.pose.pose import Pose

LEFT = HANDS["left"]


def person_with_good_hands() -> np.ndarray:
    points = standing_person()
    for side, inwards in (("left", -1), ("right", 1)):
        points[HANDS[side]] = raised_hand(points[WRISTS[side], :2], inwards, size_px=80)
    return points


def good(**canvas) -> Pose:
    return pose_of(person_with_good_hands(), **canvas)


def changed(change) -> Pose:
    points = person_with_good_hands()
    change(points)
    return pose_of(points)


def set_missing(*places):
    def change(points):
        for place in places:
            points[place] = missing_points(len(points[place].reshape(-1, 3))).reshape(points[place].shape)

    return change


def set_hand(side="left", *, shift=(0, 0), scale=1.0):
    def change(points):
        wrist = points[WRISTS[side], :2]
        hand = points[HANDS[side]]
        hand[:, :2] = (hand[:, :2] - wrist) * scale + wrist + shift

    return change


def swap(*pairs):
    def change(points):
        for pair in pairs:
            left, right = np.r_[pair["left"]], np.r_[pair["right"]]
            points[left], points[right] = points[right], points[left]

    return change


def unsure(points):
    points[[0, 100], 2] = 0.1


def copy_hand(points):
    points[LEFT] = points[HANDS["right"]] + np.array([4, 0, 0], np.float32)


def put_on_the_other_wrist(points):
    points[LEFT, :2] += points[WRISTS["right"], :2] - points[WRISTS["left"], :2] + np.float32(25)


FAULTS = {
    "canvas_not_stated": (Pose(people=good().people, width=512, height=512, canvas_stated=False), None, 0),
    "canvas_off_grid": (good(width=512, height=517), None, 5),
    "no_hand": (changed(set_missing(LEFT, HANDS["right"])), None, 0),
    "unsure_points": (changed(unsure), None, 2),
    "shoulders_swapped": (
        changed(swap(SHOULDERS, HIPS, ELBOWS, WRISTS, HANDS)),
        None,
        -0.222,
    ),
    "hands_coincide": (changed(copy_hand), None, 4 / 77.3),
    "hand_incomplete": (changed(set_missing(95, 99)), "left", 19),
    "hand_too_few_points": (changed(set_missing(slice(92, 112))), "left", 1),
    "hand_has_no_arm": (changed(set_missing(WRISTS["left"], ELBOWS["left"])), "left", 0),
    "hand_has_no_forearm": (changed(set_missing(ELBOWS["left"])), "left", 0),
    "hand_is_cut": (good(width=336, height=512), "left", 4 / 21),
    "hand_outside_canvas": (good(width=320, height=512), "left", 13 / 21),
    "hand_small": (changed(set_hand(scale=0.7)), "left", 0.7 * 77.3 / 8),
    "hand_below_grid": (changed(set_hand(scale=0.3)), "left", 0.3 * 77.3 / 8),
    "hand_larger_than_torso": (changed(set_hand(scale=2.5)), "left", 2.5 * 77.3 / 171.2),
    "wrist_apart": (changed(set_hand(shift=(0, 90))), "left", 90 / 77.3),
    "left_is_right": (changed(put_on_the_other_wrist), "left", (123**2 + 25**2) ** 0.5 / 77.3),
}


def test_a_good_pose_has_no_finding_and_every_check_a_fault():
    assert validate(good()) == []
    assert set(FAULTS) == set(CHECKS)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_measured_and_has_a_remedy(name):
    pose, side, measured = FAULTS[name]
    findings = {finding.name: finding for finding in validate(pose)}
    assert name in findings
    finding = findings[name]
    assert finding.side == side
    assert finding.person == (None if name.startswith("canvas") else 0)
    assert finding.measured == pytest.approx(measured, rel=0.02)
    assert finding.measured < finding.limit if CHECKS[name].bound == "at least" else finding.measured > finding.limit
    assert finding.remedy
    assert "\n" not in finding.line()
    assert finding.line().endswith(finding.remedy)


def test_findings_of_one_hand_name_no_other():
    for name, (pose, side, _) in FAULTS.items():
        if side == "left" and name not in ("hand_is_cut", "hand_outside_canvas"):
            others = [finding for finding in validate(pose) if finding.side == "right"]
            assert others == [], name


def test_hands_swapped_are_told_as_such_and_the_remedy_is_one():
    swapped = good().with_hands_swapped(0)
    assert [(finding.name, finding.side) for finding in validate(swapped)] == [
        ("left_is_right", "left"),
        ("left_is_right", "right"),
    ]
    assert validate(swapped.with_hands_swapped(0)) == []


def test_a_remedy_that_samples_names_the_command():
    for name, command in (
        ("no_hand", "h2d sample"),
        ("hand_has_no_arm", "h2d sample"),
        ("hand_small", "h2d sample --zoom-hands"),
    ):
        assert any(command in finding.remedy for finding in validate(FAULTS[name][0]) if finding.name == name)


def test_the_remedy_for_small_hands_makes_them_large_enough():
    pose, *_ = FAULTS["hand_small"]
    (finding,) = validate(pose)
    width, height = map(int, finding.remedy.split("--resize ")[1].split(",")[0].split("x"))
    assert validate(pose.resized(width, height)) == []


def test_hands_in_prayer_are_two_and_at_their_own_wrists():
    def pray(points):
        points[WRISTS["left"]], points[WRISTS["right"]] = (266, 240, 1), (246, 240, 1)
        for side, inwards in (("left", -1), ("right", 1)):
            points[HANDS[side]] = raised_hand(points[WRISTS[side], :2], inwards, size_px=90)

    assert validate(changed(pray)) == []


@pytest.mark.parametrize("known", [HIPS, SHOULDERS])
def test_a_body_of_which_little_is_known_accuses_no_hand(known):
    points = person_with_good_hands()
    points[list(known.values())] = missing_points(2)
    points[FEET] = missing_points(6)
    assert validate(pose_of(points)) == []


def test_somebody_seen_from_the_side_without_hips_is_measured_by_the_arms():
    points = person_with_good_hands()
    points[SHOULDERS["right"], :2] = points[SHOULDERS["left"], :2] - np.float32((20, 0))
    points[list(HIPS.values())] = missing_points(2)
    assert validate(pose_of(points)) == []


def test_people_are_numbered_and_told_in_order():
    one_handed = person_with_good_hands()
    one_handed[HANDS["right"]] = missing_points()
    handless = standing_person()
    set_missing(LEFT, HANDS["right"])(handless)
    pose = pose_of(handless, person_with_good_hands(), one_handed, handless)
    assert [(finding.person, finding.name) for finding in validate(pose)] == [(0, "no_hand"), (3, "no_hand")]


def test_the_inventory_counts_what_is_shown():
    points = person_with_good_hands()
    points[LEFT.start, 2] = 0.2
    points[0] = (np.nan, np.nan, 0)
    assert inventory(pose_of(points)) == [{"body": 16, "feet": 6, "face": 68, "left_hand": 20, "right_hand": 21}]


whole_numbers = st.integers(-100, 600).map(float)


@settings(deadline=None, max_examples=80)
@given(
    xy=arrays.arrays(np.float32, (133, 2), elements=whole_numbers),
    confidence=arrays.arrays(np.float32, 133, elements=st.sampled_from([0.0, 0.25, 1.0])),
)
def test_any_pose_is_checked_and_its_mirror_image_alike(xy, confidence):
    points = np.column_stack([xy, confidence]).astype(np.float32)
    points[confidence == 0] = (np.nan, np.nan, 0)
    mirrored = points[list(FLIP)] * np.float32((-1, 1, 1)) + np.float32((512, 0, 0))
    other = {"left": "right", "right": "left", None: None}
    found = {(finding.name, finding.side) for finding in validate(pose_of(points))}
    assert found == {(one.name, other[one.side]) for one in validate(pose_of(mirrored))}
