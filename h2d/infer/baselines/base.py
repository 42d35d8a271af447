"""What every method is: built from options, loaded onto a device, called with prompts, poses and seeds.

Axis legend: b pictures, h w picture size, l k latent size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from h2d.config import check_range, config, validate_config
from h2d.errors import UserError
from h2d.infer.baselines import OWN_OPTIONS
from h2d.infer.framing import output_size
from h2d.infer.jobs import Job, make_jobs
from h2d.infer.loop import Noise, first_noise, generator_of
from h2d.infer.schedulers import DEFAULT_SCHEDULER, DEFAULT_STEPS, SCHEDULERS, draws_noise
from h2d.models.base import cell_px_of
from h2d.models.reading import read_json
from h2d.models.weights import named_or_path
from h2d.pose.pose import Pose
from h2d.registry import check_name

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
WantedSize: TypeAlias = tuple[int | None, int | None]
"""Height and width; None: by the pose's shape."""

DEFAULT_GUIDANCE: Final = 7.5
SAMPLING_FILE: Final = "sampling.json"
"""Beside weights that sample best in a way of their own, as `generation_config.json` lies beside a language model's."""


@config
class BaselineOptions:
    """What methods are made from; each takes what it needs of it. None is the method's own."""

    weights: Path | None = None
    """Folder of weights; None: $H2D_MODELS, or ~/.cache/h2d/models."""
    base: str | None = None
    """Name or place of what the method stands on."""
    control: str | None = None
    """Name or place of the network that sees the pose."""
    control_scale: float | None = None
    """How strongly it steers. None: what the weights state, else 1; 0.55 of HandRefiner."""
    scheduler: str = DEFAULT_SCHEDULER
    eta: float | None = None
    """How much of its noise a step of DDIM draws anew, 0 to 1. None: what the weights state, else 0."""
    first: Literal["controlnet", "stable-diffusion"] = "controlnet"
    """HandRefiner: what makes the picture that it repairs, where none is given."""
    picture: Path | None = None
    """HandRefiner: that picture. A file, or a folder of files named by the first 16 digits of their pose's hash."""
    depth: Path | None = None
    """HandRefiner: the hands' depth, brighter is nearer; None: drawn from the pose's points. As `picture`."""
    mask: Path | None = None
    """HandRefiner: what is painted anew; None: boxes around the depth. As `picture`."""

    def __post_init__(self) -> None:
        check_name(SCHEDULERS, self.scheduler, kind="scheduler")
        _check_ranges(self)
        if self.mask is not None and self.depth is None:
            raise ValueError("mask without depth: give both, or neither")


