"""Stage 2: the body around the hands, under a skeleton, with the hands put back after each step (III-C, III-D).

Axis legend: b pictures, n steps, n1 one more, h w picture size, l k latent size, t text tokens, d text width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor, nn

from h2d.infer.canvas import Canvas, compose
from h2d.infer.framing import is_aligned
from h2d.infer.hands import Hand
from h2d.infer.jobs import Job
from h2d.infer.latents import encode
from h2d.infer.loop import Noise, doubled, first_noise, generator_of, guided
from h2d.infer.options import SampleOptions
from h2d.infer.pixels import mask_to_networks, to_networks
from h2d.infer.schedulers import levels
from h2d.models.diffusion import blend
from h2d.models.outpainter import canvas_of, kept_cells

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline

_PASS = nn.Identity()


@dataclass(frozen=True, kw_only=True, slots=True)
class OutpaintInputs:
    """A batch of canvases; everything on the device."""

    noise: Float[Tensor, "b 4 l k"]
    """Of unit variance: what the pictures start from, and what the canvas is noised with."""
    text: Float[Tensor, "b2 t d"]
    """Of the negative prompts, then of the prompts; of the prompts alone without guidance."""
    skeleton: Float[Tensor, "b 3 h w"]
    """0..1."""
    mask: Float[Tensor, "b 1 h w"]
    """1 at the hands."""
    shown: Float[Tensor, "b 4 l k"]
    """The latent of the hands on their fill, which an inpainting U-Net is shown."""
    kept: Float[Tensor, "b 4 l k"]
    """The latent that is put back after a step."""
    step_masks: Bool[np.ndarray, "n b l k"]
    generators: list[torch.Generator]
    begin: Float[Tensor, "b 4 l k"] | None = None
    """Finished latents to start from, noised to the level of `first_step`."""
    first_step: int = 0


def prepare(
    pipe: "TwoStagePipeline",
    jobs: Sequence[Job],
    canvases: Sequence[Canvas],
    hands: Sequence[Sequence[Hand]],
    skeletons: Sequence[UInt8[np.ndarray, "h w 3"]],
    options: SampleOptions,
    latents: Float[Tensor, "b 4 l k"] | None,
) -> OutpaintInputs:
    """Encode canvases, prompts and masks of pictures of one size; `latents` are the first noise, if given."""
    device, blending = pipe._execution_device, pipe.blending_of(options)
    mask = mask_to_networks(np.stack([canvas.mask for canvas in canvases])).to(device)
    pictures = to_networks([canvas.picture for canvas in canvases]).to(device)
    shown = encode(pipe.vae, canvas_of(pictures, mask, fill=pipe.config.canvas_fill))
    kept = shown
    if blending.content == "crop":
        kept = encode(pipe.vae, to_networks([canvas.crops for canvas in canvases]).to(device))
    if options.latent_handover:
        shown, kept = (with_latents(latents, hands, canvases) for latents in (shown, kept))
    generators = [generator_of(job.seed, Noise.BODY) for job in jobs]
    height, width = jobs[0].framed.size_hw
    noise = first_noise((4, height // pipe.cell_px, width // pipe.cell_px), generators)
    return OutpaintInputs(
        noise=(noise if latents is None else latents).to(device, torch.float32),
        text=pipe.text_of(
            "body", [job.prompt for job in jobs], options.negative_prompt, pipe.guidance_of("body", options)
        ),
        skeleton=(to_networks(skeletons).to(device) + 1) / 2,
        mask=mask,
        shown=shown,
        kept=kept,
        step_masks=blending.step_masks(
            np.stack([canvas.mask for canvas in canvases]),
            [canvas.boxes for canvas in canvases],
            len(pipe.fresh_scheduler("body", options).timesteps),
            cell_px=pipe.cell_px,
        ),
        generators=generators,
    )


def with_latents(
    encoded: Float[Tensor, "b 4 l k"], hands: Sequence[Sequence[Hand]], canvases: Sequence[Canvas]
) -> Float[Tensor, "b 4 l k"]:
    """The canvases' latents with those that hands were generated as, where a crop lies on the canvas's grid.

    Only cells that the hand fills, and whose neighbours it fills: others mix hand and fill. What another hand lies on
    is left as it was encoded.
    """
    result, cell_px = encoded.clone(), canvases[0].mask.shape[1] // encoded.shape[-1]
    for picture, (made, canvas) in enumerate(zip(hands, canvases, strict=True)):
        whole = cv2.erode(_filled_cells(canvas.mask, cell_px), np.ones((3, 3), np.uint8)) > 0
        for hand in made:
            if hand.latents is None or not is_aligned(hand.crop, cell_px):
                continue
            left, top, side = (length // cell_px for length in hand.crop.box_xywh[:3])
            rows, columns = slice(top, top + side), slice(left, left + side)
            own = (_filled_cells(hand.mask, cell_px) > 0) & whole[rows, columns] & ~_others(hand, made, cell_px)
            cells = torch.from_numpy(own).to(encoded.device)
            result[picture, :, rows, columns] = torch.where(cells, hand.latents, result[picture, :, rows, columns])
    return result


def _filled_cells(mask: Bool[np.ndarray, "h w"], cell_px: int) -> UInt8[np.ndarray, "l k"]:
    """1 where a mask fills a cell of the latent."""
    height, width = mask.shape
    cells = mask.reshape(height // cell_px, cell_px, width // cell_px, cell_px)
    return np.asarray(cells.all(axis=(1, 3)), np.uint8)


def _others(hand: Hand, made: Sequence[Hand], cell_px: int) -> Bool[np.ndarray, "l k"]:
    """The cells of a hand's crop that another hand touches."""
    left, top, side, _ = hand.crop.box_xywh
    touched = np.zeros((side, side), bool)
    for other in made:
        if other is not hand:
            x, y, size, _ = other.crop.box_xywh
            alone = compose([other.as_picture()], (max(top + side, y + size), max(left + side, x + size)))
            touched |= alone.mask[top : top + side, left : left + side]
    cells = touched.reshape(side // cell_px, cell_px, side // cell_px, cell_px)
    return np.asarray(cells.any(axis=(1, 3)))


@torch.no_grad()
def outpaint(pipe: "TwoStagePipeline", inputs: OutpaintInputs, options: SampleOptions) -> Float[Tensor, "b 4 l k"]:
    """The finished latents. The U-Net sees the exact mask at each step; the blend uses the step's own."""
    unet, controlnet, scale = pipe.unet, pipe.controlnet, pipe.guidance_of("body", options)
    device, dtype = inputs.noise.device, unet.dtype
    scheduler = pipe.fresh_scheduler("body", options)
    shares = levels(scheduler)
    put_back = _put_back(shares, inputs, clean=options.canvas_noise == "clean")
    steered, extra = inputs.skeleton, None
    if controlnet.config.conditioning_channels == 4:
        steered = torch.cat((steered, inputs.mask), dim=1)
    if unet.config.in_channels == 9:
        extra = doubled(
            torch.cat((1 - kept_cells(inputs.mask, inputs.shown.shape[-2:]), inputs.shown), dim=1).to(dtype), scale
        )

    with embedded_once(controlnet, steered.to(device, dtype)) as features:
        condition = doubled(features, scale)

        def predict(latents: Tensor, timestep: Tensor, step: int) -> Tensor:
            joined = doubled(latents.to(dtype), scale)
            down, middle = controlnet(
                joined,
                timestep,
                encoder_hidden_states=inputs.text,
                controlnet_cond=condition,
                conditioning_scale=pipe.control_scale_of(options),
                return_dict=False,
            )
            word = unet(
                joined if extra is None else torch.cat((joined, extra), dim=1),
                timestep,
                encoder_hidden_states=inputs.text,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )[0]
            return guided(word, scale)

        start = inputs.noise * scheduler.init_noise_sigma
        if inputs.begin is not None:
            picture, noise = (float(share[inputs.first_step]) for share in shares)
            start = picture * inputs.begin + noise * inputs.noise
        return pipe.denoise(
            "body",
            scheduler,
            start,
            predict,
            put_back=put_back,
            first_step=inputs.first_step,
            eta=pipe.eta_of(options),
            generators=inputs.generators,
        )


def _put_back(
    shares: tuple[Float64[Tensor, "n1"], Float64[Tensor, "n1"]], inputs: OutpaintInputs, *, clean: bool
) -> Callable[[int, Tensor], Tensor]:
    """Equation (11) after each step: the canvas at the state's own noise level, inside the step's mask."""
    picture_share, noise_share = (share.tolist() for share in shares)
    masked = [bool(masks.any()) for masks in inputs.step_masks]
    masks = torch.from_numpy(inputs.step_masks[:, :, None].astype(np.float32)).to(inputs.noise.device)

    def put_back(step: int, latents: Tensor) -> Tensor:
        if not masked[step]:
            return latents
        canvas = inputs.kept
        if not clean:
            canvas = picture_share[step + 1] * inputs.kept + noise_share[step + 1] * inputs.noise
        return blend(masks[step], canvas, latents)

    return put_back


@contextmanager
def embedded_once(controlnet: Any, condition: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
    """The skeleton's features, computed now; until the context ends the ControlNet takes them for the skeleton.

    It would compute them anew at each step, and for both halves of the guidance.
    """
    if hasattr(controlnet, "_hf_hook"):
        controlnet._hf_hook.pre_forward(controlnet)  # weights that are kept elsewhere come to the device
    inner = getattr(controlnet, "_orig_mod", controlnet)
    embedding = inner.controlnet_cond_embedding
    features = embedding(condition)
    inner.controlnet_cond_embedding = _PASS
    try:
        yield features
    finally:
        inner.controlnet_cond_embedding = embedding
