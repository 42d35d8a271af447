"""A loaded pipeline on its device, and what it makes written to files."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from PIL import Image

from h2d.config import as_plain, validate_config
from h2d.errors import UserError
from h2d.infer.loading import Models, load_models
from h2d.infer.options import SampleOptions
from h2d.infer.output import TwoStageOutput
from h2d.infer.provenance import differing, fingerprints, pose_of, pose_record
from h2d.infer.two_stage import TwoStagePipeline
from h2d.pose.pose import Pose

Precision: TypeAlias = Literal["auto", "fp32", "fp16", "bf16"]
OnStep: TypeAlias = Callable[[str, int, int], None]
"""Told of each finished step: its stage, its number from 0, and how many there are."""

_TYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_SMALL: Final = 5_000_000
"""Parameters below which a U-Net's layers are too small to share: waiting for the other thread costs more."""

_PACKAGES: Final = ("torch", "diffusers", "transformers", "numpy", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Pictures of one prompt and pose: one a seed."""

    prompt: str
    pose: Pose
    seeds: tuple[int, ...]
    options: SampleOptions
    only: int | None = None
    """The one seed whose picture is wanted of a batch that is made again as a whole, for its bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One picture of a request."""

    image: Image.Image
    record: dict[str, Any]
    output: TwoStageOutput
    index: int
    """Of it in `output`."""
    notes: tuple[str, ...]


class Session:
    """Loads once, samples often."""

    def __init__(self, models: Models, *, device: str = "auto", precision: Precision = "auto") -> None:
        quiet_libraries()
        self.device = device_of(device)
        self.precision = precision_of(precision, self.device)
        self._models = models
        self.pipe: TwoStagePipeline = load_models(models).to(self.device)
        if self.precision != "fp32":
            self.pipe.to(_TYPES[self.precision])
        self.pipe.set_progress_bar_config(disable=True)
        if self.device.type == "cpu" and sum(map(torch.numel, self.pipe.unet.parameters())) < _SMALL:
            torch.set_num_threads(1)
        self._fingerprints = fingerprints(self.pipe)

    def sample(self, request: Request, on_step: OnStep | None = None) -> list[Made]:
        """The pictures of a request, in one batch. The same request gives the same pictures, to the bit."""
        total = self.pipe.num_steps(request.options)

        def tell(_pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if on_step is not None:
                on_step(tensors["stage"], step, total)
            return tensors

        output = self.pipe(
            request.prompt,
            request.pose,
            seed=list(request.seeds),
            num_images_per_prompt=len(request.seeds),
            options=request.options,
            callback_on_step_end=tell,
        )
        return [
            Made(
                image=image,
                record=self._record(request, index),
                output=output,
                index=index,
                notes=tuple(output.notes[index]),
            )
            for index, image in enumerate(output.images)
            if request.only in (None, request.seeds[index])
        ]

    def _record(self, request: Request, index: int) -> dict[str, Any]:
        scheduler = self.pipe.fresh_scheduler("body", request.options)
        return {
            "method": "two-stage",
            "prompt": request.prompt,
            "seed": request.seeds[index],
            "batch_seeds": list(request.seeds),
            "options": as_plain(request.options),
            "resolved": {"scheduler": type(scheduler).__name__, "steps": len(scheduler.timesteps)},
            "pose": pose_record(request.pose),
            "models": self._models.as_record(),
            "weights": self._fingerprints,
            "machine": {"device": self.device.type, "precision": self.precision, "threads": torch.get_num_threads()},
            "versions": {name: version(name) for name in _PACKAGES},
        }

    def check_weights(self, record: Mapping[str, Any], name: str) -> None:
        """Raise `UserError` when a record was made with other networks than these."""
        others = differing(record["weights"], self._fingerprints)
        if others:
            raise UserError(
                f"{name}: made with another {', '.join(others)}: name the models of then by --hand and --outpaint"
            )

    def remarks(self, record: Mapping[str, Any]) -> list[str]:
        """What of machine and versions is not as it was then, so that bits may differ."""
        now = self._record(request_of(record, "the picture"), record["batch_seeds"].index(record["seed"]))
        return [
            f"{part} was {record[group].get(part)} then and is {now[group][part]} now: bits may differ"
            for group in ("machine", "versions")
            for part in now[group]
            if record[group].get(part) != now[group][part]
        ]


def request_of(record: Mapping[str, Any], name: str) -> Request:
    """The request that a record is of, in its whole batch; raises `UserError` naming the file where it is none."""
    try:
        return Request(
            prompt=record["prompt"],
            pose=pose_of(record["pose"]),
            seeds=tuple(record["batch_seeds"]),
            options=validate_config(SampleOptions, record["options"], where=name),
            only=int(record["seed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name}: its record is damaged: give a PNG as h2d sample wrote it") from None


def varied(
    request: Request,
    *,
    prompt: str | None = None,
    pose: Pose | None = None,
    seeds: tuple[int, ...] | None = None,
    options: Mapping[str, Any],
) -> Request:
    """The request with some of it changed; without new seeds, of its own picture alone."""
    if prompt is None and pose is None and seeds is None and not options:
        return request
    assert request.only is not None
    return Request(
        prompt=request.prompt if prompt is None else prompt,
        pose=pose or request.pose,
        seeds=seeds or (request.only,),
        options=validate_config(SampleOptions, {**as_plain(request.options), **options}, where="options"),
    )


def device_of(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA, else Apple's, else the CPU. Raises `UserError` when it is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in here:
        raise UserError(f"--device {name}: choose one of auto, {', '.join(here)}")
    if not here[kind]:
        raise UserError(f"--device {name}: there is none here: use --device cpu, or see h2d doctor")
    return torch.device(name)


def precision_of(name: Precision, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that has it, fp16 on one that has not, fp32 elsewhere."""
    if name != "auto":
        return name
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def quiet_libraries() -> None:
    """No bars of the libraries' own while weights load."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def file_stem(prompt: str, seed: int) -> str:
    """A name for a picture: the prompt's first words and the seed."""
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    return "-".join(["-".join(words)[:48].strip("-") or "picture", str(seed)])


def unused(path: Path) -> Path:
    """The path itself, or with a number where it is taken: no picture is overwritten."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in rows, about as wide as high."""
    columns = max(1, round(len(images) ** 0.5 + 0.4999))
    rows = -(-len(images) // columns)
    width, height = images[0].size
    joined = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for place, image in enumerate(images):
        joined.paste(image, (place % columns * width, place // columns * height))
    return joined
