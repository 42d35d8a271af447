"""Hand masks from the meshes that a dataset fitted: both hands drawn with one depth buffer, so that the nearer hides.

Axis legend: h height, w width, n vertices, t triangles.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from plyfile import PlyData, PlyElementParseError, PlyHeaderParseError

from h2d.annotate.base import HandMask, HandView
from h2d.annotate.masks.cleanup import recall
from h2d.annotate.masks.prompts import size_of
from h2d.config import config
from h2d.images import DecodeError
from h2d.manifests.io import Location
from h2d.pose.layouts import SIDES, Side

VERSION: Final = 1
"""Counted up when the drawing changes."""


@config
class ManoSegmenter:
    """Draws the dataset's meshes; where the fit is good, so is the mask. Forearms and what else hides are not in it."""

    batch_size: int = 1
    """Views are worked on one by one."""

    def identity(self) -> Mapping[str, Any]:
        """It has no choices."""
        return {"name": "mano", "version": VERSION}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def segment(self, views: Sequence[HandView]) -> list[dict[Side, HandMask]]:
        """One answer per view, in order; raises `DecodeError`, naming the file, when a mesh cannot be read."""
        return [_segment_view(view) for view in views]


def read_mesh(file: Location) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, "t 3"]]:
    """Vertices and triangles of a .ply file; raises `DecodeError` when it is damaged or has other faces."""
    try:
        data = PlyData.read(BytesIO(file.read_bytes()))
        vertex = data["vertex"]
        vertices = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], axis=1)
        triangles = np.stack(list(data["face"].data[data["face"].properties[0].name])).astype(np.int64)
    except (PlyHeaderParseError, PlyElementParseError, KeyError, ValueError, IndexError) as error:
        raise DecodeError(f"{file}: the mesh cannot be read: {error}") from None
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.max() >= len(vertices) or triangles.min() < 0:
        raise DecodeError(f"{file}: the mesh is not made of triangles of its vertices")
    return vertices, triangles


def draw_triangles(
    pixels: Float64[np.ndarray, "n 2"],
    depths: Float64[np.ndarray, " n"],
    triangles: Int64[np.ndarray, "t 3"],
    nearest: Float64[np.ndarray, "h w"],
) -> Bool[np.ndarray, "h w"]:
    """Where triangles are nearer than `nearest`, which is lowered there; a pixel counts where its centre is inside.

    One with a corner at NaN is left out. Depth runs linearly in the picture: the error over a triangle of a hand is
    far below the distance of two surfaces.
    """
    height, width = nearest.shape
    drawn = np.zeros((height, width), bool)
    corners = pixels[triangles]
    lows = np.floor(corners.min(axis=1) - 0.5)
    highs = np.ceil(corners.max(axis=1) + 0.5)
    seen = (highs > 0).all(axis=1) & (lows < (width, height)).all(axis=1)  # false for NaN
    for triangle in np.flatnonzero(seen):
        left, top = np.maximum(lows[triangle], 0).astype(int)
        right, bottom = np.minimum(highs[triangle], (width, height)).astype(int)
        (ax, ay), (bx, by), (cx, cy) = corners[triangle]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        x = np.arange(left, right) + 0.5
        y = (np.arange(top, bottom) + 0.5)[:, None]
        to_b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        to_c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        at_a, at_b, at_c = depths[triangles[triangle]]
        depth = at_a + to_b * (at_b - at_a) + to_c * (at_c - at_a)
        part = nearest[top:bottom, left:right]
        nearer = (to_b >= 0) & (to_c >= 0) & (to_b + to_c <= 1) & (depth < part)
        part[nearer] = depth[nearer]
        drawn[top:bottom, left:right] |= nearer
    return drawn


def _segment_view(view: HandView) -> dict[Side, HandMask]:
    missing = [side for side in view.hands if side not in view.meshes]
    if missing or view.camera is None:
        problem = f"no mesh of the {missing[0]} hand" if missing else "the dataset names no camera"
        return {side: HandMask(mask=None, quality=0.0, problem=problem) for side in view.hands}
    nearest = np.full(size_of(view.picture), np.inf)
    owner = np.zeros(nearest.shape, np.int8)
    left, top, width, _ = view.crop_box_xywh
    scale = nearest.shape[1] / width
    for number, side in enumerate(SIDES, start=1):
        if side in view.meshes:
            vertices, triangles = read_mesh(view.meshes[side])
            pixels = (view.camera.project(vertices) - (left, top)) * scale
            owner[draw_triangles(pixels, view.camera.seen(vertices)[:, 2], triangles, nearest)] = number
    return {side: _judged(owner == SIDES.index(side) + 1, points) for side, points in view.hands.items()}


def _judged(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"]) -> HandMask:
    if not mask.any():
        return HandMask(mask=None, quality=0.0, problem="the mesh is not seen here")
    return HandMask(mask=mask, quality=recall(mask, points))
