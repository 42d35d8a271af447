"""Rays of a pinhole camera, and where they meet flesh.

Blocks of pixels are followed first, as cones that stop before anything that one of their pixels could meet; what is
left goes on as smaller blocks, then as pixels. Most of a picture is done with in a few steps. Axis legend: n rays.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from h2d.synth.scene import Camera
from h2d.synth.sdf import Field

_BLOCKS_PX = {256: (4,), 1 << 30: (8, 2)}
"""By the picture's long side, at most: sizes of the blocks that are followed first."""
_CONE_STEPS = 2
_RAY_STEPS, _MAX_RAY_STEPS = 8, 40
_FEW = 0.008
"""The share of rays that is given up after `_RAY_STEPS`: they graze something."""
_HIT_PX, _LAST_HIT_PX = 0.1, 0.2
"""How near a surface a ray has met it; and at its last step."""
_DARING, _LEAST_DARING_MM = 0.35, 2.5
"""How far beyond the distance a ray may step, as a share of the thinnest cone's radius: none is stepped through."""
_MIN_FALLS, _PATIENT_STEPS = (0.3, 0.06), 4
"""No step near the flesh is longer than the distance over this; the second holds later, when most rays that are left
pass by."""
_NEAR_MM = 20.0


class Hits(NamedTuple):
    """The pixels of one piece of flesh, and some beside it."""

    pixels: Int64[Tensor, " n"]
    """Row times width plus column."""
    starts: Float[Tensor, " n"]
    """How far nothing is met anywhere in the pixel, millimetres along the ray."""
    distances: Float[Tensor, " n"]
    """Where the ray through the pixel's middle meets the flesh; infinity where it does not."""


