"""The pose of a drawn scene is the labels of its drawing, hands that are mostly outside left out."""

import numpy as np
import pytest

from h2d.pose.layouts import HANDS
from h2d.pose.points import present
from h2d.synth.poses import scene_pose
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_points_are_those_of_the_labels(seed):
    scene = sample_scene(seed, frame="selfie", size_hw=(96, 128), num_people=2, background="plain")
    pose = scene_pose(scene)
    assert pose.size_hw == (96, 128)
    for points, labels in zip(pose.people, render(scene).people, strict=True):
        whole = labels.points.copy()
        for hand in HANDS.values():
            share = present(whole[hand]).mean()
            assert present(points[hand]).mean() == (share if share >= 0.5 else 0)
            if share < 0.5:
                whole[hand] = points[hand]
        np.testing.assert_allclose(points, whole, atol=1e-4)
