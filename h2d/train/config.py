"""Everything that a training run is told; the defaults are the paper's where it states a value."""

from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from h2d.config import config
from h2d.errors import UserError


@config
class OptimizerConfig:
    """AdamW with linear warm-up, then a constant rate, or one that falls to zero."""

    name: Literal["adamw", "adamw8bit"] = "adamw"
    """`adamw8bit` keeps its two averages in 8 bits, for cards of 24 GB; needs bitsandbytes."""
    learning_rate: float = 1e-5
    warmup_steps: int = 500
    decay: Literal["none", "cosine"] = "none"
    """`cosine` lets the rate fall to zero at the last step, whose number is then fixed. The paper's is constant."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    epsilon: float = 1e-8
    max_gradient_norm: float = 1.0
    """Longer gradients are shortened to it."""

    def __post_init__(self) -> None:
        _positive(self, "learning_rate", "max_gradient_norm", "epsilon")


@config
class AverageConfig:
    """The moving average of the weights, which is what is validated, previewed and exported."""

    enabled: bool = True
    decay: float = 0.9999
    """At most; after n steps it is min(decay, (1 + n) / (10 + n)), so that short runs are averaged over few steps."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {self.decay}")


@config
class SpeedConfig:
    """How a step is computed; none of these changes what is learnt, up to rounding."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the computation; trained weights are float32 always. `auto`: bf16 on a GPU that has it, else fp32."""
    micro_batch: int | None = None
    """Samples on one device at a time; the global batch is made of several by accumulation. None: no accumulation."""
    gradient_checkpointing: bool = False
    compile: bool = False
    channels_last: bool = False
    loader_workers: int = 4
    cache_latents: bool = False
    """Encode every row once before the first step, and keep the posteriors in the trainer's memory. Refused where
    colours are shifted (as the paper does for hands) or crops mirrored; for small sets that are seen many times."""

    def __post_init__(self) -> None:
        if self.cache_latents and self.loader_workers:
            raise ValueError("cache_latents needs loader_workers = 0: the cache lies in the trainer's memory")


@config
class OutputConfig:
    """What is written, and how often, in steps. 0: never."""

    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    preview_every: int = 1000
    num_previews: int = 4
    validate_every: int = 1000
    num_validated: int = 64
    trackers: tuple[str, ...] = ()
    """tensorboard, trackio, wandb: what accelerate knows."""

    def __post_init__(self) -> None:
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints must be at least 1, got {self.keep_checkpoints}")


@config
class DataConfig:
    """Which rows are learnt from."""

    manifests: tuple[Path, ...]
    """Several are joined row by row."""
    held_out_share: float = 0.02
    """Of the subjects of split `train`, for validation, where the manifests have no split `val`."""
    window_groups: int = 8
    """Row groups among which rows are shuffled: a loader process holds so many in memory."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share must be at least 0 and below 1, got {self.held_out_share}")


@config
class TrainConfig:
    """One run of one stage."""

    stage: str
    out: Path
    data: DataConfig
    steps: int
    global_batch: int = 32
    """Over all processes and accumulated parts."""
    size_px: int = 512
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    """The stage's own."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    average: AverageConfig = field(default_factory=AverageConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        _positive(self, "steps", "global_batch", "size_px")
        if self.size_px % 64:
            raise ValueError(f"size_px must be a multiple of 64, got {self.size_px}")

    def micro_batch_of(self, num_processes: int) -> int:
        """Samples at a time of each process; raises `UserError` where the batch cannot be dealt."""
        micro = self.speed.micro_batch or max(1, self.global_batch // num_processes)
        if self.global_batch % (micro * num_processes):
            raise UserError(
                f"global_batch = {self.global_batch} is no multiple of {num_processes} processes x {micro} samples: "
                "change global_batch, speed.micro_batch or the number of processes"
            )
        return micro


UNTOUCHED: tuple[str, ...] = ("out", "steps", "device", "output", "speed")
"""Top-level fields that may differ when a run goes on: they change no number that is learnt, up to rounding. `steps`
only where the rate does not fall towards the last of them."""


def _positive(owner: Any, *names: str) -> None:
    for name in names:
        if not getattr(owner, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(owner, name)}")
