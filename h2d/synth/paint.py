"""What covers flesh: colour, gloss and small relief at points of a surface. Clothes and hair are here.

Axis legend: n points, c cones. Colours are linear light, 0..1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from h2d.synth.scene import Colour, Part, Vector
from h2d.synth.sdf import Surface

GAMMA = 2.2


class Spot(NamedTuple):
    """Points of a surface that are seen."""

    points: Float[Tensor, "3 n"]
    surface: Surface
    pixel_mm: Float[Tensor, " n"]
    """How wide a pixel is there."""


class Coat(NamedTuple):
    """How they look."""

    albedo: Float[Tensor, "3 n"]
    parts: Int64[Tensor, " n"]
    normals: Float[Tensor, "3 n"]
    gloss: Float[Tensor, " n"]
    """0 dull to 1 wet."""
    opacity: Float[Tensor, " n"]


Painter: TypeAlias = Callable[[Spot], Coat]


def linear(colour: Colour, like: Float[Tensor, "..."]) -> Float[Tensor, "3 1"]:
    """A picture's colour as light."""
    return column([(channel / 255) ** GAMMA for channel in colour], like)


def column(values: Sequence[float] | Float64[np.ndarray, " k"], like: Float[Tensor, "..."]) -> Float[Tensor, "k 1"]:
    """A vector or colour, to go with columns of points."""
    return torch.tensor(np.asarray(values, np.float32), device=like.device)[:, None]


def unit(vectors: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """Of length 1."""
    return vectors / (vectors * vectors).sum(dim=0).clamp_(min=1e-12).sqrt_()


def smooth_step(low: float, high: float, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """0 up to `low`, 1 from `high` on; the other way round where `high` is below `low`."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def mix(first: Float[Tensor, "3 _"], second: Float[Tensor, "3 _"], share: Float[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    """From the first colour at 0 to the second at 1."""
    return first + (second - first) * share


def mottle(points: Float[Tensor, "3 n"], wavelength: float) -> Float[Tensor, " n"]:
    """A smooth irregular pattern between -1 and 1."""
    x, y, z = points * (2 * torch.pi / wavelength)
    first = torch.sin(x + 1.7 * torch.sin(0.61 * y + 0.3)) * torch.sin(0.9 * y + 1.3 * torch.sin(0.47 * z))
    return (first + torch.sin(1.13 * z + 1.9 * torch.sin(0.53 * x + 2.1)) * torch.sin(0.71 * x - 0.83 * y + 0.9)) / 2


def cloth(colour: Colour, part: Part, *, fold_mm: float = 70.0) -> Painter:
    """Dull, woven, with soft folds."""

    def paint(spot: Spot) -> Coat:
        points, normals = spot.points, spot.surface.normals
        weave = 1 + 0.05 * mottle(points, 9.0) + 0.06 * mottle(points, 61.0)
        folded = unit(normals + _folds(points * (2 * torch.pi / fold_mm)))
        return _coat(linear(colour, points) * weave, part, folded, gloss=0.02)

    return paint


def plain_skin(colour: Colour) -> Painter:
    """Bare arms."""

    def paint(spot: Spot) -> Coat:
        tone = 1 + 0.04 * mottle(spot.points, 47.0)
        return _coat(linear(colour, spot.points) * tone, Part.SKIN, spot.surface.normals, gloss=0.1)

    return paint


def hair(colour: Colour, left: Vector, centre: Vector) -> Painter:
    """Strands that fall to both sides of the head."""

    def paint(spot: Spot) -> Coat:
        points, normals = spot.points, spot.surface.normals
        local = points - column(centre, points)
        across = (column(left, points) * local).sum(dim=0)
        strand = mottle(torch.stack([across * 6, local[1] * 0.35, local[2] * 5]), 40.0)
        finer = mottle(torch.stack([across * 17, local[1] * 0.5, local[2] * 14]), 40.0)
        tone = 0.8 + 0.25 * strand + 0.2 * finer
        return _coat(linear(colour, points) * tone.clamp(0.3, 1.4), Part.HAIR, normals, gloss=0.12)

    return paint


def _folds(places: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """How folds tilt the cloth: the slope of waves that run into each other."""
    x, y, z = places
    first = torch.cos(0.9 * x + 0.6 * y + 1.6 * torch.sin(0.45 * y - 0.3 * z))
    second = torch.cos(0.8 * y - 1.1 * x + 0.5 * z + 1.3 * torch.sin(0.5 * x + 1.0))
    return torch.stack([0.10 * first - 0.12 * second, 0.08 * first + 0.09 * second, 0.05 * second])


def _coat(albedo: Float[Tensor, "3 n"], part: Part, normals: Float[Tensor, "3 n"], *, gloss: float) -> Coat:
    """The same part and gloss everywhere."""
    like = albedo[0]
    return Coat(
        albedo, torch.full_like(like, int(part), dtype=torch.int64), normals, torch.full_like(like, gloss),
        torch.ones_like(like),
    )  # fmt: skip
