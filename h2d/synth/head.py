"""The standard head: where its face points lie, in the head's own frame.

Origin in the head's middle, x to the person's left, y down, z to the back; millimetres; 150 wide, 220 high, 190 deep.
Proportions are an adult's: eyes half-way down, the nose's base half-way between brows and chin.
"""

import numpy as np
from jaxtyping import Float64

_JAW = (
    (-66.5, -14.5, -14.5), (-68.0, 8.0, -15.0), (-66.0, 29.5, -17.0), (-66.0, 51.0, -22.0), (-58.5, 68.5, -32.0),
    (-44.5, 81.5, -46.0), (-31.0, 94.0, -61.5), (-14.5, 100.0, -72.5), (0.0, 102.5, -77.5),
)  # fmt: skip
_BROW = (
    (-57.0, -19.0, -52.5), (-48.0, -26.0, -71.0), (-37.0, -28.0, -76.5), (-25.0, -26.0, -82.5), (-13.0, -22.0, -87.5),
)  # fmt: skip
_BRIDGE = ((0.0, -2.0, -95.5), (0.0, 12.0, -103.0), (0.0, 25.0, -110.0), (0.0, 38.0, -112.5))
_NOSTRILS = ((-15.0, 46.0, -96.5), (-8.0, 49.0, -95.5), (0.0, 50.0, -91.0))
_EYE = (
    (-46.0, 1.0, -68.5), (-37.0, -5.0, -79.5), (-25.0, -5.0, -80.5),
    (-16.0, 2.0, -81.5), (-25.0, 5.5, -81.0), (-37.0, 5.5, -80.5),
)  # fmt: skip
_MOUTH_RIGHT = ((-26.0, 74.0, -73.5), (-15.0, 68.0, -82.0), (-5.0, 65.0, -86.0))
_MOUTH_MIDDLE_TOP = (0.0, 66.5, -89.0)
_MOUTH_LOW = ((0.0, 85.0, -88.0), (-7.0, 84.0, -88.0), (-17.0, 80.0, -78.0))
_INNER_RIGHT = ((-22.0, 74.0, -80.5), (-8.0, 73.0, -89.0))
_INNER_MIDDLE = ((0.0, 73.5, -89.0), (0.0, 75.5, -89.0))
_INNER_LOW = (-8.0, 75.0, -87.0)


def _mirrored(point: tuple[float, float, float]) -> tuple[float, float, float]:
    return -point[0], point[1], point[2]


def _face_points() -> Float64[np.ndarray, "68 3"]:
    """The person's right half is written down, the left mirrors it; iBUG counts from the picture's left."""
    points = [
        *_JAW, *map(_mirrored, _JAW[-2::-1]),
        *_BROW, *map(_mirrored, _BROW[::-1]),
        *_BRIDGE,
        *_NOSTRILS, *map(_mirrored, _NOSTRILS[-2::-1]),
        *_EYE, *(_mirrored(_EYE[point]) for point in (3, 2, 1, 0, 5, 4)),
        *_MOUTH_RIGHT, _MOUTH_MIDDLE_TOP, *map(_mirrored, _MOUTH_RIGHT[::-1]),
        *map(_mirrored, _MOUTH_LOW[:0:-1]), *_MOUTH_LOW,
        *_INNER_RIGHT, _INNER_MIDDLE[0], *map(_mirrored, _INNER_RIGHT[::-1]),
        _mirrored(_INNER_LOW), _INNER_MIDDLE[1], _INNER_LOW,
    ]  # fmt: skip
    return np.array(points)


FACE_POINTS_MM: Float64[np.ndarray, "68 3"] = _face_points()
"""The 68 points of iBUG."""
HEAD_POINTS_MM: Float64[np.ndarray, "5 3"] = np.array(
    [(0.0, 38.0, -112.5), (31.0, 0.0, -82.5), (-31.0, 0.0, -82.5), (76.0, 12.0, 0.5), (-76.0, 12.0, 0.5)]
)
"""Nose, left eye, right eye, left ear, right ear: the first five of the body."""
