"""Flesh as a distance field: round cones that grow together, in torch.

A cone is a ball that grows or shrinks evenly while it moves from start to end. Cones of one limb blend softly by the
logarithm of a sum of exponentials, whose gradient is a weighted mean of theirs; limbs grow out of the first one (the
root), but keep a sharp crease among themselves, as fingers do. Points are columns, so that every operation runs over
long rows.
Axis legend: c cones, n points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

_CACHED = 160_000
"""Cones times points that are computed at once: what a processor's cache holds."""


class Cone(NamedTuple):
    """A ball on its way; millimetres."""

    start: Float64[np.ndarray, "3"]
    end: Float64[np.ndarray, "3"]
    start_radius: float
    end_radius: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Limb:
    """Cones that blend with each other, and how they meet the root."""

    cones: Sequence[Cone]
    blend: float
    """Millimetres over which its cones blend: two equal ones swell by 0.7 of it."""
    join: float = 0.0
    """... over which it blends with the root, where its first cone starts."""
    touch: float | None = None
    """... and where it is elsewhere, as a finger on its own palm; None: the same everywhere."""
    carves: bool = False
    """It is taken away from the root rather than added; carving limbs come right after the root."""


class Surface(NamedTuple):
    """What lies around points on or near the surface."""

    normals: Float[Tensor, "3 n"]
    """Unit vectors outwards."""
    shares: Float[Tensor, "c n"]
    """Each cone's share in the surface, 0..1."""
    places: Float[Tensor, "c n"]
    """Where on each cone's axis the point lies, 0 at the start to 1 at the end."""


class _Group(NamedTuple):
    """Limbs of the same kind one after the other, computed together."""

    limb: Limb
    num_limbs: int
    rows: slice


