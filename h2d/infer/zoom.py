"""Small hands once more, enlarged: one of the paper's limits is the coarse grid of the latent.

Around each small hand a square of the finished picture is enlarged to the size that the networks were trained at, its
rim and the hand are kept, and what lies between is outpainted again. Then it is set back, and fades out over the rim.
Axis legend: h w picture size, s window size, l latent size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate.crops import Crop
from h2d.images import resize
from h2d.infer.blending.base import cells_of
from h2d.infer.canvas import Canvas, HandPicture, compose, paste
from h2d.infer.framing import is_small
from h2d.infer.hands import Hand
from h2d.infer.jobs import Job
from h2d.infer.latents import decode, encode
from h2d.infer.loop import Noise, first_noise, generator_of
from h2d.infer.options import SampleOptions
from h2d.infer.outpaint import OutpaintInputs, outpaint
from h2d.infer.pixels import mask_to_networks, to_networks
from h2d.models.base import CELL_PX
from h2d.models.outpainter import canvas_of
from h2d.pose.draw import control_picture
from h2d.pose.points import moved

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline

_CROPS_PER_WINDOW: Final = 2.0
_RIM: Final = 0.125
"""Of the window's side, on each side. Our choice."""
_LEAST_ZOOM: Final = 1.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A square of a picture around one small hand."""

    picture: int
    hand: Hand
    box_xyxy: tuple[int, int, int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        left, top, right, bottom = self.box_xyxy
        return slice(top, bottom), slice(left, right)

    @property
    def side(self) -> int:
        """In pixels of the picture."""
        return self.box_xyxy[2] - self.box_xyxy[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Enlarged:
    """A window at the networks' size, before and after it was outpainted."""

    hands: str
    """As `Crop.hands`."""
    before: UInt8[np.ndarray, "s s 3"]
    after: UInt8[np.ndarray, "s s 3"]


def zoom_hands(
    pipe: "TwoStagePipeline",
    jobs: Sequence[Job],
    hands: Sequence[Sequence[Hand]],
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    options: SampleOptions,
    notes: Sequence[list[str]],
) -> tuple[list[UInt8[np.ndarray, "h w 3"]], list[list[Enlarged]]]:
    """The pictures with the surroundings of small hands made again, and each one's windows.

    Those without small hands stay as they are, which is added to their notes.
    """
    size = pipe.config.size_px
    windows = [
        window
        for number, (job, made) in enumerate(zip(jobs, hands, strict=True))
        for window in small_windows(made, number, job.framed.size_hw, size, cell_px=pipe.cell_px)
    ]
    results = list(pictures)
    made: list[list[Enlarged]] = [[] for _ in jobs]
    for number in set(range(len(jobs))) - {window.picture for window in windows}:
        notes[number].append("no hand is small enough for --zoom-hands: nothing was enlarged")
    if not windows:
        return results, made
    canvases = [enlarged_canvas(window, size) for window in windows]
    old = [resize(np.ascontiguousarray(pictures[each.picture][each.slices]), (size, size)) for each in windows]
    decoded = decode(pipe.vae, outpaint(pipe, _inputs(pipe, jobs, windows, canvases, old, options), options))
    weight = fade(size)
    for window, canvas, seen, new in zip(windows, canvases, old, decoded, strict=True):
        pasted = paste(new, canvas)
        made[window.picture].append(Enlarged(hands=window.hand.crop.hands, before=seen, after=pasted))
        before = results[window.picture].copy()
        rows, columns = window.slices
        small = resize(pasted, (window.side, window.side))
        share = np.asarray(_shrunk(weight, window.side))[..., None]
        before[rows, columns] = np.rint(share * small + (1 - share) * before[rows, columns])
        results[window.picture] = before
    return results, made