@config
class StatedSampling:
    """What suits some weights, as a `SAMPLING_FILE` beside them says; None: it does not say."""

    num_inference_steps: int | None = None
    """Of DDIM; another scheduler has its own."""
    guidance_scale: float | None = None
    eta: float | None = None
    control_scale: float | None = None

    def __post_init__(self) -> None:
        check_range(self, "num_inference_steps", 1, 1000)
        check_range(self, "guidance_scale", 1)
        _check_ranges(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How a method's pictures are sampled, once everybody was heard."""

    steps: int
    guidance_scale: float
    eta: float | None
    """None of a scheduler that takes none."""
    control_scale: float | None
    """None of a method that has no such strength."""


@runtime_checkable
class Baseline(Protocol):
    """Makes pictures. Building it is cheap and reads no weights."""

    title: ClassVar[str]
    """As a table of results names it."""

    def __init__(self, options: BaselineOptions) -> None: ...

    def places(self) -> Mapping[str, Path]:
        """Where its weights lie, by their part; raises `UserError` in one line where they are missing."""

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Read the weights; raises `UserError` on files of another kind."""

    @property
    def components(self) -> Mapping[str, Any]:
        """Its networks and its `tokenizer` by diffusers' names, once loaded."""

    def sampling(self, steps: int | None, guidance: float | None) -> Sampling:
        """What a picture is made with when it is asked for with these, None being the method's own.

        Reads no weights; raises `UserError` where they are missing.
        """

    def size_of(self, pose: Pose, wanted_hw: WantedSize) -> tuple[int, int]:
        """The (height, width) of a pose's picture; raises `UserError` on one that it cannot make."""

    def notes(self, prompt: str, pose: Pose) -> list[str]:
        """What a person should know of a picture: what of the pose or the prompt the method does not see."""

    def __call__(
        self,
        prompts: Sequence[str],
        poses: Sequence[Pose],
        seeds: Sequence[int],
        *,
        size: WantedSize = (None, None),
        steps: int | None = None,
        guidance: float | None = None,
        negative: str | None = None,
    ) -> list[Picture]:
        """A picture each, of one size: of its own prompt, pose and seed alone, up to rounding in batched arithmetic.

        None is the method's own. Raises `UserError` on counts and sizes that do not go together.
        """


def place_of(name: str, given: str | None, folder: Path | None) -> Path:
    """Where the weights of a name lie, or what was given in their stead: another name, or a path."""
    place = named_or_path(given or name, folder=folder)
    if not place.exists():
        raise UserError(f"{given}: no such weights: give a name of h2d models list, or a path")
    return place


def settle(
    method: str,
    options: BaselineOptions,
    places: Mapping[str, Path],
    *,
    steps: int | None,
    guidance: float | None,
    control_scale: float | None,
) -> Sampling:
    """Each value by the first that states it: what is given, the weights in `places`, the method itself.

    `control_scale` is the method's own, None where it has no such strength.
    """
    weights = [_stated(places[part]) for part in ("control", "base") if part in places]
    if options.scheduler != DEFAULT_SCHEDULER:
        weights = [replace(stated, num_inference_steps=None) for stated in weights]

    def settled(name: str, given: Any, own: Any) -> Any:
        said = (given, *(getattr(stated, name) for stated in weights))
        return next((value for value in said if value is not None), own)

    own_guidance = OWN_OPTIONS.get(method, {}).get("guidance_scale", DEFAULT_GUIDANCE)
    return Sampling(
        steps=settled("num_inference_steps", steps, DEFAULT_STEPS[options.scheduler]),
        guidance_scale=settled("guidance_scale", guidance, own_guidance),
        eta=settled("eta", options.eta, 0.0) if draws_noise(options.scheduler) else None,
        control_scale=control_scale and settled("control_scale", options.control_scale, control_scale),
    )


def _stated(place: Path) -> StatedSampling:
    file = place / SAMPLING_FILE
    return validate_config(StatedSampling, read_json(file) if file.is_file() else {}, where=str(file))


def plan(
    unet: Any, vae: Any, prompts: Sequence[str], poses: Sequence[Pose], seeds: Sequence[int], wanted_hw: WantedSize
) -> list[Job]:
    """Prompts, poses and seeds as jobs of one size; raises `UserError`."""
    short, multiple = sizes_of(unet, vae)
    return make_jobs(
        prompts, poses, seeds, num_images_per_prompt=1, wanted_hw=wanted_hw, short_px=short, multiple=multiple
    )


def size_of(unet: Any, vae: Any, pose: Pose, wanted_hw: WantedSize) -> tuple[int, int]:
    """The (height, width) that `plan` gives a pose; raises `UserError`."""
    short, multiple = sizes_of(unet, vae)
    return output_size(pose.size_hw, wanted_hw, short_px=short, multiple=multiple)


def sizes_of(unet: Any, vae: Any) -> tuple[int, int]:
    """A U-Net's native picture size, and what a picture's sides are multiples of."""
    deeper = len(unet.config.block_out_channels) - 1
    cell_px = cell_px_of(vae.config)
    return unet.config.sample_size * cell_px, cell_px * 2**deeper


def noise_of(jobs: Sequence[Job], vae: Any) -> Float[Tensor, "b 4 l k"]:
    """What each picture starts from: that of stage 2 of the two-stage method with the same seed."""
    height, width = jobs[0].framed.size_hw
    cell_px = cell_px_of(vae.config)
    shape = 4, height // cell_px, width // cell_px
    return first_noise(shape, [generator_of(job.seed, Noise.BODY) for job in jobs])


def generators_of(jobs: Sequence[Job]) -> list[torch.Generator]:
    """Where each picture's steps draw noise from."""
    return [generator_of(job.seed, Noise.STEPS) for job in jobs]


def _check_ranges(options: Any) -> None:
    check_range(options, "control_scale", 0)
    check_range(options, "eta", 0, 1)
