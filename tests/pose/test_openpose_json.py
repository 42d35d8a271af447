"""OpenPose's JSON: every dialect is read, and what is written is read back as the same pose."""

import numpy as np
import pytest
from posed_people import pose_of, standing_person

from h2d.pose.openpose_json import DIALECTS, format_pose, parse_pose, read_pose, write_pose


@pytest.mark.parametrize("dialect", DIALECTS)
def test_written_and_read_is_the_same_pose(dialect, tmp_path):
    pose = pose_of(standing_person(), standing_person() * (0.5, 0.7, 1))
    if dialect != "openpose":  # BODY_18 has no feet
        pose.people[:, 17:23] = (np.nan, np.nan, 0)
    write_pose(pose, tmp_path / "new" / "pose.json", dialect=dialect)
    again = read_pose(tmp_path / "new" / "pose.json", size_hw=pose.size_hw)
    assert again.pose_hash() == pose.pose_hash()


def test_a_pose_without_canvas_gets_one_that_holds_it():
    pose = parse_pose(format_pose(pose_of(standing_person()), dialect="openpose"), name="pose.json")
    assert (pose.width, pose.height, pose.canvas_stated) == (384, 512, False)
