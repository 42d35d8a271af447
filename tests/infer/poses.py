"""Poses of nothing but hands: five rays from a wrist."""

import numpy as np

from h2d.pose.layouts import HANDS
from h2d.pose.points import missing_points
from h2d.pose.pose import Pose


def spread_hand(x: float, y: float, size: float) -> np.ndarray:
    """21 points on five rays from the wrist at (x, y), pointing up."""
    points = np.zeros((21, 3), np.float32)
    points[0] = (x, y, 1)
    for finger in range(5):
        for joint in range(4):
            reach = size * (0.4 + 0.15 * (joint + 1))
            angle = np.deg2rad(-90 + (finger - 2) * 18)
            points[1 + 4 * finger + joint] = (x + reach * np.cos(angle), y + reach * np.sin(angle), 1)
    return points


def person(*hands: tuple[str, float, float, float]) -> np.ndarray:
    points = missing_points(133)
    for side, x, y, size in hands:
        points[HANDS[side]] = spread_hand(x, y, size)
    return points


def pose_of(*hands: tuple[str, float, float, float], width: int = 512, height: int = 512) -> Pose:
    return Pose(people=person(*hands)[None], width=width, height=height)