class Field:
    """The signed distance of one piece of flesh, negative inside."""

    def __init__(self, limbs: Sequence[Limb], *, device: str) -> None:
        assert not limbs[0].carves, "the first limb is the root"
        cones = [cone for limb in limbs for cone in limb.cones]
        starts, ends = np.stack([cone.start for cone in cones]), np.stack([cone.end for cone in cones])
        start_radii = np.array([cone.start_radius for cone in cones])
        growth = np.array([cone.end_radius for cone in cones]) - start_radii
        self._groups = _grouped(limbs)
        self.low, self.high = _bounds(limbs)
        self.centre = (self.low + self.high) / 2
        self.thinnest = float(np.minimum(start_radii, start_radii + growth)[start_radii > 0].min())
        """The smallest radius, millimetres."""
        swell = _swell(limbs)
        reaches = np.maximum(start_radii, start_radii + growth) + swell
        starts, axes = starts - self.centre, ends - starts
        squared = (axes**2).sum(axis=1)
        along = axes / np.maximum(squared, 1e-9)[:, None]
        # Where a cone grows, the ball that is nearest to a point lies ahead of the point's foot on the axis.
        slopes = growth / np.maximum(np.sqrt(squared), np.abs(growth) * 1.02 + 1e-6)
        leads = slopes / np.sqrt(1 - slopes**2) / np.sqrt(np.maximum(squared, 1e-9))

        def tensor(values: Float64[np.ndarray, "..."]) -> Tensor:
            return torch.tensor(values.astype(np.float32), device=device)

        # Times x, y, z, their squared length and 1: a point's foot on each axis, its squared distance from each start.
        zeros, ones = np.zeros((len(cones), 1)), np.ones((len(cones), 1))
        feet = np.concatenate([along, zeros, -(starts * along).sum(axis=1, keepdims=True)], axis=1)
        squares = np.concatenate([-2 * starts, ones, (starts**2).sum(axis=1, keepdims=True)], axis=1)
        self._products = tensor(np.concatenate([feet, squares]))
        self._squared = tensor(squared)[:, None]
        self._radii, self._growth = tensor(start_radii)[:, None], tensor(growth)[:, None]
        self._starts, self._axes = tensor(starts), tensor(axes)
        self._leads = tensor(leads)[:, None]
        self._origin = tensor(self.centre)[:, None]
        self._reaches = tensor(reaches)[:, None]
        # A growing cone is nearest a little after its axis is; what a carving one leaves may come at any time.
        carves = np.array([limb.carves for limb in limbs for _ in limb.cones])
        late = reaches * np.abs(slopes) / np.sqrt(1 - slopes**2)
        self._late = tensor(np.where(carves, np.inf, late))[:, None]

    def distance(self, points: Float[Tensor, "3 n"]) -> Float[Tensor, " n"]:
        """Millimetres to the surface: exact for a cone; less where cones blend, never more."""
        most = max(_CACHED // len(self._radii), 1)
        if points.shape[1] <= most:
            return self._grown(*self._cone_distances(points - self._origin))[0]
        pieces = torch.split(points, most, dim=1)
        return torch.cat([self._grown(*self._cone_distances(piece - self._origin))[0] for piece in pieces])

    def last_nearing(
        self, eye: Float[Tensor, "3 1"], directions: Float[Tensor, "3 n"], *, spread: float = 0.0
    ) -> Float[Tensor, " n"]:
        """How far along each ray the flesh may still come nearer; minus infinity where a ray passes all of it.

        Along a ray, the distance to a cone falls until the ray is nearest to its axis and grows ever after. `spread` is
        the radius, at distance 1, of a cone of rays, none of which may meet anything.
        """
        starts = self._starts + (self._origin - eye).T
        from_eye = (starts * starts).sum(dim=1, keepdim=True)
        across = (starts * self._axes).sum(dim=1, keepdim=True)
        start, turn = torch.mm(torch.cat([starts, self._axes]), directions).chunk(2)
        places = (start * turn).sub_(across).div_((self._squared - turn * turn).clamp_(min=1e-6)).clamp_(0, 1)
        far = torch.addcmul(start, places, turn)
        apart = torch.addcmul(from_eye, torch.addcmul(2 * across, places, self._squared), places)
        apart.addcmul_(far, far, value=-1)
        reach = far * spread + self._reaches if spread else self._reaches
        passed = apart > reach * reach.abs()
        return far.add_(self._late).masked_fill_(passed, -torch.inf).amax(dim=0)

    def surface(self, points: Float[Tensor, "3 n"]) -> Surface:
        """Normals, and which cones make the surface there."""
        local = points - self._origin
        distances, places = self._cone_distances(local)
        shares = self._grown(distances, places, with_shares=True)[1]
        assert shares is not None
        outwards = shares / (distances + self._radii + places * self._growth)
        # Away from the middle of each cone's nearest ball.
        normals = local * outwards.sum(dim=0) - self._starts.T @ outwards - self._axes.T @ (outwards * places)
        normals /= (normals * normals).sum(dim=0).clamp_(min=1e-12).sqrt_()
        return Surface(normals, shares.abs(), places)

    def _cone_distances(self, local: Float[Tensor, "3 n"]) -> tuple[Float[Tensor, "c n"], Float[Tensor, "c n"]]:
        """The distance to each cone, and where on its axis lies the ball that is nearest."""
        rows = torch.cat([local, (local * local).sum(dim=0, keepdim=True), torch.ones_like(local[:1])])
        foot, squared = torch.mm(self._products, rows).chunk(2)
        squared = squared.addcmul(foot * foot, self._squared, value=-1).clamp_(min=1e-4)
        places = foot.addcmul(squared.sqrt(), self._leads).clamp_(0, 1)
        beside = foot - places
        squared.addcmul_(beside.mul_(beside), self._squared)
        return squared.sqrt_().sub_(torch.addcmul(self._radii, places, self._growth)), places

    def _grown(
        self, distances: Float[Tensor, "c n"], places: Float[Tensor, "c n"], *, with_shares: bool = False
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "c n"] | None]:
        """All limbs grown together; and each cone's share in the gradient, negative where it carves."""
        root_rows = self._groups[0].rows
        roots, root_weights, summed = _soft_minimum(distances[root_rows][None], self._groups[0].limb.blend)
        root = total = roots[0]
        shares: list[Tensor] = [root_weights[0] / summed[0]] if with_shares else []
        grown: list[tuple[Tensor, Tensor, Tensor]] = []
        for group in self._groups[1:]:
            limb, rows = group.limb, group.rows
            shape = (group.num_limbs, len(limb.cones), -1)
            own, weights, summed = _soft_minimum(distances[rows].view(shape), limb.blend)
            join: Tensor | float = limb.join
            if limb.touch is not None:
                at_start = weights[:, 0] / summed * (1 - places[rows].view(shape)[:, 0])
                join = limb.touch + (limb.join - limb.touch) * at_start
            met = -root if limb.carves else root
            joined = torch.minimum(own, met) - join * (own - met).abs_().div_(-join).exp_().log1p_()
            if limb.carves:
                assert group.num_limbs == 1, "one carving limb after another"
                root = total = -joined[0]
            else:
                total = torch.minimum(total, joined.amin(dim=0))
            if with_shares:
                part = torch.sigmoid((met - own) / join)
                weights /= summed[:, None]
                if limb.carves:
                    shares = [*(share * (1 - part[0]) for share in shares), -weights[0] * part]
                else:
                    grown.append((joined, weights, part))
        return total, _shares(total, shares, grown) if with_shares else None


