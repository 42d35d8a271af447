"""Pose measures on people whose truth is known, and the traps of areas, missing points and scores."""

import numpy as np
import pytest
from pose_lists import moved_by, person, pose_list, without

from h2d.errors import UserError
from h2d.eval.instances import found_people, true_people
from h2d.eval.joint_error import correct_points, joint_error
from h2d.eval.measured import Undefined
from h2d.eval.pairing import paired_people
from h2d.eval.pose_accuracy import PoseConventions, matched, pose_measures
from h2d.eval.poses import PoseSet
from h2d.pose.layouts import HANDS, LEFT_HAND, NUM_POINTS, RIGHT_HAND
from h2d.pose.pose import Pose

HAND_POINTS = slice(LEFT_HAND.start, RIGHT_HAND.stop)


def value(name: str, truth: PoseSet, found: PoseSet, conventions: PoseConventions | None = None) -> float:
    measured = pose_measures(truth, found, conventions)[name].measured()
    assert measured.value is not None, measured.reason
    return measured.value


@pytest.fixture(scope="module")
def truth() -> PoseSet:
    return pose_list(30)


def test_the_same_poses_are_perfect(truth):
    for name, measure in pose_measures(truth, truth).items():
        measured = measure.measured()
        assert measured.value == (0 if name.startswith("mpjpe") else pytest.approx(1)), name
        assert measured.num_pictures == 30
        assert "truth_above" in measured.conventions


@pytest.mark.parametrize(("dx", "dy"), [(10.24, 0), (0, -5.12), (3, 4)])
@pytest.mark.parametrize("missing", ["zero", "skip", "penalty"])
def test_mpjpe_is_the_known_shift_in_the_pictures_units(truth, dx, dy, missing):
    name = "mpjpe" + ("" if missing == "zero" else f"_{missing}")
    expected = np.hypot(dx / 512, dy / 512)
    for suffix in ("", "_hands"):
        assert value(name + suffix, truth, moved_by(truth, dx, dy)) == pytest.approx(expected, rel=1e-4)


def test_width_and_height_are_units_of_their_own():
    truth = pose_list(3, width=640, height=320)
    assert value("mpjpe", truth, moved_by(truth, 64, 0)) == pytest.approx(0.1, rel=1e-4)
    assert value("mpjpe", truth, moved_by(truth, 0, 64)) == pytest.approx(0.2, rel=1e-4)


def test_what_a_missing_joint_costs_is_the_rules_choice(truth):
    """One hand of two is gone, the other is where it should be."""
    found = without(truth, HANDS["left"])
    xy = truth.points[:, LEFT_HAND, :2] / 512
    assert value("mpjpe_hands", truth, found) == pytest.approx(np.linalg.norm(xy, axis=-1).mean() / 2, rel=1e-5)
    assert value("mpjpe_skip_hands", truth, found) == 0
    assert value("mpjpe_penalty_hands", truth, found) == pytest.approx(0.5)
    assert value("mpjpe_penalty_hands", truth, found, PoseConventions(penalty=0.4)) == pytest.approx(0.2)


def test_joints_that_the_truth_lacks_never_count(truth):
    lacking = without(truth, LEFT_HAND)
    found = moved_by(truth, 0, 0)
    found.points[:, LEFT_HAND, :2] += 100
    for name in ("mpjpe_hands", "mpjpe_skip_hands", "mpjpe_penalty_hands"):
        assert value(name, lacking, found) == 0
    assert value("oks_hands", lacking, found) == 1


def test_people_and_joints_may_be_averaged_alike_or_not():
    truth = without(pose_list(2), slice(1, NUM_POINTS), pictures=[0])
    people = paired_people(truth, moved_by(truth, 51.2, 0, pictures=[0]))
    assert joint_error(people).on() == pytest.approx(0.05, rel=1e-4)
    assert joint_error(people, averaged="joints").on() == pytest.approx(0.1 / 134, rel=1e-4)