def small_windows(
    hands: Sequence[Hand], picture: int, size_hw: tuple[int, int], window_px: int, *, cell_px: int = CELL_PX
) -> list[Window]:
    """A window around each crop with a small hand, inside the picture; none where it would hardly enlarge."""
    height, width = size_hw
    windows = []
    for hand in hands:
        left, top, crop_side, _ = hand.crop.box_xywh
        in_picture = [moved(points, scale=crop_side / hand.crop.size) for points in hand.points.values()]
        side = min(round(_CROPS_PER_WINDOW * crop_side), height, width)
        if not any(is_small(points, cell_px) for points in in_picture) or window_px / side < _LEAST_ZOOM:
            continue
        x = int(np.clip(left + (crop_side - side) // 2, 0, width - side))
        y = int(np.clip(top + (crop_side - side) // 2, 0, height - side))
        windows.append(Window(picture=picture, hand=hand, box_xyxy=(x, y, x + side, y + side)))
    return windows


def rim(size: int) -> Bool[np.ndarray, "s s"]:
    """The border of a window that is kept."""
    kept = np.ones((size, size), bool)
    wide = round(size * _RIM)
    kept[wide:-wide, wide:-wide] = False
    return kept


def fade(size: int) -> Float32[np.ndarray, "s s"]:
    """How much of the new window shows: 1 inside, down to 0 at the edge."""
    wide = max(1, round(size * _RIM))
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / wide
    line = np.clip(ramp, 0, 1).astype(np.float32)
    return np.minimum.outer(line, line)


def _shrunk(weight: Float32[np.ndarray, "s s"], side: int) -> Float32[np.ndarray, "h w"]:
    return np.asarray(cv2.resize(weight, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def enlarged_canvas(window: Window, size: int) -> Canvas:
    """The hand in the enlarged window."""
    left, top, _, _ = window.box_xyxy
    scale = size / window.side
    x, y, side, _ = window.hand.crop.box_xywh
    large = round(side * scale)
    box = round((x - left) * scale), round((y - top) * scale), large, large
    crop = Crop(hands=window.hand.crop.hands, box_xywh=box, size=window.hand.crop.size)
    hand = HandPicture(crop=crop, picture=window.hand.picture, mask=window.hand.mask)
    return compose([hand], (size, size))


def _inputs(
    pipe: "TwoStagePipeline",
    jobs: Sequence[Job],
    windows: Sequence[Window],
    canvases: Sequence[Canvas],
    old: Sequence[UInt8[np.ndarray, "s s 3"]],
    options: SampleOptions,
) -> OutpaintInputs:
    device, size = pipe._execution_device, pipe.config.size_px
    outer = rim(size)
    whole = [paste(picture, canvas) for picture, canvas in zip(old, canvases, strict=True)]
    mask = mask_to_networks(np.stack([canvas.mask | outer for canvas in canvases])).to(device)
    shown = canvas_of(to_networks(whole).to(device), mask, fill=pipe.config.canvas_fill)
    skeletons = []
    for window in windows:
        pose, (left, top, _, _) = jobs[window.picture].framed, window.box_xyxy
        enlarged = pose.moved(scale=size / window.side, shift=(-left, -top), width=size, height=size)
        skeletons.append(control_picture(enlarged, style=pipe.config.skeleton))
    num_steps = pipe.num_steps(options)
    steps = pipe.blending_of(options).step_masks(
        np.stack([canvas.mask for canvas in canvases]),
        [canvas.boxes for canvas in canvases],
        num_steps,
        cell_px=pipe.cell_px,
    )
    generators = [generator_of(jobs[each.picture].seed, Noise.ZOOM, number) for number, each in enumerate(windows)]
    texts = [jobs[window.picture].prompt for window in windows]
    latent = size // pipe.cell_px
    return OutpaintInputs(
        noise=first_noise((4, latent, latent), generators).to(device, torch.float32),
        text=pipe.text_of("body", texts, options.negative_prompt, pipe.guidance_of("body", options)),
        skeleton=(to_networks(skeletons).to(device) + 1) / 2,
        mask=mask,
        shown=encode(pipe.vae, shown),
        kept=encode(pipe.vae, to_networks(whole).to(device)),
        step_masks=steps | cells_of(outer, pipe.cell_px),
        generators=generators,
        begin=encode(pipe.vae, to_networks(old).to(device)),
        first_step=min(num_steps - 1, num_steps - round(num_steps * options.zoom_strength)),
    )
