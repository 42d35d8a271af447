"""Where points of the world land in a picture: a pinhole, or the fisheye of Re:InterHand's head-mounted camera.

Axis legend: n points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """`X_camera = rotation @ X_world + translation`, then the lens; lengths in the world's unit, then pixels."""

    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, "3"]
    focal: tuple[float, float]
    principal: tuple[float, float]
    distortion: tuple[float, float, float, float] | None = None
    """Of a fisheye: the factors of the 2nd, 4th, 6th and 8th power of a ray's angle to the axis."""

    def seen(self, world: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """The points in the camera's frame: right, down, away from it."""
        points: Float64[np.ndarray, "n 3"] = world @ self.rotation.T + self.translation
        return points

    def project(self, world: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 2"]:
        """Pixels; NaN for a point that is not before the camera."""
        points = self.seen(world)
        depth = np.where(points[:, 2] > 0, points[:, 2], np.nan)
        plane = points[:, :2] / depth[:, None]
        if self.distortion is not None:
            radius = np.linalg.norm(plane, axis=1)
            angle = np.arctan(radius)
            bent = angle * (1 + sum(d * angle ** (2 * n) for n, d in enumerate(self.distortion, start=1)))
            plane = plane * np.divide(bent, radius, out=np.ones_like(radius), where=radius > 0)[:, None]
        pixels: Float64[np.ndarray, "n 2"] = plane * np.array(self.focal) + np.array(self.principal)
        return pixels

    def numbers(self) -> list[float]:
        """Everything in one row, for a table."""
        rows = (self.rotation.ravel(), self.translation, self.focal, self.principal, self.distortion or ())
        return [float(value) for row in rows for value in row]


def camera_of(numbers: Sequence[float]) -> Camera:
    """The camera of `Camera.numbers`."""
    assert len(numbers) in (16, 20), len(numbers)
    rotation = np.asarray(numbers[:9], np.float64).reshape(3, 3)
    d0_to_d3 = tuple(numbers[16:])
    return Camera(
        rotation=rotation,
        translation=np.asarray(numbers[9:12], np.float64),
        focal=(numbers[12], numbers[13]),
        principal=(numbers[14], numbers[15]),
        distortion=(d0_to_d3[0], d0_to_d3[1], d0_to_d3[2], d0_to_d3[3]) if d0_to_d3 else None,
    )