class View:
    """A camera's rays."""

    def __init__(self, camera: Camera, *, device: str) -> None:
        self.camera = camera
        self.height, self.width = camera.size_hw
        eye = -camera.rotation.T @ camera.translation
        self.eye = torch.tensor(eye.astype(np.float32), device=device)[:, None]
        self.axis = torch.tensor(camera.rotation[2].astype(np.float32), device=device)
        self._rotation = torch.tensor(camera.rotation.T.astype(np.float32), device=device)
        self._blocks_px = next(blocks for most, blocks in _BLOCKS_PX.items() if max(camera.size_hw) <= most)
        self.pixel = 1 / min(camera.focal)
        """A pixel's size at distance 1."""

    def directions(self, x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, "3 n"]:
        """Unit vectors in the world through places in the picture."""
        (focal_x, focal_y), (principal_x, principal_y) = self.camera.focal, self.camera.principal
        sideways, down = (x - principal_x) / focal_x, (y - principal_y) / focal_y
        rays = torch.mm(self._rotation, torch.stack([sideways, down, torch.ones_like(x)]))
        return rays / torch.sqrt(sideways * sideways + down * down + 1)

    def trace(self, field: Field) -> Hits:
        """Follow the rays of all pixels that may show the flesh."""
        column, row = self._blocks(field)
        start, stop = self._reach(field)
        starts = torch.full(column.shape, start, device=column.device)
        for size, child in zip(self._blocks_px, (*self._blocks_px[1:], 1), strict=True):
            rays = self.directions(column + size / 2, row + size / 2)
            starts = march(field, self.eye, rays, starts, stop, aperture=size / np.sqrt(2) * self.pixel)
            alive = torch.isfinite(starts)
            inside = torch.arange(0, size, child, device=column.device)
            down, right = torch.meshgrid(inside, inside, indexing="ij")
            column = (column[alive, None] + right.flatten()).flatten()
            row = (row[alive, None] + down.flatten()).flatten()
            starts = starts[alive, None].expand(-1, right.numel()).flatten()
        inside = (column < self.width) & (row < self.height)
        column, row, starts = column[inside], row[inside], starts[inside]
        distances = self.meet(field, self.directions(column + 0.5, row + 0.5), starts)
        return Hits(row * self.width + column, starts, distances)

    def meet(self, field: Field, directions: Float[Tensor, "3 n"], starts: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Where rays of single points in the picture meet the flesh."""
        return meet(field, self.eye, directions, starts, self._reach(field)[1], pixel=self.pixel)

    def _reach(self, field: Field) -> tuple[float, float]:
        """How near and how far anything of the flesh may be."""
        eye = self.eye[:, 0].double().cpu().numpy()
        nearest = np.linalg.norm(np.clip(eye, field.low, field.high) - eye)
        farthest = np.linalg.norm(np.maximum(np.abs(field.low - eye), np.abs(field.high - eye)))
        return max(float(nearest), _NEAR_MM), float(farthest)

    def _blocks(self, field: Field) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
        """The first column and row of each block that the flesh's box may touch."""
        corners = np.stack(np.meshgrid(*zip(field.low, field.high, strict=True), indexing="ij"), -1).reshape(-1, 3)
        projected = self.camera.project(corners)
        low, high = np.zeros(2), np.array([self.width, self.height])
        if projected[:, 2].min() > _NEAR_MM:
            low = np.clip(projected[:, :2].min(axis=0), low, high)
            high = np.clip(projected[:, :2].max(axis=0), low, high)
        size = self._blocks_px[0]
        columns, rows = (
            torch.arange(int(first) // size * size, int(np.ceil(last)), size, device=self.eye.device)
            for first, last in zip(low, high, strict=True)
        )
        row, column = torch.meshgrid(rows, columns, indexing="ij")
        return column.flatten(), row.flatten()


def march(
    field: Field,
    eye: Float[Tensor, "3 1"],
    directions: Float[Tensor, "3 n"],
    starts: Float[Tensor, " n"],
    stop: float,
    *,
    aperture: float,
) -> Float[Tensor, " n"]:
    """How far each cone of rays gets before the flesh is about as near as the cone is wide; infinity where it passes.

    A cone has a radius of `aperture` at distance 1, and nothing in it is met before. Slow ones stay.
    """
    found = torch.full_like(starts, torch.inf)
    rays = (field.last_nearing(eye, directions, spread=aperture) > -torch.inf).nonzero()[:, 0]
    far, directions = starts.index_select(0, rays), directions.index_select(1, rays)
    for _ in range(_CONE_STEPS):
        slack = field.distance(torch.addcmul(eye, directions, far)) - aperture * far
        near = slack <= aperture * far
        found.index_copy_(0, rays, torch.where(near, far, torch.inf))
        far = far + slack / (1 + aperture)
        alive = (~near & (far < stop)).nonzero()[:, 0]
        rays, far = rays.index_select(0, alive), far.index_select(0, alive)
        directions = directions.index_select(1, alive)
        if not len(alive):
            break
    found[rays] = far
    return found


def meet(
    field: Field,
    eye: Float[Tensor, "3 1"],
    directions: Float[Tensor, "3 n"],
    starts: Float[Tensor, " n"],
    stop: float,
    *,
    pixel: float,
) -> Float[Tensor, " n"]:
    """How far each ray goes until it meets the flesh; infinity where it does not.

    Far away a ray walks as far as nothing can be met. Near the flesh it goes where the last two distances say that it
    meets it: along a ray, the distance to anything round is convex, so this comes nearer and does not shoot through.
    """
    found = torch.full_like(starts, torch.inf)
    # Rows: direction, how far, the last step, the distance before it, how far at most. One table, so that leaving rays
    # out is one call.
    ends = field.last_nearing(eye, directions).clamp_(max=stop)
    state = torch.stack([*directions, starts, torch.ones_like(starts), torch.full_like(starts, torch.inf), ends])
    rays = (starts < ends).nonzero()[:, 0]
    state = state.index_select(1, rays)
    daring = max(_DARING * field.thinnest, _LEAST_DARING_MM)
    for number in range(_MAX_RAY_STEPS):
        last = len(rays) <= _FEW * len(starts) and number >= _RAY_STEPS
        far, step, before, end = state[3], state[4], state[5], state[6]
        distance = field.distance(torch.addcmul(eye, state[:3], far))
        near = distance.abs() <= far * (pixel * (_LAST_HIT_PX if last else _HIT_PX))
        found.index_copy_(0, rays, torch.where(near, far, torch.inf))
        alive = ((far < end) | (distance < 0)).logical_and_(near.logical_not_()).nonzero()[:, 0]
        if last or not len(alive):
            break
        fall = before.sub_(distance).div_(step).clamp_(min=_MIN_FALLS[number >= _PATIENT_STEPS])
        step = torch.maximum(torch.minimum(distance / fall, distance + daring), distance)
        far += step
        state[4], state[5] = step, distance
        rays, state = rays.index_select(0, alive), state.index_select(1, alive)
    return found
