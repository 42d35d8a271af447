"""A fisheye lens: a picture through a pinhole, bent as Re:InterHand's Ego camera bends it.

With `r = |x, y| / z` and `theta = atan(r)`, a point lands at `theta * (1 + D0 theta^2 + D1 theta^4 + D2 theta^6 + D3
theta^8)` from the principal point, in focal lengths.
Axis legend: n points, h w picture size.
"""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from h2d.synth.scene import Camera

DISTORTION: Final = (0.04, -0.02, 0.008, -0.001)
"""D0 to D3. Our choice: of the size that such lenses have."""

_WIDER: Final = 0.85
"""The pinhole's focal length in those of the lens, so that the bent picture has no empty corners."""


@dataclass(frozen=True, slots=True)
class Fisheye:
    """A lens at the place of a camera, with its focal length and principal point."""

    camera: Camera

    @property
    def pinhole(self) -> Camera:
        """What has to be drawn before it can be bent."""
        focal = self.camera.focal
        return replace(self.camera, focal=(focal[0] * _WIDER, focal[1] * _WIDER))

    def project(self, world: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 2"]:
        """Where points land, in pixels."""
        camera = self.camera
        points = world @ camera.rotation.T + camera.translation
        plane = points[:, :2] / points[:, 2:]
        radius = np.linalg.norm(plane, axis=1)
        bent = _bent(np.arctan(radius))
        scale = np.divide(bent, radius, out=np.ones_like(radius), where=radius > 0)
        pixels: Float64[np.ndarray, "n 2"] = plane * scale[:, None] * np.array(camera.focal) + np.array(
            camera.principal
        )
        return pixels

    def bend(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The picture through the lens; what lies beyond the pinhole's picture repeats its edge."""
        x, y = self._sources()
        return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def bend_mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """The mask through the lens."""
        x, y = self._sources()
        bent = cv2.remap(mask.astype(np.uint8) * 255, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(bent >= 128)

    def _sources(self) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Where each pixel of the bent picture lies in the pinhole's, in OpenCV's way: centres at whole numbers."""
        camera, pinhole = self.camera, self.pinhole
        height, width = camera.size_hw
        rows, columns = np.mgrid[0.5:height, 0.5:width]
        x = (columns - camera.principal[0]) / camera.focal[0]
        y = (rows - camera.principal[1]) / camera.focal[1]
        bent = np.hypot(x, y)
        angles = np.linspace(0, np.pi / 2 - 0.2, 4096)
        straight = np.interp(bent, _bent(angles), np.tan(angles))
        scale = np.divide(straight, bent, out=np.ones_like(bent), where=bent > 0)
        source_x = x * scale * pinhole.focal[0] + pinhole.principal[0] - 0.5
        source_y = y * scale * pinhole.focal[1] + pinhole.principal[1] - 0.5
        return source_x.astype(np.float32), source_y.astype(np.float32)


def _bent(angle: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Distance from the principal point, in focal lengths, of a ray at an angle to the axis."""
    squared = angle**2
    d0, d1, d2, d3 = DISTORTION
    bent: Float64[np.ndarray, " n"] = angle * (1 + squared * (d0 + squared * (d1 + squared * (d2 + squared * d3))))
    return bent
