"""Who is compared: makers of pictures by name, each told the same poses, prompts and seeds.

A method is a class in the table, built from `MethodOptions`; one more line is one more row of the report's table.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from h2d.config import as_plain, config, validate_config
from h2d.errors import UserError
from h2d.eval.picture_list import Entry
from h2d.machine import device_named
from h2d.registry import resolve

if TYPE_CHECKING:
    from h2d.infer.choosing import Models
    from h2d.infer.options import SampleOptions

METHODS: Final[dict[str, str]] = {
    "two-stage": "h2d.eval.methods:TwoStage",
    "two-stage-naive": "h2d.eval.methods:NaiveBlending",
    "two-stage-bbox": "h2d.eval.methods:BoxBlending",
    "handrefiner": "h2d.eval.baseline_methods:HandRefiner",
    "humansd": "h2d.eval.baseline_methods:HumanSD",
    "t2i-adapter": "h2d.eval.baseline_methods:T2IAdapter",
    "controlnet": "h2d.eval.baseline_methods:ControlNet",
    "stable-diffusion": "h2d.eval.baseline_methods:StableDiffusion",
}
"""From the last row of a table to its first."""
ABLATION: Final = ("two-stage-bbox", "two-stage-naive", "two-stage")
"""The paper's Table II, in its order."""

_SAMPLE_BYTES: Final = 2**20


