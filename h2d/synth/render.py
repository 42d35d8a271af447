"""From a scene to its drawing: rays through flesh, light, and the look of a photograph.

Pixels at edges are looked at in five places, others in one. The same scene gives the same bytes on one kind of device,
whatever the number of threads or workers.

Why no mesh renderer: pyrender, trimesh's viewer and moderngl need an OpenGL context, which servers without a display
lack or emulate slowly; PyTorch3D publishes no wheels that a plain install finds; Open3D and Blender's module weigh
hundreds of megabytes. And none brings hands: their skinned meshes have licences that forbid passing them on. Distance
fields need only torch, give exact silhouettes, soft joins and normals at any size, and need no mesh.

Axis legend: n places that are looked at; h w picture size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from h2d.synth import labels
from h2d.synth.figure import Solid, solids
from h2d.synth.light import lit
from h2d.synth.paint import Spot
from h2d.synth.scene import Drawing, Scene
from h2d.synth.tracing import Hits, View

_OFFSETS_PX = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
"""Where edge pixels are looked at beside their middle; five in all, so that halves are never tied."""
_EDGE_MM, _EDGE_PX = 3.0, 6.0
"""Neighbours that differ in depth by more than this make an edge."""
_NOISE = 1.6
"""Standard deviation of the sensor's noise, of 255."""
_BLUR_PX = 0.5


class _Places(NamedTuple):
    """Places in the picture that show somebody."""

    pixels: Int64[Tensor, " n"]
    solids: Int64[Tensor, " n"]
    distances: Float[Tensor, " n"]
    directions: Float[Tensor, "3 n"]
    weights: Float[Tensor, " n"]
    """The share of its pixel."""
    middles: Bool[Tensor, " n"]


def render(scene: Scene, *, device: str = "cpu") -> Drawing:
    """Draw a scene with its exact labels."""
    with torch.inference_mode(), _one_thread():
        pieces = solids(scene, device=device)
        view = View(scene.camera, device=device)
        places = _look(view, pieces)
        colours, parts, opacity = _coated(scene, view, pieces, places)
        picture = _developed(scene, places, colours, opacity)
        shown = opacity >= 0.5
        persons = torch.tensor([piece.person for piece in pieces], device=device)
        depths = places.distances * (view.axis[:, None] * places.directions).sum(dim=0)
        columns = (places.pixels, persons[places.solids], parts, depths, places.weights, places.middles)
        seen = labels.Seen(*(values[shown].cpu().numpy() for values in columns))
    depth = labels.depth_map(seen, scene.camera.size_hw)
    people = tuple(labels.person_labels(scene, number, seen, depth) for number in range(len(scene.people)))
    return Drawing(picture=picture, depth=depth, people=people)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums split among threads differ in their last bits."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _look(view: View, pieces: list[Solid]) -> _Places:
    """Follow a ray through each pixel's middle, and four more at edges."""
    device = view.eye.device
    hits = [view.trace(piece.field) for piece in pieces]
    num_pixels = view.height * view.width
    nearest = torch.full((num_pixels,), torch.inf, device=device)
    owner = torch.full((num_pixels,), -1, device=device)
    for number, hit in enumerate(hits):
        nearer = hit.distances < nearest[hit.pixels]
        pixels = hit.pixels[nearer]
        nearest[pixels], owner[pixels] = hit.distances[nearer], number
    edges = _edges(owner.view(view.height, view.width), nearest.view(view.height, view.width), view.pixel)
    weights = torch.where(edges, 1 / (1 + len(_OFFSETS_PX)), 1.0)
    shown = (owner >= 0).nonzero()[:, 0]
    middles = _Places(
        shown, owner[shown], nearest[shown], _rays(view, shown, (0.0, 0.0)), weights[shown], torch.ones_like(shown) > 0
    )
    beside = _look_beside(view, pieces, hits, edges.nonzero()[:, 0])
    return _Places(*(torch.cat(columns, dim=-1) for columns in zip(middles, beside, strict=True)))


