"""Arrays of keypoints: x, y in pixels and confidence in 0..1; a missing point is (NaN, NaN, 0).

A pixel's centre is at +0.5, so a point at the far corner of a picture is (width, height).
Axis legend: n points.
"""

from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32

from h2d.pose.layouts import NUM_HAND_POINTS

LEAST_CONFIDENCE: Final = 0.3
"""Points below it are drawn in no skeleton: what OpenPose's detectors for ControlNet leave out too."""

Points: TypeAlias = Float32[np.ndarray, "n 3"]


def missing_points(num_points: int = NUM_HAND_POINTS) -> Float32[np.ndarray, "n 3"]:
    """An array in which every point is missing."""
    points = np.full((num_points, 3), np.nan, np.float32)
    points[:, 2] = 0
    return points


def present(points: Float32[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Which points are there."""
    there: Bool[np.ndarray, " n"] = np.isfinite(points[:, :2]).all(axis=1) & (points[:, 2] > 0)
    return there


def extent_xywh(points: Float32[np.ndarray, "n 3"]) -> tuple[float, float, float, float]:
    """The tight box (x, y, width, height) of the points that are there; at least one must be."""
    there = points[present(points), :2].astype(np.float64)
    (left, top), (right, bottom) = there.min(axis=0), there.max(axis=0)
    return float(left), float(top), float(right - left), float(bottom - top)


def moved(
    points: Float32[np.ndarray, "n 3"], *, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> Float32[np.ndarray, "n 3"]:
    """`(points + shift) * scale`; missing points stay missing."""
    result = points.astype(np.float64)
    result[:, :2] = (result[:, :2] + shift) * scale
    return result.astype(np.float32)
