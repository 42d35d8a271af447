"""From a checked configuration to what a step needs: the device, this process's share, networks in place."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.models.modeling_utils import ModelMixin

from h2d.config import as_plain
from h2d.errors import UserError
from h2d.models.reading import quiet_libraries
from h2d.train.config import TrainConfig
from h2d.train.loading import Share
from h2d.train.memory import Need, check_memory, count
from h2d.train.stage import Networks, TrainingStage


def start_accelerator(config: TrainConfig) -> Accelerator:
    """The device and its precision, writing nothing; raises `UserError` where a device is wanted that is not there."""
    cpu = config.device == "cpu" or not torch.cuda.is_available()
    if cpu and config.device == "cuda":
        raise UserError("device = cuda: no CUDA device is here: use --device cpu, or see `h2d doctor`")
    wanted = config.speed.precision
    if wanted == "auto":
        wanted = "bf16" if not cpu and torch.cuda.is_bf16_supported() else "fp32"
    return Accelerator(
        cpu=cpu,
        mixed_precision="bf16" if wanted == "bf16" else "no",
        log_with=list(config.output.trackers) or None,
        project_dir=config.out / "logs",
    )


def build_networks(config: TrainConfig, stage: TrainingStage) -> Networks:
    """The stage's networks; the bars of the libraries that read and write them are off from here on."""
    quiet_libraries()
    return stage.build(seed=config.seed)


def start_trackers(config: TrainConfig, accelerator: Accelerator) -> None:
    """Open the trackers, which write below the run's folder, and tell them the configuration."""
    if config.output.trackers:
        accelerator.init_trackers(f"h2d-{config.stage}", config=_flat(as_plain(config)))


def share_of(config: TrainConfig, accelerator: Accelerator) -> Share:
    """What this process takes of a step; raises `UserError` where the batch cannot be dealt."""
    return Share(
        global_batch=config.global_batch,
        micro_batch=config.micro_batch_of(accelerator.num_processes),
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )


def place(networks: Networks, config: TrainConfig, accelerator: Accelerator) -> None:
    """Move the networks to the device and set what makes them fast."""
    speed, device = config.speed, accelerator.device
    dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    networks.frozen.requires_grad_(False).eval()
    networks.trained.to(device=device)
    networks.frozen.to(device=device, dtype=dtype)
    if speed.channels_last:
        networks.trained.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks.frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if speed.gradient_checkpointing:
        for module in (*networks.trained.modules(), *networks.frozen.modules()):
            # Gradients pass through frozen networks too; parts without gradients are not slowed by it.
            if getattr(module, "_supports_gradient_checkpointing", False) and isinstance(module, ModelMixin):
                module.enable_gradient_checkpointing()
    if device.type == "cpu" and dtype == torch.bfloat16:
        _use_plain_attention(networks)
    if speed.compile:
        for network in networks.trained.values():
            network.compile()


def check_gpu_memory(
    networks: Networks, stage: TrainingStage, config: TrainConfig, accelerator: Accelerator, micro_batch: int
) -> None:
    """Raise `UserError` when the run will not fit. On a GPU only: a CPU has swap, and tells."""
    if accelerator.device.type != "cuda":
        return
    need = _gpu_need(networks, stage, config, half_precision=accelerator.mixed_precision == "bf16")
    free, _ = torch.cuda.mem_get_info(accelerator.device)
    check_memory(need, free, micro_batch, checkpointing=config.speed.gradient_checkpointing)


def rehearse(config: TrainConfig, stage: TrainingStage, *, num_processes: int | None = None) -> float:
    """Build what a run builds before its first step, and write nothing; returns the bytes that a GPU would need.

    Without `num_processes` the run is one of this process: its device is checked too, and the memory of a GPU.
    """
    micro_batch = config.micro_batch_of(num_processes or 1)
    accelerator = start_accelerator(config) if num_processes is None else None
    networks = build_networks(config, stage)
    stage.examples()
    if accelerator:
        check_gpu_memory(networks, stage, config, accelerator, micro_batch)
    need = _gpu_need(networks, stage, config, half_precision=config.speed.precision != "fp32")
    return need.num_bytes(micro_batch, checkpointing=config.speed.gradient_checkpointing)


def _gpu_need(networks: Networks, stage: TrainingStage, config: TrainConfig, *, half_precision: bool) -> Need:
    return Need(
        num_trained=count(networks.trained),
        num_frozen=count(networks.frozen),
        size_px=config.size_px,
        activation_bytes=stage.activation_bytes,
        half_precision=half_precision,
        averaged=config.average.enabled,
        eight_bit=config.optimizer.name == "adamw8bit",
    )


def _use_plain_attention(networks: Networks) -> None:
    """Write attention out as products.

    On a CPU torch's fused one takes 1.4 to 6 times as long in bfloat16 for up to 256 positions, where it cannot use the
    products' own instructions. In float32 it takes a third to nine tenths of the time.
    """
    from diffusers.models.attention_processor import AttnProcessor

    for network in (*networks.trained.modules(), *networks.frozen.modules()):
        change: Any = getattr(network, "set_attn_processor", None)
        if change is not None:
            change(AttnProcessor())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by place, `optimizer.decay`; what TensorBoard takes for no hyper-parameter, lists and nothing, as text."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
