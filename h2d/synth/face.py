"""The skin of the head: eyes, brows, lips and nostrils painted on its flesh, in the standard head's millimetres.

Axis legend: n points.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from h2d.synth.body_flesh import HeadFrame
from h2d.synth.paint import Coat, Painter, Spot, column, linear, mix, mottle, smooth_step
from h2d.synth.scene import Appearance, Part

_EYE = (31.0, 0.5)
_EYE_HALF_WIDTH = 15.0
_BROW = ((12.5, -21.0), (25.0, -26.0), (39.0, -28.0), (57.0, -19.0))
_MOUTH_HALF_WIDTH = 26.0
_LIPS = (0.50, 0.13, 0.12)
_FLUSH = (0.66, 0.22, 0.17)
_WHITE = (0.62, 0.60, 0.58)
_IRIS = (0.055, 0.032, 0.018)
_FRONT_MM = -25.0


def face_skin(appearance: Appearance, frame: HeadFrame) -> Painter:
    """Paint head and neck."""

    def paint(spot: Spot) -> Coat:
        points, normals = spot.points, spot.surface.normals
        local = column(frame.rotation.T.ravel(), points).reshape(3, 3) @ (points - column(frame.centre, points))
        x, y, z = local / frame.scale
        pixel = spot.pixel_mm / frame.scale
        skin = linear(appearance.skin, points)
        front = smooth_step(_FRONT_MM + 15, _FRONT_MM - 5, z)
        albedo = _complexion(skin, x.abs(), y, front, points)
        albedo, wet = _eyes(albedo, x, y, front, pixel)
        albedo = _nose_and_folds(albedo, x.abs(), y, front, pixel)
        albedo = _mouth(albedo, x, y, front, pixel)
        brow = _brows(x.abs(), y, pixel) * front * 0.8
        albedo = mix(albedo, linear(appearance.hair, points) * 0.6, brow)
        parts = torch.full_like(x, int(Part.SKIN), dtype=torch.int64)
        return Coat(albedo, parts, normals, 0.10 + 0.7 * wet, torch.ones_like(x))

    return paint


def _complexion(
    skin: Float[Tensor, "3 1"], across: Float[Tensor, " n"], y: Float[Tensor, " n"], front: Float[Tensor, " n"],
    points: Float[Tensor, "3 n"],
) -> Float[Tensor, "3 n"]:  # fmt: skip
    """Red cheeks and nose, shaded eye sockets and chin."""
    cheek = _blob(across, y, 42, 38, 20, 18) + 0.8 * _blob(across, y, 0, 38, 13, 12)
    albedo = mix(skin, skin * 0.75 + column(_FLUSH, points) * 0.25, (cheek * front * 0.35).clamp(0, 1))
    socket = _blob(across, y, 27, -6, 17, 9) * 0.30 + _blob(across, y, 28, 13, 14, 5) * 0.08
    below_lip = _blob(across, y, 0, 92, 14, 4) * 0.18
    albedo = albedo * (1 - (socket + below_lip) * front)
    return albedo * (1 + 0.03 * mottle(points, 23.0))


def _eyes(
    albedo: Float[Tensor, "3 n"], x: Float[Tensor, " n"], y: Float[Tensor, " n"], front: Float[Tensor, " n"],
    pixel: Float[Tensor, " n"],
) -> tuple[Float[Tensor, "3 n"], Float[Tensor, " n"]]:  # fmt: skip
    """White, iris, pupil, a glint, lashes and lids; and where it is wet."""
    across, down = (x.abs() - _EYE[0]) / _EYE_HALF_WIDTH, y - _EYE[1]
    shape = (1 - across * across).clamp(min=0)
    # Lids: the inner corner is a little lower than the outer.
    upper, lower = -6.0 * shape**0.8 - 0.8 * across, 4.6 * shape - 0.8 * across
    edge = torch.minimum(down - upper, lower - down)
    inside = _step(torch.where(across.abs() < 1, edge, -5.0), pixel) * front
    from_iris = torch.hypot(x.abs() - _EYE[0], down + 0.6)
    ball = mix(column(_WHITE, x), column(_IRIS, x), _step(6.3 - from_iris, pixel))
    ball = mix(ball, column((0.008, 0.008, 0.008), x), _step(2.9 - from_iris, pixel))
    ball = mix(
        ball, column((0.95, 0.95, 0.95), x), _step(1.5 - torch.hypot(x.abs() - _EYE[0] - 1.8, down + 2.6), pixel)
    )
    ball = ball * (1 - 0.45 * smooth_step(4.0, 0.0, down - upper))
    albedo = mix(albedo, ball, inside)
    near = (across.abs() < 1.08) * front
    upper_lash = _stroke(down - upper, 1.5, pixel) * near * 0.9
    lower_lash = _stroke(down - lower, 0.8, pixel) * near * 0.5
    lid = _stroke(down - upper + 4.2, 0.8, pixel) * near * 0.4
    albedo = albedo * (1 - torch.maximum(torch.maximum(upper_lash, lower_lash), lid))
    return albedo, inside


def _nose_and_folds(
    albedo: Float[Tensor, "3 n"], across: Float[Tensor, " n"], y: Float[Tensor, " n"], front: Float[Tensor, " n"],
    pixel: Float[Tensor, " n"],
) -> Float[Tensor, "3 n"]:  # fmt: skip
    """Nostrils, the wings' creases, shade beside and under the nose, folds to the mouth."""
    nostril = _step(1 - torch.hypot((across - 7.0) / 4.2, (y - 47.5) / 2.4), pixel / 3) * 0.85
    wing = _stroke(torch.hypot((across - 9.0) / 1.0, (y - 43.0) * 0.9) - 8.2, 1.2, pixel) * (across > 10) * 0.35
    beside = _blob(across, y, 11, 12, 5, 17) * 0.10 + _blob(across, y, 0, 53, 13, 4) * 0.30
    fold = _stroke(across - (18 + (y - 46) * 0.62), 1.3, pixel) * smooth_step(44, 52, y) * smooth_step(70, 62, y) * 0.16
    shade = torch.maximum(torch.maximum(nostril, wing), torch.maximum(beside, fold)) * front
    return albedo * (1 - shade * column((0.8, 1.0, 1.0), across))


