"""A loaded pipeline on its device, and what it makes written to files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from PIL import Image

from h2d.config import as_plain
from h2d.errors import UserError
from h2d.hashes import sha256_of
from h2d.infer.choosing import Models
from h2d.infer.framing import output_size
from h2d.infer.loading import cast, load_models, native_sizes, weight_folders
from h2d.infer.lora import fuse_lora, parse_lora
from h2d.infer.memory import Budget
from h2d.infer.options import SampleOptions
from h2d.infer.output import TwoStageOutput
from h2d.infer.provenance import differing, fingerprints, pose_record
from h2d.infer.requests import Item, Request, request_of
from h2d.infer.schedulers import short_name
from h2d.infer.two_stage import TwoStagePipeline
from h2d.machine import device_named
from h2d.models.reading import quiet_libraries

Precision: TypeAlias = Literal["auto", "fp32", "fp16", "bf16"]
OnStep: TypeAlias = Callable[[str, int, int], None]
"""Told of each finished step: its stage, its number from 0, and how many there are."""

TYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_FLAGS: Final = {
    "scheduler": "--scheduler {}",
    "steps": "--steps {}",
    "guidance_scale": "--guidance {}",
    "hand_guidance_scale": "--set hand_guidance_scale={}",
    "eta": "--set eta={}",
    "control_scale": "--set controlnet_conditioning_scale={}",
}
"""What gives each setting of a picture's record that a pipeline may state."""
_BASELINE_FLAGS: Final = {
    "steps": "--steps {}",
    "guidance_scale": "--guidance {}",
    "eta": "--set baseline.eta={}",
    "control_scale": "--set baseline.control_scale={}",
}
"""The same of the other methods; their scheduler is never another's to state."""
_PACKAGES: Final = ("torch", "diffusers", "transformers", "numpy", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One picture of a request."""

    image: Image.Image
    record: dict[str, Any]
    output: TwoStageOutput | None
    """None of a method that has no stages."""
    index: int
    """Of it in `output`."""
    notes: tuple[str, ...]


@runtime_checkable
class MethodSession(Protocol):
    """A loaded method: ours (`Session`), or another (`h2d.infer.baselines.session`)."""

    device: torch.device

    def sample(self, items: Sequence[Item], options: SampleOptions, on_step: OnStep | None = None) -> list[Made]:
        """The pictures of some items of one size, in one batch."""

    def size_of(self, item: Item, options: SampleOptions) -> tuple[int, int]:
        """The (height, width) that an item's picture gets; raises `UserError`."""

    def has_weights_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a picture was made with this very method and networks."""

    def check_weights(self, record: Mapping[str, Any], name: str) -> None:
        """Raise `UserError` when a record was made with other networks than these."""

    def remarks(self, record: Mapping[str, Any]) -> list[str]:
        """What is not as it was when the record was made, so that bits may differ."""


class Session:
    """Loads once, samples often."""

    def __init__(
        self,
        models: Models,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        offload: bool = False,
        compiled: bool = False,
        batch_size: int = 1,
        asked: Request | None = None,
    ) -> None:
        """Load, after memory was seen to hold `batch_size` pictures of what is asked, or of the networks' own size.

        `offload` keeps idle networks off the GPU.
        """
        quiet_libraries()
        self.device = device_of(device)
        self.precision = precision_of(precision, self.device)
        self._models = models
        if offload and self.device.type != "cuda":
            raise UserError(f"--offload: there is nothing to keep off a {self.device.type}: leave it out")
        folders = weight_folders(models)
        self._budget = Budget(folders=folders, precision=self.precision, device=self.device, offload=offload)
        self._budget.check(first_size(models, asked), batch_size, loaded=False)
        self.pipe: TwoStagePipeline = load_models(models)
        for lora in models.loras:
            file, strength = parse_lora(lora)
            fuse_lora(self.pipe, file, scale=strength)
        self._fingerprints = fingerprints(self.pipe)  # before the cast: the same weights in any precision
        self._compiled = compiled
        if self.precision != "fp32":
            cast(self.pipe, TYPES[self.precision])
        self.pipe.set_progress_bar_config(disable=True)
        if offload:
            self.pipe.enable_model_cpu_offload(device=self.device)
        else:
            self.pipe.to(self.device)
        if compiled:
            # CUDA graphs take the launching of thousands of small kernels off the CPU.
            mode = "reduce-overhead" if self.device.type == "cuda" else "default"
            self.pipe.compile_networks(mode=mode)

    def sample(self, items: Sequence[Item], options: SampleOptions, on_step: OnStep | None = None) -> list[Made]:
        """The pictures of some items of one size, in one batch: the same batch gives the same bits."""
        self._budget.check(self.size_of(items[0], options), len(items), loaded=True)
        records = [self._record(item, options) | batch_record(item, items) for item in items]
        total = self.pipe.num_steps(options)

        def tell(_pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if on_step is not None:
                on_step(tensors["stage"], step, total)
            return tensors

        output = self.pipe(
            [item.prompt for item in items],
            [item.pose for item in items],
            seed=[item.seed for item in items],
            options=options,
            callback_on_step_end=tell,
        )
        return [
            Made(
                image=image,
                record=record | {"notes": notes},
                output=output,
                index=index,
                notes=tuple(notes),
            )
            for index, (record, image, notes) in enumerate(zip(records, output.images, output.notes, strict=True))
        ]

    def size_of(self, item: Item, options: SampleOptions) -> tuple[int, int]:
        """The (height, width) that an item's picture gets; raises `UserError`."""
        wanted = options.height, options.width
        short, multiple = self.pipe.config.size_px, self.pipe.size_multiple
        return output_size(item.pose.size_hw, wanted, short_px=short, multiple=multiple)

    def _record(self, item: Item, options: SampleOptions) -> dict[str, Any]:
        return {
            "method": "two-stage",
            "prompt": item.prompt,
            "seed": item.seed,
            "options": as_plain(options),
            "resolved": self.pipe.settled(options),
            "pose": pose_record(item.pose),
            "models": self._models.as_record(),
            "hand_photo_sha256": _sha256_of_photo(options.hand_photo) if options.hand_photo else None,
            "weights": self._fingerprints,
            **surroundings(self.device, self.precision, compiled=self._compiled),
        }

    def has_weights_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a picture was made with these very networks."""
        return not differing(record["weights"], self._fingerprints)

    def check_weights(self, record: Mapping[str, Any], name: str) -> None:
        """Raise `UserError` when a record was made with other networks than these."""
        others = differing(record["weights"], self._fingerprints)
        if others:
            raise UserError(
                f"{name}: made with another {', '.join(others)}: name the models of then by --hand and --outpaint"
            )

    def remarks(self, record: Mapping[str, Any]) -> list[str]:
        """What of machine, versions and batch is not as it was then, so that bits may differ."""
        request = request_of(record, "the picture")
        now = self._record(request.items()[0], request.options)
        found = other_surroundings(record, now) + other_sampling(record, now)
        if record["hand_photo_sha256"] != now["hand_photo_sha256"]:
            found.append(f"{request.options.hand_photo} is another photograph now: the hands differ")
        if record["batch_size"] != len(request.seeds):
            found.append(f"made in a batch of {record['batch_size']} other pictures then: bits may differ")
        return found


def _sha256_of_photo(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError as error:
        raise UserError(f"hand_photo {file}: cannot be read: {error.strerror}: give a photograph of a hand") from None


def first_size(models: Models, asked: Request | None) -> tuple[int, int]:
    """The (height, width) of what is asked, or the networks' own; loads nothing. Raises `UserError` on a wrong one."""
    short_px, multiple = native_sizes(models)
    if asked is None:
        return short_px, short_px
    wanted = asked.options.height, asked.options.width
    return output_size(asked.pose.size_hw, wanted, short_px=short_px, multiple=multiple)


def batch_record(item: Item, items: Sequence[Item]) -> dict[str, Any]:
    """What a picture's record says of those that were made with it."""
    alike = len({(each.prompt, each.pose.pose_hash()) for each in items}) == 1
    return {"batch_seeds": [each.seed for each in items] if alike else [item.seed], "batch_size": len(items)}


def surroundings(device: torch.device, precision: str, *, compiled: bool = False) -> dict[str, dict[str, Any]]:
    """What a picture's record says of the machine and of versions: other ones may give other bits."""
    return {
        "machine": {
            "device": device.type,
            "precision": precision,
            "threads": torch.get_num_threads(),
            "compiled": compiled,
        },
        "versions": {name: version(name) for name in _PACKAGES},
    }


def other_surroundings(record: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of them was not then as it is now, a line each."""
    return [
        f"{part} was {record[group].get(part)} then and is {now[group][part]} now: bits may differ"
        for group in ("machine", "versions")
        for part in now[group]
        if record[group].get(part) != now[group][part]
    ]


def other_sampling(record: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the weights' own settings changed since then, a line each; records of old say less."""
    then, flags = dict(record.get("resolved", {})), _FLAGS if record["method"] == "two-stage" else _BASELINE_FLAGS
    if "scheduler" in then:
        then["scheduler"] = short_name(then["scheduler"])
    return [
        f"{name} was {then[name]} then and is {value} now: {flags[name].format(then[name])} makes the same picture"
        for name, value in now["resolved"].items()
        if name in flags and None not in (then.get(name), value) and then[name] != value
    ]


def device_of(name: str) -> torch.device:
    """As `device_named`, but that `auto` takes Apple's GPU where there is no CUDA."""
    named = device_named(name)
    if name == "auto" and named == "cpu" and torch.backends.mps.is_available():
        named = "mps"
    return torch.device(named)


def precision_of(name: Precision, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that has it, fp16 on one that has not, fp32 elsewhere."""
    if name != "auto":
        return name
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
