"""Light on surfaces: a lamp, light from everywhere, nearby flesh in its way. Axis legend: n points."""

import torch
from jaxtyping import Float
from torch import Tensor

from h2d.synth.paint import GAMMA, Coat, column, unit
from h2d.synth.scene import Light
from h2d.synth.sdf import Field

_LAMP_COLOUR = (1.0, 0.97, 0.92)
_SKY_COLOUR = (0.96, 0.98, 1.0)
_WRAP = 0.25
"""How far light creeps around edges, as in skin."""
_SHADE_MM = (5.0, 15.0)
"""How far out of the surface to feel for other flesh."""


def lit(
    coat: Coat, points: Float[Tensor, "3 n"], directions: Float[Tensor, "3 n"], field: Field, light: Light
) -> Float[Tensor, "3 n"]:
    """What the camera records, 0..1; a white surface square to the lamp gets strength plus ambient."""
    lamp = column(light.towards, points)
    facing = (coat.normals * lamp).sum(dim=0)
    lamp_light = ((facing + _WRAP) / (1 + _WRAP)).clamp(min=0)
    reaches = torch.tensor(_SHADE_MM, device=points.device)[:, None]
    feelers = torch.addcmul(points[:, None], coat.normals[:, None], reaches)
    missing = 1 - field.distance(feelers.flatten(1)).view(len(_SHADE_MM), -1) / reaches
    open_share = 1 - missing.clamp_(0, 1).sum(dim=0) * 0.38
    sky = 0.8 - 0.2 * coat.normals[1]
    halfway = unit(lamp - directions)
    shine = ((coat.normals * halfway).sum(dim=0).clamp(min=0) ** 24) * coat.gloss * light.strength
    lamp_light = lamp_light * light.strength * (0.5 + 0.5 * open_share)
    total = coat.albedo * (lamp_light * column(_LAMP_COLOUR, points) + sky * light.ambient * open_share * column(
        _SKY_COLOUR, points
    )) + 0.35 * shine  # fmt: skip
    return total.clamp(1e-4, 1) ** (1 / GAMMA)