def _mouth(
    albedo: Float[Tensor, "3 n"], x: Float[Tensor, " n"], y: Float[Tensor, " n"], front: Float[Tensor, " n"],
    pixel: Float[Tensor, " n"],
) -> Float[Tensor, "3 n"]:  # fmt: skip
    """Upper lip with its bow, lower lip, the line between them."""
    across = x.abs() / _MOUTH_HALF_WIDTH
    shape = (1 - across * across).clamp(min=0)
    line = 74.5 - 0.8 * across * across + 0.7 * torch.cos(x / 4.5) * (across < 0.5)
    top = line - 8.0 * shape**0.9 + 1.8 * torch.exp(-((x / 3.5) ** 2))
    low = line + 10.0 * shape
    lips = _step(torch.where(across < 1, torch.minimum(y - top, low - y), -5.0), pixel) * front
    upper = _step(line - y, pixel)
    colour = mix(albedo * 0.5 + column(_LIPS, x) * 0.5, albedo * 0.4 + column(_LIPS, x) * 0.42, upper)
    albedo = mix(albedo, colour, lips * 0.85)
    closed = _stroke(y - line, 1.1, pixel) * smooth_step(1.08, 0.9, across) * front
    return albedo * (1 - 0.8 * closed)


def _brows(across: Float[Tensor, " n"], y: Float[Tensor, " n"], pixel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Thicker inside, pointed outside."""
    cover = torch.zeros_like(y)
    for (x0, y0), (x1, y1), thick in zip(_BROW, _BROW[1:], (3.6, 3.4, 2.2), strict=False):
        share = ((across - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        share = share.clamp(0, 1)
        away = torch.hypot(across - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))
        cover = torch.maximum(cover, _step(thick - away, pixel + 1.5))
    return cover


def _blob(
    across: Float[Tensor, " n"], y: Float[Tensor, " n"], at_x: float, at_y: float, wide: float, high: float
) -> Float[Tensor, " n"]:
    return torch.exp(-(((across - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)


def _step(inside_mm: Float[Tensor, " n"], pixel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """An edge as soft as a pixel is wide."""
    return smooth_step(0.0, 1.0, inside_mm / (pixel + 0.3) + 0.5)


def _stroke(distance: Float[Tensor, " n"], width: float, pixel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A soft line; wider and weaker where pixels are larger than it is."""
    seen = torch.hypot(pixel * 0.6, torch.full_like(pixel, width))
    return torch.exp(-((distance / seen) ** 2)) * (width / seen)
