"""A small network that reads all 133 points of one person, trained on drawn people: the miniature's own reader.

It sees a square picture of 128 pixels and answers, for every point, with a choice among cells of two pixels, or
nowhere, whose logit is 0. Points are learnt one by one, so a hand that is half a smear is half found.
Axis legend: b batch, k points (133), h w picture size, g cells along a side.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from h2d.config import config
from h2d.errors import UserError
from h2d.pose.layouts import NUM_POINTS

PICTURE_PX: Final = 128
CELL_PX: Final = 2
NUM_CELLS: Final = PICTURE_PX // CELL_PX
SPREAD_CELLS: Final = 1.0
"""Standard deviation of the heap around the true place that is learnt."""
REACH_CELLS: Final = 2
"""Cells around the surest that place a point between cells, and whose probabilities are its confidence."""


@config
class ReaderSizes:
    """Of the U-Net, from the finest cells to the coarsest; there is attention at the two coarsest."""

    channels: tuple[int, ...] = (32, 32, 32, 48)
    layers: int = 1


def new_reader(sizes: ReaderSizes) -> Any:
    """A `UNet2DModel` of diffusers with random weights: cells of pixels in, one map of logits a point out."""
    from diffusers import UNet2DModel

    plain = len(sizes.channels) - 2
    return UNet2DModel(
        sample_size=NUM_CELLS,
        in_channels=3 * CELL_PX**2,
        out_channels=NUM_POINTS,
        block_out_channels=sizes.channels,
        down_block_types=(*("DownBlock2D",) * plain, "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", *("UpBlock2D",) * plain),
        layers_per_block=sizes.layers,
        attention_head_dim=16,
        norm_num_groups=16,
    )


def weight_files(folder: Path) -> list[Path]:
    """Those of a trained network; raises `UserError` where the folder holds none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no keypoint network: give the folder that h2d train keypoints saved")
    return files


def load_reader(folder: Path) -> Any:
    """A trained one, in float32; raises `UserError` where the folder holds none."""
    from diffusers import UNet2DModel

    weight_files(folder)
    network = UNet2DModel.from_pretrained(folder, use_safetensors=True, torch_dtype=torch.float32)
    if network.config["out_channels"] != NUM_POINTS or network.config["in_channels"] != 3 * CELL_PX**2:
        raise UserError(f"{folder}: a U-Net that reads no keypoints: give the folder that h2d train keypoints saved")
    return network.eval().requires_grad_(False)


def logits_of(network: Any, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k g g"]:
    """One map a point, of a picture of 128 pixels in -1..1."""
    cells = functional.pixel_unshuffle(image, CELL_PX)
    word: Tensor = network(cells, 0).sample
    return word.float()


def losses_of(logits: Float[Tensor, "b k g g"], points: Float[Tensor, "b k 3"]) -> Float[Tensor, "b k"]:
    """Cross entropy between the maps and the true places, in pixels of the picture; a missing point is nowhere.

    Points beyond the edges count as missing: the picture does not show them.
    """
    inside = ((points[..., :2] >= 0) & (points[..., :2] < PICTURE_PX)).all(dim=-1) & (points[..., 2] > 0)
    middle = (torch.arange(NUM_CELLS, device=logits.device) + 0.5) * CELL_PX
    place = torch.where(inside[..., None], points[..., :2], 0.0)
    across, down = (
        functional.softmax(-((middle - place[..., axis, None]) ** 2) / (2 * (SPREAD_CELLS * CELL_PX) ** 2), dim=-1)
        for axis in (0, 1)
    )
    chosen = ((logits * across[:, :, None]).sum(dim=-1) * down).sum(dim=-1)
    return _log_total(logits) - torch.where(inside, chosen, 0.0)


def points_of(logits: Float[Tensor, "b k g g"]) -> Float[Tensor, "b k 3"]:
    """Places in pixels of the picture of 128, and confidences: how probable the place and its neighbourhood are."""
    batch, num_points = logits.shape[:2]
    probability = (logits.flatten(2) - _log_total(logits)[..., None]).exp().view_as(logits)
    surest = logits.flatten(2).argmax(dim=-1)
    row, column = surest // NUM_CELLS, surest % NUM_CELLS
    reach = torch.arange(-REACH_CELLS, REACH_CELLS + 1, device=logits.device)
    rows, columns = row[..., None] + reach, column[..., None] + reach
    b = torch.arange(batch, device=logits.device)[:, None, None, None]
    k = torch.arange(num_points, device=logits.device)[None, :, None, None]
    padded = functional.pad(probability, (REACH_CELLS,) * 4)
    near = padded[b, k, (rows + REACH_CELLS)[..., :, None], (columns + REACH_CELLS)[..., None, :]]
    confidence = near.sum(dim=(-2, -1))
    share = near / confidence.clamp(min=1e-12)[..., None, None]
    x = (share.sum(dim=-2) * (columns + 0.5)).sum(dim=-1) * CELL_PX
    y = (share.sum(dim=-1) * (rows + 0.5)).sum(dim=-1) * CELL_PX
    return torch.stack([x, y, confidence.clamp(max=1)], dim=-1)


def as_batch(pictures: list[np.ndarray]) -> Float32[Tensor, "b 3 h w"]:
    """Square RGB pictures of 128 pixels as the network takes them."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def _log_total(logits: Float[Tensor, "b k g g"]) -> Float[Tensor, "b k"]:
    """Of all cells and nowhere."""
    return functional.softplus(logits.flatten(2).logsumexp(dim=-1))
