"""The pose of a drawn scene, as a pose file has it."""

from typing import Final

import numpy as np

from h2d.pose.layouts import HANDS
from h2d.pose.points import missing_points, present
from h2d.pose.pose import Pose
from h2d.synth.labels import person_points
from h2d.synth.scene import Scene

_LEAST_SHARE_INSIDE: Final = 0.5


def scene_pose(scene: Scene) -> Pose:
    """Everybody's points that lie in the picture, hidden ones too; a hand that mostly does not is left out whole."""
    height, width = scene.camera.size_hw
    people = []
    for person in scene.people:
        world = person_points(person)
        points = missing_points(len(world))
        known = np.isfinite(world).all(axis=1).nonzero()[0]
        projected = scene.camera.project(world[known])
        inside = (projected >= 0).all(axis=1) & (projected[:, 0] < width) & (projected[:, 1] < height)
        points[known[inside], :2] = projected[inside, :2]
        points[known[inside], 2] = 1
        for hand in HANDS.values():
            if present(points[hand]).mean() < _LEAST_SHARE_INSIDE:
                points[hand] = missing_points()
        people.append(points)
    return Pose(people=np.stack(people), width=width, height=height)