def _look_beside(view: View, pieces: list[Solid], hits: list[Hits], edges: Int64[Tensor, " edges"]) -> _Places:
    """Look at the other places in some pixels."""
    pixels = edges.repeat(len(_OFFSETS_PX))
    directions = torch.cat([_rays(view, edges, offset) for offset in _OFFSETS_PX], dim=1)
    nearest = torch.full(pixels.shape, torch.inf, device=pixels.device)
    owner = torch.full_like(pixels, -1)
    starts = torch.empty(view.height * view.width, device=pixels.device)
    for number, (piece, hit) in enumerate(zip(pieces, hits, strict=True)):
        starts.fill_(torch.inf)
        starts[hit.pixels] = hit.starts
        here = (starts[pixels] < nearest).nonzero()[:, 0]
        if not len(here):
            continue
        distances = view.meet(piece.field, directions[:, here], starts[pixels[here]])
        nearer = distances < nearest[here]
        nearest[here[nearer]], owner[here[nearer]] = distances[nearer], number
    shown = (owner >= 0).nonzero()[:, 0]
    weights = torch.full(shown.shape, 1 / (1 + len(_OFFSETS_PX)), device=pixels.device)
    return _Places(
        pixels[shown], owner[shown], nearest[shown], directions[:, shown], weights, torch.zeros_like(shown) > 0
    )


def _rays(view: View, pixels: Int64[Tensor, " n"], offset: tuple[float, float]) -> Float[Tensor, "3 n"]:
    return view.directions(pixels % view.width + 0.5 + offset[0], pixels // view.width + 0.5 + offset[1])


def _edges(owner: Int64[Tensor, "h w"], nearest: Float[Tensor, "h w"], pixel: float) -> Bool[Tensor, " pixels"]:
    """Pixels beside another solid or a jump in depth, on either side of it."""
    edges = torch.zeros_like(owner, dtype=torch.bool)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        jump = (nearest[first] - nearest[second]).abs() > _EDGE_MM + _EDGE_PX * pixel * nearest[first]
        differs = (owner[first] != owner[second]) | (jump & (owner[first] >= 0))
        edges[first] |= differs
        edges[second] |= differs
    return edges.flatten()


def _coated(
    scene: Scene, view: View, pieces: list[Solid], places: _Places
) -> tuple[Float[Tensor, "3 n"], Int64[Tensor, " n"], Float[Tensor, " n"]]:
    """The colour, part and opacity of each place."""
    colours = torch.zeros_like(places.directions)
    parts, opacity = torch.zeros_like(places.pixels), torch.ones_like(places.distances)
    for number, piece in enumerate(pieces):
        here = (places.solids == number).nonzero()[:, 0]
        if not len(here):
            continue
        directions, distances = places.directions[:, here], places.distances[here]
        points = torch.addcmul(view.eye, directions, distances)
        coat = piece.paint(Spot(points, piece.field.surface(points), distances * view.pixel))
        colours[:, here] = lit(coat, points, directions, piece.field, scene.light)
        parts[here], opacity[here] = coat.parts, coat.opacity
    return colours, parts, opacity


def _developed(
    scene: Scene, places: _Places, colours: Float[Tensor, "3 n"], opacity: Float[Tensor, " n"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay the places over the background, soften, and add the sensor's noise."""
    height, width = scene.camera.size_hw
    weights = places.weights * opacity
    layers = torch.zeros(4, height * width, device=colours.device)
    layers.index_add_(1, places.pixels, torch.cat([colours * weights, weights[None]]))
    drawn: Float32[np.ndarray, "4 h w"] = layers.view(4, height, width).cpu().numpy()
    picture = scene.background * (1 - drawn[3])[..., None] + np.moveaxis(drawn[:3], 0, 2) * 255
    picture = cv2.GaussianBlur(picture.astype(np.float32), (3, 3), _BLUR_PX)
    rng = np.random.default_rng(scene.seed)
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(_NOISE)
    developed: UInt8[np.ndarray, "h w 3"] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return developed
