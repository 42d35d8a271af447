"""Where a square is cut from a picture that is none: the same for training and for measuring."""

import numpy as np
from jaxtyping import Float32

from h2d.pose.points import present


def square_around(points: Float32[np.ndarray, "133 3"], size_hw: tuple[int, int]) -> tuple[int, int, int]:
    """(left, top, side) of the picture's largest square, as near to the person's middle as fits."""
    height, width = size_hw
    side = min(height, width)
    there = points[present(points), :2]
    middle = (there.min(axis=0) + there.max(axis=0)) / 2 if len(there) else np.array([width / 2, height / 2])
    left = int(np.clip(round(float(middle[0]) - side / 2), 0, width - side))
    top = int(np.clip(round(float(middle[1]) - side / 2), 0, height - side))
    return left, top, side