@config
class MethodOptions:
    """What methods are made from; each takes what it needs of it."""

    hand: Path | None = None
    """Of `h2d train hand`: a run, a checkpoint or its model. Default: the newest under runs/."""
    hand_controlnet: Path | None = None
    """A public ControlNet of hand landmarks instead."""
    outpaint: str | None = None
    """Of `h2d train outpaint`, or an OpenPose ControlNet by name or folder."""
    pipeline: Path | None = None
    """A saved pipeline instead of the two."""
    base: str | None = None
    """Name or path of what stage 2 stands on, where training's is not on this machine."""
    hand_base: str | None = None
    device: str = "auto"
    """auto: decided when a run begins, by what its workers have."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """auto: bfloat16 on CUDA, else float32."""
    batch_size: int = 4
    """Pictures made at once; changes them by rounding at most."""
    sample: dict[str, Any] = field(default_factory=dict)
    """Options of sampling, as `num_inference_steps`."""
    baseline: dict[str, Any] = field(default_factory=dict)
    """Options of the other methods, as `weights`: see `h2d.infer.baselines.base.BaselineOptions`."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A picture, and what a person should know of it."""

    picture: UInt8[np.ndarray, "h w 3"]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it was made with in effect, JSON-ready, by the names of `h2d.eval.report_making`: what its method's identity
    leaves to the weights."""


@runtime_checkable
class Method(Protocol):
    """Makes the pictures of a list. Building it is cheap, and it can be pickled before `setup`."""

    title: ClassVar[str]
    """As a table names it."""

    def __init__(self, options: MethodOptions) -> None: ...

    def identity(self) -> Mapping[str, Any]:
        """Everything that changes the pictures, JSON-ready; raises `UserError` where weights are missing."""

    def setup(self) -> None:
        """Load weights."""

    def make(self, entries: Sequence[Entry]) -> list[Made]:
        """A picture each, in order: of its pose, prompt and seed alone. Square, of any size."""

    def close(self) -> None:
        """Give back what `setup` took."""


def make_method(name: str, options: MethodOptions) -> Method:
    """The method of that name; raises `UserError` with the choices."""
    made: Method = resolve(METHODS, name, kind="method")(options)
    return made


def title_of(name: str) -> str:
    """As tables name a method; the name itself for one that is not ours."""
    if name not in METHODS:
        return name
    kind: Any = resolve(METHODS, name, kind="method")
    return str(kind.title)


class TwoStage:
    """The paper's method with sequential mask expansion."""

    title: ClassVar[str] = "Two-stage (ours)"
    blend: ClassVar[str] = "expanding"

    def __init__(self, options: MethodOptions) -> None:
        self._options = options
        self._pipe: Any = None

    def identity(self) -> Mapping[str, Any]:
        """Both checkpoints, their bases, and every option of sampling."""
        sample = as_plain(self._sample())
        return {
            "method": "two-stage",
            "weights": {name: weights_print(folder) for name, folder in self._folders().items()},
            "base": self._options.base,
            "hand_base": self._options.hand_base,
            "dtype": dtype_of(self._options),
            "sample": sample,
        }

    def setup(self) -> None:
        """Load the pipeline onto the device."""
        import torch

        from h2d.infer.loading import load_models, made_ready

        chosen = self._options
        self._pipe = made_ready(
            load_models(self._models()), device_named(chosen.device), getattr(torch, dtype_of(chosen))
        )

    def make(self, entries: Sequence[Entry]) -> list[Made]:
        """All in one batch."""
        assert self._pipe is not None, "not set up"
        settings = self._settings()
        made = self._pipe(
            [entry.prompt for entry in entries],
            [entry.pose for entry in entries],
            seed=[entry.seed for entry in entries],
            options=self._sample(),
        )
        return [
            Made(picture=np.asarray(image), notes=tuple(notes), settings=settings)
            for image, notes in zip(made.images, made.notes, strict=True)
        ]

    def close(self) -> None:
        """Let the pipeline go."""
        self._pipe = None

    def _settings(self) -> dict[str, Any]:
        return {
            "networks": self._models().as_record(),
            **self._pipe.settled(self._sample()),
            "precision": dtype_of(self._options),
        }

    def _sample(self) -> "SampleOptions":
        from h2d.infer.options import SampleOptions

        options: SampleOptions = validate_config(SampleOptions, self._options.sample, where="sample")
        given = options.blend_options if options.blend == self.blend else {}
        return replace(options, blend=self.blend, blend_options=given)

    def _models(self) -> "Models":
        from h2d.infer.choosing import RECORDED, Models, default_models, models_of

        chosen = self._options
        if chosen.pipeline:
            return Models(pipeline=chosen.pipeline)
        stage_1 = chosen.hand or chosen.hand_controlnet
        if stage_1 is None and chosen.outpaint is None:
            return default_models()
        if stage_1 is None or chosen.outpaint is None:
            raise UserError("one stage alone was named: give --hand or --hand-controlnet, and --outpaint; or none")
        return models_of({name: getattr(chosen, name) for name in RECORDED})

    def _folders(self) -> dict[str, Path]:
        from h2d.models.weights import named_or_path

        models = self._models()
        found = {"hand": models.hand, "hand_controlnet": models.hand_controlnet, "pipeline": models.pipeline_folder}
        if models.outpaint is not None:
            found["outpaint"] = named_or_path(models.outpaint)
        return {part: place for part, place in found.items() if place is not None}


class NaiveBlending(TwoStage):
    """The exact mask throughout."""

    title: ClassVar[str] = "Two-stage, naive blending"
    blend: ClassVar[str] = "naive"


class BoxBlending(TwoStage):
    """The bounding box throughout."""

    title: ClassVar[str] = "Two-stage, bounding box blending"
    blend: ClassVar[str] = "bbox"


def dtype_of(options: MethodOptions) -> str:
    """The name of torch's type, `auto` decided by the device, which another machine may have."""
    if options.dtype != "auto":
        return options.dtype
    assert options.device != "auto", "decided when the run began"
    return "bfloat16" if options.device.startswith("cuda") else "float32"


def weights_print(folder: Path) -> str:
    """A hash of a folder's weights and configurations: names, sizes, and a megabyte of each file's begin, middle, end.

    Two trainings differ in all of their bytes, so that this tells them apart without reading gigabytes.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder of weights")
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".bin")):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()} {size}\n".encode())
        with file.open("rb") as data:
            for start in (0, size // 2, max(0, size - _SAMPLE_BYTES)):
                data.seek(start)
                digest.update(data.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]
