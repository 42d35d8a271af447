"""Lists of poses to measure: one standing person with both hands raised in each picture, a little different in each."""

import numpy as np

from h2d.eval.poses import PoseSet, is_there
from h2d.pose.layouts import FACE, HANDS, WRISTS
from h2d.pose.pose import Pose

_BODY = (
    (256, 90), (268, 80), (244, 80), (282, 86), (230, 86), (310, 160), (202, 160), (350, 240), (162, 240), (360, 150),
    (152, 150), (290, 330), (222, 330), (292, 410), (220, 410), (294, 480), (218, 480), (306, 490), (310, 488),
    (290, 490), (206, 490), (202, 488), (222, 490),
)  # fmt: skip


def person(*, shift=(0.0, 0.0), scale=1.0) -> np.ndarray:
    """133 points, all there, in a canvas of 512 x 512."""
    points = np.ones((133, 3), np.float32)
    points[:23, :2] = _BODY
    turn = np.arange(68)
    points[FACE, :2] = np.column_stack([256 + 20 * np.sin(turn), 85 + 24 * np.cos(turn)])
    for side, inwards in (("left", -1), ("right", 1)):
        hand = [(0.0, 0.0)]
        hand += [(inwards * (8 + 6 * joint), -8 - 8 * joint) for joint in range(4)]
        for finger, across in enumerate((12, 4, -4, -12)):
            hand += [(inwards * across, -28 - 10 * joint + 2 * finger) for joint in range(4)]
        points[HANDS[side], :2] = points[WRISTS[side], :2] + np.array(hand)
    points[:, :2] = (points[:, :2] + shift) * scale
    return points


def pose_list(count: int, *, width=512, height=512, scale=1.0) -> PoseSet:
    """One person in each of so many pictures."""
    return PoseSet.of(
        [
            Pose(people=person(shift=(number, 0), scale=scale)[None], width=width, height=height)
            for number in range(count)
        ]
    )


def moved_by(poses: PoseSet, dx: float, dy: float, *, pictures=None) -> PoseSet:
    """Everybody, or those of some pictures, so many pixels off."""
    points = poses.points.copy()
    rows = slice(None) if pictures is None else np.isin(poses.picture, list(pictures))
    points[rows, :, :2] += np.array([dx, dy], np.float32)
    return PoseSet(picture=poses.picture, points=points, size_wh=poses.size_wh)


def without(poses: PoseSet, points: slice, *, pictures=None) -> PoseSet:
    """The same with some points missing."""
    taken = poses.points.copy()
    rows = np.ones(len(taken), bool) if pictures is None else np.isin(poses.picture, list(pictures))
    for row in np.flatnonzero(rows):
        taken[row, points] = (np.nan, np.nan, 0)
    left = is_there(taken).any(axis=1)
    return PoseSet(picture=poses.picture[left], points=taken[left], size_wh=poses.size_wh)
