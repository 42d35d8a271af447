"""A pose at the size of the picture to be made, and the hands in it that get a crop."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32

from h2d.annotate.base import FoundHand
from h2d.annotate.crops import Crop, CropConfig, plan_crops
from h2d.annotate.masks.prompts import inside
from h2d.errors import UserError
from h2d.models.base import CELL_PX
from h2d.pose.layouts import NUM_HAND_POINTS, SIDES, Side
from h2d.pose.points import extent_xywh, present
from h2d.pose.pose import Pose

MIN_POINTS: Final = 5
"""A hand of fewer known points says too little of its fingers. Our choice."""

MAX_ASPECT: Final = 2.0
"""Longer pictures than this, side to side, are beyond what Stable Diffusion was trained on. Our choice."""

SMALL_CELLS: Final = 6
"""Hands narrower than this many cells of the latent come out blurred. Our choice."""

MAX_RESCALE: Final = 1.25
"""How far a crop's scale may be from the picture's to be brought to it. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandCrop:
    """One crop of one person: the place of one hand or both."""

    person: int
    crop: Crop
    points: dict[Side, Float32[np.ndarray, "21 3"]]
    """In pixels of the crop."""


def output_size(
    pose_size_hw: tuple[int, int], wanted_hw: tuple[int | None, int | None], *, short_px: int, multiple: int
) -> tuple[int, int]:
    """The picture's (height, width): what is wanted, else the pose's shape with its short side at `short_px`.

    Raises `UserError` when a wanted size is no multiple of what the networks can halve.
    """
    height, width = wanted_hw
    for name, size in (("height", height), ("width", width)):
        if size is None or size == round_to(size, multiple):
            continue
        if height is None or width is None:
            raise UserError(f"{name} = {size}: choose a multiple of {multiple}, such as {round_to(size, multiple)}")
        near = f"{round_to(width, multiple)}x{round_to(height, multiple)}"
        raise UserError(f"size {width}x{height}: its sides are multiples of {multiple}: give --size {near}")
    if height is not None and width is not None:
        return height, width
    aspect = min(max(pose_size_hw[1] / pose_size_hw[0], 1 / MAX_ASPECT), MAX_ASPECT)
    if height is None and width is None:
        height = round_to(short_px * max(1.0, 1 / aspect), multiple)
        return height, round_to(short_px * max(1.0, aspect), multiple)
    if height is None:
        assert width is not None
        return round_to(width / aspect, multiple), width
    return height, round_to(height * aspect, multiple)


def round_to(size: float, multiple: int) -> int:
    """The nearest multiple, at least one."""
    return max(1, round(size / multiple)) * multiple


def fit_pose(pose: Pose, size_hw: tuple[int, int]) -> Pose:
    """The pose on a picture of `size_hw`: as large as fits and in its middle; nothing is stretched."""
    height, width = size_hw
    scale = min(height / pose.height, width / pose.width)
    shift = (width / scale - pose.width) / 2, (height / scale - pose.height) / 2
    return pose.moved(scale=scale, shift=shift, width=width, height=height)


def crops_of(size_px: int) -> CropConfig:
    """How hands are cut out for a generator of crops of `size_px`: blown up eight times at most, as in training."""
    return CropConfig(size=size_px, min_side_px=max(1, size_px * CropConfig().min_side_px // CropConfig().size))


def hand_crops(
    pose: Pose, config: CropConfig, *, zoomed: bool = False, aligned: bool = False, cell_px: int = CELL_PX
) -> tuple[list[HandCrop], list[str]]:
    """The crops of everybody's hands, and what is to be said of hands that get none or are very small.

    `aligned` brings crops of nearly the picture's scale to its scale and its latent grid, of `cell_px` a cell.
    """
    crops: list[HandCrop] = []
    notes: list[str] = []
    for number in range(pose.num_people):
        hands: dict[Side, FoundHand] = {}
        for side in SIDES:
            points = pose.hand(number, side)
            problem, remark = _about(points, pose.size_hw, zoomed, cell_px)
            name = f"the {side} hand" if pose.num_people == 1 else f"person {number}: the {side} hand"
            if problem is None:
                hands[side] = FoundHand(points=points, found_by="given")
            if text := problem or remark:
                notes.append(f"{name} {text}")
        for crop in plan_crops(hands, pose.size_hw, config):
            if aligned:
                crop = on_latent_grid(crop, pose.size_hw, cell_px)
            points_of = {side: crop.points(hands[side].points) for side in crop.sides}
            crops.append(HandCrop(person=number, crop=crop, points=points_of))
    return crops, notes


def on_latent_grid(crop: Crop, size_hw: tuple[int, int], cell_px: int = CELL_PX) -> Crop:
    """The crop at the picture's own scale, its corner on the latent's grid, where it is near that; else as it was."""
    left, top, side, _ = crop.box_xywh
    if not (1 / MAX_RESCALE <= side / crop.size <= MAX_RESCALE and crop.size <= min(size_hw)):
        return crop
    corner = []
    for start, limit in ((left, size_hw[1]), (top, size_hw[0])):
        wanted = start + (side - crop.size) / 2
        corner.append(int(min(max(round(wanted / cell_px), 0), (limit - crop.size) // cell_px)) * cell_px)
    return Crop(hands=crop.hands, box_xywh=(corner[0], corner[1], crop.size, crop.size), size=crop.size)


def is_aligned(crop: Crop, cell_px: int = CELL_PX) -> bool:
    """Whether a cell of the crop's latent is a cell of the picture's."""
    left, top, side, _ = crop.box_xywh
    return side == crop.size and left % cell_px == 0 and top % cell_px == 0


def is_small(points: Float32[np.ndarray, "21 3"], cell_px: int = CELL_PX) -> bool:
    """Whether a hand, in pixels of the picture, has too few cells of the latent for its fingers."""
    return max(extent_xywh(points)[2:]) / cell_px < SMALL_CELLS


def _about(
    points: Float32[np.ndarray, "21 3"], size_hw: tuple[int, int], zoomed: bool, cell_px: int
) -> tuple[str | None, str | None]:
    """Why a hand gets no crop, if so, and what else is to be said of it."""
    known = int(present(points).sum())
    if not known:
        return "", None
    if known < MIN_POINTS:
        return f"has {known} of {NUM_HAND_POINTS} points: left out, {MIN_POINTS} are needed", None
    if not inside(points, size_hw).any():
        return "lies outside the picture: left out", None
    if not is_small(points, cell_px):
        return None, None
    cells = max(extent_xywh(points)[2:]) / cell_px
    remedy = "outpainted once more, enlarged" if zoomed else "--zoom-hands, or a larger picture"
    return None, f"is {cells:.1f} latent cells wide, too few for its fingers: {remedy}"
