"""OpenPose's two bodies, BODY_18 and BODY_25, and how the 133 points map onto them. Axis legend: n points.

Both have points that the 133 lack, each the middle of two that they have: neck and middle of the hips.
"""

from typing import Final

import numpy as np
from jaxtyping import Float32

from h2d.pose.layouts import HIPS, SHOULDERS

NECK: Final = 1
MID_HIP: Final = 8
"""Of BODY_25 alone."""

# Nose, neck, right arm, left arm, right leg, left leg, eyes and ears right first; -1 is a point of `_MIDDLES`.
BODY_18: Final = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
BODY_25: Final = (*BODY_18[:8], -1, *BODY_18[8:], 17, 18, 19, 20, 21, 22)
BODIES: Final = {len(BODY_18): BODY_18, len(BODY_25): BODY_25}
"""Where each point lies in the 133, by the number of points."""

_MIDDLES: Final = {NECK: SHOULDERS, MID_HIP: HIPS}


def body_18(points: Float32[np.ndarray, "133 3"]) -> Float32[np.ndarray, "18 3"]:
    """OpenPose's body: the neck is the middle of the shoulders, and as certain as the less certain of them."""
    return _body(points, BODY_18)


def body_25(points: Float32[np.ndarray, "133 3"]) -> Float32[np.ndarray, "25 3"]:
    """The same with the feet, and the middle of the hips made like the neck."""
    return _body(points, BODY_25)


def _body(points: Float32[np.ndarray, "133 3"], order: tuple[int, ...]) -> Float32[np.ndarray, "n 3"]:
    body = points[list(order)].astype(np.float32)
    for place, pair in _MIDDLES.items():
        if order[place] == -1:
            ends = points[[pair["left"], pair["right"]]]
            body[place] = (*ends[:, :2].mean(axis=0), ends[:, 2].min())
    return body
