"""Arms are added where a hand has none, and what is known stays."""

import numpy as np
import pytest
from poses import person, pose_of

from h2d.annotate.masks.prompts import hand_length
from h2d.infer.arms import FOREARM, UPPER_ARM, with_arms
from h2d.pose.layouts import ELBOWS, LEFT_HAND, SHOULDERS, WRISTS
from h2d.pose.pose import Pose

WRIST, ELBOW, SHOULDER = WRISTS["left"], ELBOWS["left"], SHOULDERS["left"]


def test_a_hand_alone_gets_a_forearm_in_its_line():
    pose = pose_of(("left", 200, 300, 100))
    armed, notes = with_arms(pose)
    points = armed.people[0]
    assert notes == ["the left hand has no wrist and no elbow in the skeleton: added"]
    assert points[WRIST].tolist() == [200, 300, 1]
    length = hand_length(pose.hand(0, "left"))
    np.testing.assert_allclose(points[ELBOW, :2], (200, 300 + FOREARM * length), atol=1e-3)
    assert np.isnan(points[WRISTS["right"], 0])
    assert np.array_equal(points[LEFT_HAND], pose.people[0, LEFT_HAND])


@pytest.mark.parametrize("shoulder", [(330, 420), (100, 380), (200, 500)])
def test_with_a_shoulder_both_bones_have_their_lengths(shoulder):
    points = person(("left", 200, 300, 100))
    points[SHOULDER] = (*shoulder, 1)
    armed, _ = with_arms(Pose(people=points[None], width=512, height=512))
    elbow = armed.people[0, ELBOW, :2]
    length = hand_length(points[LEFT_HAND])
    assert np.hypot(*(elbow - (200, 300))) == pytest.approx(FOREARM * length, rel=1e-4)
    assert np.hypot(*(elbow - np.array(shoulder))) == pytest.approx(UPPER_ARM * length, rel=1e-4)


def test_a_far_shoulder_stretches_the_arm():
    points = person(("left", 100, 300, 60))
    points[SHOULDER] = (500, 300, 1)
    elbow = with_arms(Pose(people=points[None], width=512, height=512))[0].people[0, ELBOW]
    assert elbow[1] == pytest.approx(300, abs=1e-3)
    assert 100 < elbow[0] < 500


def test_what_is_known_stays_and_what_has_no_hand_gets_nothing():
    points = person(("left", 200, 300, 100))
    points[WRIST], points[ELBOW] = (201, 301, 0.9), (210, 400, 0.9)
    pose = Pose(people=points[None], width=512, height=512)
    assert with_arms(pose) == (pose, [])
    points[ELBOW, 2] = 0.1  # too uncertain to be drawn
    armed, notes = with_arms(Pose(people=points[None], width=512, height=512))
    assert armed.people[0, WRIST].tolist() == pytest.approx([201, 301, 0.9])
    assert notes == ["the left hand has no elbow in the skeleton: added"]
    bare = person()
    bare[0] = (100, 100, 1)
    assert with_arms(Pose(people=bare[None], width=512, height=512))[1] == []


def test_a_palm_towards_the_camera_and_two_people():
    points = person(("left", 200, 300, 100))
    points[LEFT_HAND][9, :2] = (200, 299)
    points[SHOULDER] = (300, 300, 1)
    pose = Pose(people=np.stack([points, person(("right", 100, 100, 50))]), width=512, height=512)
    armed, notes = with_arms(pose)
    assert np.isfinite(armed.people[0, ELBOW]).all()
    assert notes[0].startswith("person 0: the left hand")
    assert notes[1].startswith("person 1: the right hand")
