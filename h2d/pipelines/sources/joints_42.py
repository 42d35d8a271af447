"""The 42 joints of InterHand2.6M and Re:InterHand as hands in our order.

The right hand comes first; of each hand the fingers from tip to base, thumb to little finger, and the wrist last.
Axis legend: n points.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from h2d.pose.camera import Camera
from h2d.pose.layouts import SIDES, WRIST, Side
from h2d.pose.points import missing_points

NUM_JOINTS: Final = 42

PLACES: Final = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""Where in one hand's half each of our points stands."""

STARTS: Final[dict[Side, int]] = {"right": 0, "left": 21}

_FARTHEST_PX: Final = 1e7


def given_hands(
    camera: Camera, joints: Float64[np.ndarray, "42 3"], valid: Bool[np.ndarray, "42"]
) -> dict[Side, Float32[np.ndarray, "21 3"]]:
    """Each hand's valid points in pixels; a hand whose wrist is invalid is invalid as a whole."""
    pixels = projected(camera, joints)
    valid = valid & np.isfinite(pixels).all(axis=1)
    hands: dict[Side, Float32[np.ndarray, "21 3"]] = {}
    for side in SIDES:
        places = [STARTS[side] + place for place in PLACES]
        there = valid[places]
        if there[WRIST]:
            hands[side] = points_of(pixels[places], there)
    return hands


def projected(camera: Camera, world: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 2"]:
    """Pixels; NaN also where wrong labels put a point farther away than any picture is wide."""
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = camera.project(world)
    return np.where(np.abs(pixels) <= _FARTHEST_PX, pixels, np.nan)


def points_of(pixels: Float64[np.ndarray, "21 2"], there: Bool[np.ndarray, "21"]) -> Float32[np.ndarray, "21 3"]:
    """Keypoints with confidence 1 where they are valid."""
    points = missing_points()
    points[there, :2], points[there, 2] = pixels[there], 1
    return points
