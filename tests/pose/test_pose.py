"""The pose type: what it holds, what it hashes, and that moving it keeps missing points missing."""

import numpy as np
import pytest
from posed_people import pose_of, standing_person

from h2d.pose.layouts import HANDS
from h2d.pose.points import missing_points, present
from h2d.pose.pose import Pose


def test_hands_are_found_by_person_and_side():
    one_handed = standing_person()
    one_handed[HANDS["left"]] = missing_points()
    pose = pose_of(standing_person(), one_handed)
    assert list(pose.hands()) == [(0, "left"), (0, "right"), (1, "right")]
    np.testing.assert_array_equal(pose.hand(1, "right"), one_handed[HANDS["right"]])
    assert not pose.has_hand(1, "left")


def test_a_hand_is_a_copy():
    pose = pose_of(standing_person())
    before = pose.pose_hash()
    pose.hand(0, "left")[:] = 0
    assert pose.pose_hash() == before


def test_resizing_there_and_back_is_the_identity_and_missing_stays_missing():
    person = standing_person()
    person[3:40] = missing_points(37)
    pose = pose_of(person)
    smaller = pose.resized(256, 128)
    assert smaller.size_hw == (128, 256)
    np.testing.assert_allclose(smaller.people[0, 0, :2], person[0, :2] * (0.5, 0.25))
    back = smaller.resized(512, 512)
    np.testing.assert_array_equal(present(back.people[0]), present(person))
    np.testing.assert_allclose(back.people, pose.people)


def test_moving_shifts_then_scales():
    moved = pose_of(standing_person()).moved(scale=2, shift=(-10, 5), width=100, height=90)
    np.testing.assert_allclose(moved.people[0, 0, :2], ((256 - 10) * 2, (90 + 5) * 2))
    assert moved.size_hw == (90, 100)


def test_the_hash_is_this_one_for_ever():
    assert pose_of(standing_person()).pose_hash() == "9d7f6ac12556d4316d35c1207d3739c340a04839f53a50716f16b427ffb640f2"


def test_the_hash_tells_poses_apart():
    person = standing_person()
    moved, unsure, lacking = person.copy(), person.copy(), person.copy()
    moved[100, 0] += 0.01
    unsure[100, 2] = 0.9
    lacking[100] = (np.nan, np.nan, 0)
    poses = [pose_of(person), pose_of(moved), pose_of(unsure), pose_of(lacking), pose_of(person, person)]
    poses += [pose_of(person, width=511), pose_of(person).resized(1024, 1024)]
    assert len({pose.pose_hash() for pose in poses}) == len(poses)


@pytest.mark.parametrize("wrong", [(5, np.nan, 1), (5, 5, 0), (np.inf, 5, 1), (5, 5, 1.5)])
def test_half_missing_points_are_a_bug(wrong):
    person = standing_person()
    person[7] = wrong
    with pytest.raises(AssertionError):
        Pose(people=person[None], width=512, height=512)
