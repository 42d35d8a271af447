"""What the loop asks of a stage: which rows it learns from, its networks, its loss, its preview.

A step is a pure function of weights and batch: every random number of a step (augmentation, drops, timestep, noise) is
drawn where its sample is made, from a generator seeded by (seed, position of the sample). So a resumed run, another
number of loader workers and another number of processes see the same numbers, and nothing else has to be saved.
Axis legend: b batch, h w size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

Row = Mapping[str, Any]
"""One row of a manifest's table, only the stage's columns: `image` as encoded bytes, points as float32 arrays (p, 3),
boxes as (4,), all else as plain values (a mask is `{"size": ..., "counts": ...}`)."""

Example = dict[str, Tensor]
"""One sample without the batch axis; the loop stacks them key by key. Every example has the same keys and shapes. Bytes
become floats on the device: `image` in [-1, 1], all others in [0, 1]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Examples stacked key by key, on the device, and the rows that they come from."""

    tensors: dict[str, Tensor]
    """Always holds `timesteps`, Int[b]: the loop overwrites it to measure the loss by noise level."""
    ids: tuple[str, ...]

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]

    def __len__(self) -> int:
        return len(self.ids)

    def changed(self, **tensors: Tensor) -> "Batch":
        """The same rows with some tensors replaced."""
        return Batch(tensors={**self.tensors, **tensors}, ids=self.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The networks of a stage, by the name of the folder they are saved in."""

    trained: nn.ModuleDict
    """Float32. The optimizer, the moving average and the checkpoints see these, and these only."""
    frozen: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    """The loop moves them to the device, in bfloat16 where it trains in bfloat16, and asks no gradients of them."""
    scheduler: Any = None
    """A diffusers DDPM scheduler: the noise levels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """The loss of a batch: its total with gradients, and what it consists of without."""

    total: Float[Tensor, ""]
    """A mean over samples, so that the mean over processes is that of the joined batch."""
    parts: dict[str, Float[Tensor, ""]]
    """Detached, unweighted: `{"noise": ..., "mask": ...}`."""
    per_sample: Float[Tensor, "b"]
    """Detached; the denoising part alone."""
    timesteps: Int[Tensor, "b"]
    all_parts: Float[Tensor, "b"] | None = None
    """Detached; the whole loss per sample, where `per_sample` is not the whole: to name a sample that is not finite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """What `h2d train STAGE` takes where it is told nothing; the paper's where it states a value."""

    manifest: str
    made_by: str
    """The command that makes the manifest."""
    steps: int
    size_px: int = 512


@runtime_checkable
class Examples(Protocol):
    """Makes examples out of rows. Pickled into loader processes: holds options and a tokenizer, no network."""

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        """Decode, augment, draw.

        Without `training` nothing is augmented, and only what sampling does not have is dropped; noise is drawn still.
        `h2d.train.batches` has the parts: `decode_square`, `shift_colours`, `planes`, `mask_plane`, `draw_noise`.
        Raises `DecodeError` or `ValueError` on a row that cannot be used: the run stops and names it.
        """


@runtime_checkable
class TrainingStage(Protocol):
    """A network, or a few, trained by one loss. Constructed as `Stage(options, size_px=512)`; that costs nothing."""

    Options: ClassVar[type]
    """A `@config` dataclass: the section `options` of the configuration. Defaults are the paper's."""
    preset: ClassVar[Preset]
    table: ClassVar[str]
    """`hands` or `images`."""
    columns: ClassVar[tuple[str, ...]]
    """What `examples` reads; `id` first."""
    light_columns: ClassVar[tuple[str, ...]]
    """What `usable` reads; none of them is `image`."""
    activation_bytes: ClassVar[tuple[float, float]]
    """Kept for the backward pass, per sample of 512 px at full size: plain, and with gradient checkpointing."""
    panels: ClassVar[tuple[str, ...]]
    """What a row of a preview shows, from left to right."""

    def usable(self, light: pa.Table) -> Bool[np.ndarray, "n"]:
        """The rows worth training on."""

    def check(self) -> None:
        """Raise `UserError` when weights are missing or options do not go together; loads nothing."""

    def examples(self) -> Examples:
        """What makes batches out of rows; loads the tokenizer."""

    def build(self, *, seed: int) -> Networks:
        """Load the networks, on the CPU in float32; new layers are drawn from `seed`."""

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        """The loss; runs inside autocast, and inside the module that distributed training wraps.

        `networks.trained` must be used through its modules' own `__call__`, or gradients are not synchronised.
        """

    def preview(self, networks: Networks, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """One picture for a person: a row per sample, with its condition, what is generated and the target.

        Starts from the batch's own `noise`; runs in evaluation mode, without gradients.
        """

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write what a sampler needs into an empty folder: diffusers' folders, safetensors, `facts` as JSON."""


@runtime_checkable
class StageOfCases(Protocol):
    """A stage whose network learns several cases at once; `Examples` without `training` give the sampler's."""

    def other_cases(self, batch: Batch) -> Mapping[str, Batch]:
        """The batch as it is in each other case, by its name in the log: `validation_<name>`."""