def test_nobody_found_is_a_number_by_two_rules_and_a_reason_by_the_third(truth):
    nobody = PoseSet.of([None] * 30)
    measures = pose_measures(truth, nobody)
    for name in ("dap", "dap_hands", "ar", "oks", "found", "found_hands", "pck"):
        assert measures[name].measured().value == 0
    assert measures["mpjpe_penalty"].measured().value == 1
    assert 0.3 < measures["mpjpe"].measured().value < 1.5
    skipped = measures["mpjpe_skip"].measured()
    assert skipped.value is None
    assert "none of the true joints was found" in skipped.reason


def test_no_truth_is_a_reason_everywhere(truth):
    measures = pose_measures(PoseSet.of([None] * 30), truth)
    for name, measure in measures.items():
        assert measure.measured().value is None, name
        assert measure.measured().reason


def test_one_picture_is_enough():
    truth = pose_list(1)
    assert value("dap", truth, truth) == pytest.approx(1)
    assert value("mpjpe", truth, moved_by(truth, 5.12, 0)) == pytest.approx(0.01, rel=1e-4)


def test_swapped_hands_lower_the_hands_figures_and_hardly_the_whole(truth):
    points = truth.points.copy()
    points[:, LEFT_HAND], points[:, RIGHT_HAND] = truth.points[:, RIGHT_HAND], truth.points[:, LEFT_HAND]
    swapped = replaced(truth, points)
    assert value("dap_hands", truth, swapped) < 0.1
    assert value("oks", truth, swapped) == pytest.approx(91 / 133, abs=0.02)
    assert value("mpjpe_hands", truth, swapped) > 0.2


def test_the_hands_area_convention_decides_and_both_are_reported(truth):
    shifted = moved_by(truth, 4, 3)
    by_person, by_hands = value("oks_hands", truth, shifted), value("oks_hands_bbox", truth, shifted)
    assert by_person > by_hands + 0.01
    measures = pose_measures(truth, shifted)
    assert measures["dap_hands"].conventions["area"] == "person"
    assert measures["dap_hands_bbox"].conventions["area"] == "hand_bbox"


def test_missing_points_do_not_widen_the_area(truth):
    whole = true_people(truth)
    half = true_people(without(truth, slice(0, 23)))
    tight = truth.points[:, 23:, :2]
    assert half.area == pytest.approx(np.prod(tight.max(axis=1) - tight.min(axis=1), axis=1), rel=1e-5)
    assert (half.area < whole.area).all()
    assert true_people(truth, points="hands", hand_area="hand_bbox").area[0] < whole.area[0]


def test_who_has_none_of_the_points_is_a_miss_and_not_a_wrong_detection(truth):
    """xtcocotools, by which HumanSD measures, drops them; pycocotools counts them as people at the origin."""
    half = without(truth, HAND_POINTS, pictures=range(15))
    matches = matched(truth, half, points="hands")
    assert len(matches.picture) == 15
    assert value("dap_hands", truth, half) == pytest.approx(51 / 101)  # half the recalls, at full precision
    assert value("found_hands", truth, half) == 0.5


def test_hands_that_the_truth_lacks_excuse_those_that_were_found(truth):
    lacking = without(truth, HAND_POINTS, pictures=range(15))
    assert value("dap_hands", lacking, truth) == 1


def test_scores_are_one_or_the_points_confidence_or_given(truth):
    points = truth.points.copy()
    points[:, HAND_POINTS, 2] = 0.5
    sure = replaced(truth, points)
    assert (found_people(sure).scores == 1).all()
    assert found_people(sure, points="hands", score="confidence").scores == pytest.approx(0.5)
    assert found_people(sure, score="confidence").scores == pytest.approx((91 + 21) / 133)
    with pytest.raises(UserError, match="no scores"):
        found_people(sure, score="given")
    given = PoseSet(picture=sure.picture, points=sure.points, size_wh=sure.size_wh, scores=np.arange(30.0))
    assert found_people(given, score="given").scores.tolist() == list(range(30))