def _soft_minimum(
    distances: Float[Tensor, "limbs c n"], blend: float
) -> tuple[Float[Tensor, "limbs n"], Float[Tensor, "limbs c n"], Float[Tensor, "limbs n"]]:
    """Each limb's blended distance, its cones' weights in the gradient, and what these sum up to."""
    if distances.shape[1] == 1:
        return distances[:, 0], torch.ones_like(distances), torch.ones_like(distances[:, 0])
    nearest = distances.amin(dim=1)
    weights = (nearest[:, None] - distances).div_(blend).exp_()
    total = weights.sum(dim=1)
    return nearest.sub_(torch.log(total), alpha=blend), weights, total


def _shares(
    total: Float[Tensor, " n"], root: list[Tensor], grown: list[tuple[Tensor, Tensor, Tensor]]
) -> Float[Tensor, "c n"]:
    """Give the surface to the root and the limb that is nearest, each its part."""
    of_root = torch.ones_like(total)
    limbs = []
    for joined, weights, part in grown:
        taken = torch.where(joined == total, part, 0.0)
        of_root = of_root - taken.sum(dim=0)
        limbs.append((weights * taken[:, None]).flatten(0, 1))
    return torch.cat([*(share * of_root for share in root), *limbs])


def _grouped(limbs: Sequence[Limb]) -> list[_Group]:
    """Put like limbs together; the root stays alone."""
    groups: list[_Group] = []
    first = 0
    for limb in limbs:
        kind = (len(limb.cones), limb.blend, limb.join, limb.touch)
        last = groups[-1] if len(groups) > 1 else None
        if last is not None and not limb.carves and not last.limb.carves and kind == (
            len(last.limb.cones), last.limb.blend, last.limb.join, last.limb.touch
        ):  # fmt: skip
            groups[-1] = last._replace(
                num_limbs=last.num_limbs + 1, rows=slice(last.rows.start, first + len(limb.cones))
            )
        else:
            groups.append(_Group(limb, 1, slice(first, first + len(limb.cones))))
        first += len(limb.cones)
    return groups


def _swell(limbs: Sequence[Limb]) -> Float64[np.ndarray, " c"]:
    """How far blending may carry the surface beyond each cone."""
    most = max(limb.join for limb in limbs)
    joins = (most, *(limb.join for limb in limbs[1:]))
    return np.concatenate([
        np.full(len(limb.cones), 2 * limb.blend + 0.7 * join) for limb, join in zip(limbs, joins, strict=True)
    ])  # fmt: skip


def _bounds(limbs: Sequence[Limb]) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """A box around everything that is added, with what blending may swell."""
    swell = max(limb.blend for limb in limbs) * 2 + max(limb.join for limb in limbs)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for cone in (cone for limb in limbs if not limb.carves for cone in limb.cones):
        for middle, radius in ((cone.start, cone.start_radius), (cone.end, cone.end_radius)):
            low, high = np.minimum(low, middle - radius - swell), np.maximum(high, middle + radius + swell)
    return low, high
