"""Poses to test with: a standing person with both hands, and others made of it."""

import numpy as np

from h2d.pose.layouts import FACE, HANDS, WRISTS
from h2d.pose.points import missing_points
from h2d.pose.pose import Pose

_BODY = {
    0: (256, 90), 1: (268, 80), 2: (244, 80), 3: (282, 86), 4: (230, 86), 5: (310, 160), 6: (202, 160),
    7: (350, 240), 8: (162, 240), 9: (330, 160), 10: (182, 160), 11: (290, 330), 12: (222, 330), 13: (292, 410),
    14: (220, 410), 15: (294, 490), 16: (218, 490), 17: (306, 500), 18: (310, 498), 19: (290, 500), 20: (206, 500),
    21: (202, 498), 22: (222, 500),
}  # fmt: skip


def standing_person() -> np.ndarray:
    """133 points, all there, in a canvas of 512 x 512; both hands are raised, thumbs inwards."""
    points = missing_points(133)
    for point, xy in _BODY.items():
        points[point] = (*xy, 1)
    points[FACE] = [(256 + 20 * np.sin(n), 85 + 24 * np.cos(n), 1) for n in range(68)]
    for side, inwards in (("left", -1), ("right", 1)):
        points[HANDS[side]] = raised_hand(points[WRISTS[side], :2], inwards)
    return points


def raised_hand(wrist_xy: np.ndarray, thumb_towards_x: int, size_px: float = 60) -> np.ndarray:
    """A flat hand, fingers up, the thumb to one side."""
    unit = size_px / 60
    hand = [(0.0, 0.0)]
    hand += [(thumb_towards_x * (8 + 6 * n), -8 - 8 * n) for n in range(4)]
    for finger, across in enumerate((12, 4, -4, -12)):
        hand += [(thumb_towards_x * across, -28 - 10 * n + 2 * finger) for n in range(4)]
    xy = np.asarray(wrist_xy) + np.array(hand) * unit
    return np.column_stack([xy, np.ones(21)]).astype(np.float32)


def pose_of(*people: np.ndarray, width: int = 512, height: int = 512) -> Pose:
    """A pose of these people."""
    return Pose(people=np.stack(people).astype(np.float32), width=width, height=height)