def test_unsure_and_outside_truth_may_be_left_out():
    points = person()
    points[:17, 2] = 0.2
    points[0, :2] = (-30, 20)
    truth = PoseSet.of([Pose(people=points[None], width=512, height=512)])
    assert true_people(truth).labelled.sum() == 133
    assert true_people(truth.labelled(above=0.2)).labelled.sum() == 116
    assert true_people(truth.labelled(inside=True)).labelled.sum() == 132


def test_found_poses_may_be_of_another_size_but_not_of_another_shape():
    truth, larger = pose_list(4), pose_list(4, width=1024, height=1024, scale=2)
    assert value("mpjpe", truth, larger) == pytest.approx(0, abs=1e-6)
    assert value("oks", truth, larger) == pytest.approx(1)
    with pytest.raises(UserError, match=r"picture 0 of the list is 640 x 320, its true pose is for 512 x 512"):
        pose_measures(truth, pose_list(4, width=640, height=320))


def test_lists_of_different_length_are_refused_in_one_line(truth):
    with pytest.raises(UserError, match="29 poses were found for 30 true ones") as caught:
        pose_measures(truth, pose_list(29))
    assert "\n" not in str(caught.value)


def test_many_people_are_paired_with_who_is_most_alike():
    left, right = person(shift=(-150, 0)), person(shift=(150, 0))
    truth = PoseSet.of([Pose(people=np.stack([left, right]), width=512, height=512)])
    found = PoseSet.of([Pose(people=np.stack([right, person(shift=(0, 300)), left]), width=512, height=512)])
    people = paired_people(truth, found)
    assert (people.found == people.truth).all()
    alone = paired_people(truth, PoseSet.of([Pose(people=right[None], width=512, height=512)]))
    assert alone.seen.any(axis=1).tolist() == [False, True]


def test_nobody_is_paired_twice():
    """Both true people are most like the first that was found."""
    near, far = person(), person(shift=(3, 0))
    truth = PoseSet.of([Pose(people=np.stack([near, far]), width=512, height=512)])
    found = PoseSet.of([Pose(people=np.stack([person(shift=(1, 0)), person(shift=(40, 0))]), width=512, height=512)])
    people = paired_people(truth, found)
    assert (people.found[0] == found.points[0]).all()
    assert (people.found[1] == found.points[1]).all()


def test_pck_counts_joints_within_a_share_of_the_hand():
    truth = pose_list(1)
    hand = paired_people(truth, moved_by(truth, 10, 0)).of(HANDS["right"])
    side = np.ptp(hand.truth[0, :, :2], axis=0).max()
    curve = correct_points(hand, thresholds=np.array([0, 9.9 / side, 10.1 / side, 1]))
    assert curve.curve().tolist() == [0, 0, 1, 1]
    assert curve.at(1).on() == 1
    thresholds = np.array([0.0, 0.5, 1.0])
    assert correct_points(hand, thresholds=thresholds).on() == pytest.approx(0.75)
    half = correct_points(paired_people(truth, without(truth, HANDS["left"])).of(HAND_POINTS), thresholds=thresholds)
    assert half.curve().tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(UserError, match="ascending"):
        correct_points(hand, thresholds=np.array([0.2, 0.1]))


def test_a_part_of_the_list_is_measured_as_if_it_were_all(truth):
    found = moved_by(truth, 20, 0, pictures=range(10))
    counts = np.zeros(30, np.int64)
    counts[:10] = 1
    measures = pose_measures(truth, found)
    alone = pose_measures(pose_list(10), moved_by(pose_list(10), 20, 0))
    for name, measure in measures.items():
        part = measure.measured(counts)
        assert part.value == pytest.approx(alone[name].measured().value, abs=1e-9), name
        assert part.num_pictures == 10
    assert measures["mpjpe"].statistic.per_picture[[0, 29]] == pytest.approx([20 / 512, 0], rel=1e-4)


def test_nothing_taken_is_undefined(truth):
    with pytest.raises(Undefined):
        pose_measures(truth, truth)["mpjpe"].statistic.on(np.zeros(30, np.int64))


def replaced(poses: PoseSet, points) -> PoseSet:
    return PoseSet(picture=poses.picture, points=points, size_wh=poses.size_wh)
