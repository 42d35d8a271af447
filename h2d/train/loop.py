"""The training loop: one for every stage, on a CPU, a GPU or several.

Everything is checked before the first step. A step is a function of weights and batch (`stage.py`), so what is saved is
weights, their average, the optimizer's state and the number of the step.
"""

import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from h2d.config import as_plain, validate_config
from h2d.errors import JobError, UserError
from h2d.images import encode_png
from h2d.manifests.files import write_bytes, write_json
from h2d.manifests.store import Manifest
from h2d.registry import resolve
from h2d.train import STAGES
from h2d.train.cache import Cache
from h2d.train.checkpoints import load_optimizer, load_state, load_weights, newest, save_checkpoint
from h2d.train.config import UNTOUCHED, TrainConfig
from h2d.train.loading import Share, fixed_batch, on_device, step_batches
from h2d.train.memory import Need, check_memory, count
from h2d.train.optimizer import Average, build_optimizer, check_optimizer, rate_at
from h2d.train.parts import use_plain_attention
from h2d.train.report import write_report
from h2d.train.rows import Division, divide
from h2d.train.stage import Batch, Losses, Networks, TrainingStage

logger = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
TRACKERS = ("tensorboard", "trackio", "wandb")
LEVELS = (100, 300, 500, 700, 900)
"""Timesteps at which the validation loss is measured."""


@runtime_checkable
class Watch(Protocol):
    """Who follows a run."""

    def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None:
        """One step is done."""

    def should_stop(self) -> bool:
        """Whether to save and stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended."""

    out: Path
    step: int
    model: Path | None
    interrupted: bool
    did_nothing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run that passed every check that costs little."""

    stage: TrainingStage
    division: Division
    resume: Path | None
    first_step: int


class _Step(nn.Module):
    """What distributed training wraps: the trained networks, and the loss as their forward pass."""

    def __init__(self, stage: TrainingStage, networks: Networks) -> None:
        super().__init__()
        self.trained = networks.trained
        self._stage, self._networks = stage, [networks]

    def forward(self, batch: Batch) -> Losses:
        return self._stage.loss(self._networks[0], batch)


def plan(config: TrainConfig, *, fresh: bool = False) -> Plan:
    """Check names, columns, weights and the output folder; raises `UserError`. Loads no network, writes nothing."""
    stage_class = resolve(STAGES, config.stage, kind="stage")
    options = validate_config(stage_class.Options, config.options, where="options")
    stage: TrainingStage = stage_class(options, size_px=config.size_px)
    check_optimizer(config.optimizer)
    _check_trackers(config)
    stage.check()
    division = divide(
        [Manifest(root) for root in config.data.manifests],
        stage,
        seed=config.seed,
        held_out_share=config.data.held_out_share,
        window_groups=config.data.window_groups,
    )
    resume = None if fresh else newest(config.out)
    first_step = 0
    if resume:
        state = load_state(resume)
        first_step = state["step"]
        _check_same(config, state["config"], resume)
    return Plan(stage=stage, division=division, resume=resume, first_step=first_step)


def train(config: TrainConfig, watch: Watch, *, fresh: bool = False) -> Outcome:
    """Train, or go on with, a run; a finished one is left as it is."""
    planned = plan(config, fresh=fresh)
    if planned.resume and planned.first_step >= config.steps:
        return Outcome(
            out=config.out,
            step=planned.first_step,
            model=planned.resume / "model",
            interrupted=False,
            did_nothing=True,
        )
    run = _Run(config, planned, fresh=fresh)
    return run.go(watch)


class _Run:
    def __init__(self, config: TrainConfig, planned: Plan, *, fresh: bool) -> None:
        self._config, self._plan, self._stage = config, planned, planned.stage
        self._accelerator = _accelerator(config)
        processes = self._accelerator.num_processes
        micro = config.speed.micro_batch or max(1, config.global_batch // processes)
        if config.global_batch % (micro * processes):
            raise UserError(
                f"global_batch = {config.global_batch} is no multiple of {processes} processes x {micro} samples: "
                "change global_batch or speed.micro_batch"
            )
        self._share = Share(
            global_batch=config.global_batch,
            micro_batch=micro,
            rank=self._accelerator.process_index,
            num_processes=processes,
        )
        self._accelerator.gradient_accumulation_steps = self._share.accumulation
        if self._main and fresh and config.out.exists():
            shutil.rmtree(config.out)
        self._accelerator.wait_for_everyone()
        config.out.mkdir(parents=True, exist_ok=True)
        if self._main:
            write_json(config.out / "config.json", as_plain(config))
            _cut_log(config.out / LOG_FILE, planned.first_step)
        self._networks = self._build()
        self._average = Average(self._networks.trained, config.average)
        self._examples = self._stage.examples()
        optimizer = build_optimizer([*self._networks.trained.parameters()], config.optimizer)
        module = _Step(self._stage, self._networks)
        self._module, self._optimizer = self._accelerator.prepare(module, optimizer)
        if planned.resume:
            self._average.load({name: t.to(self._device) for name, t in self._loaded.items()})
            load_optimizer(planned.resume, self._optimizer.optimizer)

    @property
    def _main(self) -> bool:
        return bool(self._accelerator.is_main_process)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._accelerator.device
        return device

    def _build(self) -> Networks:
        speed = self._config.speed
        networks = self._stage.build(seed=self._config.seed)
        if self._plan.resume:
            self._loaded = load_weights(self._plan.resume, networks.trained)
        networks.frozen.requires_grad_(False).eval()
        self._check_memory(networks)
        dtype = torch.bfloat16 if self._accelerator.mixed_precision == "bf16" else torch.float32
        networks.trained.to(device=self._device)
        networks.frozen.to(device=self._device, dtype=dtype)
        if speed.channels_last:
            networks.trained.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            networks.frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._device.type == "cpu":
            use_plain_attention(networks)
        for network in networks.trained.values():
            enable = getattr(network, "enable_gradient_checkpointing", None)
            if speed.gradient_checkpointing and callable(enable):
                enable()
            if speed.compile:
                network.compile()
        return networks

    def _check_memory(self, networks: Networks) -> None:
        """On a GPU only: a CPU has swap, and tells."""
        if self._device.type != "cuda":
            return
        need = Need(
            num_trained=count(networks.trained),
            num_frozen=count(networks.frozen),
            size_px=self._config.size_px,
            activation_bytes=self._stage.activation_bytes,
            half_precision=self._accelerator.mixed_precision == "bf16",
            averaged=self._config.average.enabled,
            eight_bit=self._config.optimizer.name == "adamw8bit",
        )
        free, _ = torch.cuda.mem_get_info(self._device)
        checkpointing = self._config.speed.gradient_checkpointing
        check_memory(need, free, self._share.micro_batch, checkpointing=checkpointing)

    def go(self, watch: Watch) -> Outcome:
        config, output, step = self._config, self._config.output, self._plan.first_step
        batches = self._batches()
        self._networks.trained.train()
        interrupted = False
        model = None
        started, done = time.monotonic(), 0
        while step < config.steps and not interrupted:
            sums = self._step(step, batches)
            step, done = step + 1, done + 1
            record = self._record(step, sums)
            record["samples_per_s"] = done * config.global_batch / (time.monotonic() - started)
            interrupted = self._agreed(watch.should_stop())
            last = interrupted or step == config.steps
            if self._main:
                if output.validate_every and (step % output.validate_every == 0 or last):
                    record.update(self._validate())
                if output.preview_every and (step % output.preview_every == 0 or last):
                    self._preview(step)
                with (config.out / LOG_FILE).open("a") as log:
                    log.write(json.dumps(record) + "\n")
                self._accelerator.log({name: value for name, value in record.items() if name != "step"}, step=step)
                watch.step_done(step, config.steps, record)
                if last or (output.checkpoint_every and step % output.checkpoint_every == 0):
                    model = self._save(step) / "model"
            self._accelerator.wait_for_everyone()
        for tracker in self._accelerator.trackers:
            tracker.finish()
        if self._main:
            records = [json.loads(line) for line in (config.out / LOG_FILE).read_text().splitlines()]
            write_report(config.out, records, as_plain(config))
        return Outcome(out=config.out, step=step, model=model, interrupted=interrupted and step < config.steps)

    def _batches(self) -> Iterator[Batch]:
        config = self._config
        if config.speed.cache_latents:
            encode = getattr(self._stage, "encode", None)
            with self._accelerator.autocast():
                cache = Cache(
                    self._plan.division.training,
                    self._examples,
                    lambda batch: encode(self._networks, on_device(batch, self._device)) if encode else {},
                )
            return cache.batches(self._share.plan(self._plan.first_step, config.steps), seed=config.seed)
        return step_batches(
            self._plan.division.training,
            self._examples,
            self._share,
            seed=self._config.seed,
            first_step=self._plan.first_step,
            last_step=self._config.steps,
            workers=self._config.speed.loader_workers,
            pin=self._device.type == "cuda",
        )

    def _step(self, step: int, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """One step of the optimizer: the sums of the losses over its micro-batches."""
        torch.manual_seed(hash((self._config.seed, step)) % 2**31)
        sums: dict[str, Tensor] = {}
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(step, self._config.optimizer, num_steps=self._config.steps)
        for _ in range(self._share.accumulation):
            batch = on_device(next(batches), self._device)
            with self._accelerator.accumulate(self._module):
                with self._accelerator.autocast():
                    losses = self._module(batch)
                self._accelerator.backward(losses.total)
                if self._accelerator.sync_gradients:
                    length = self._accelerator.clip_grad_norm_(
                        self._module.parameters(), self._config.optimizer.max_gradient_norm
                    )
                    sums["gradient_norm"] = length * self._share.accumulation
                    _refuse_non_finite(step, losses, length, batch)
                self._optimizer.step()
                self._optimizer.zero_grad()
            for name, value in {"loss": losses.total.detach(), **losses.parts}.items():
                sums[name] = sums.get(name, torch.zeros((), device=self._device)) + value.detach().float()
        self._average.update(step + 1)
        return sums

    def _record(self, step: int, sums: dict[str, Tensor]) -> dict[str, Any]:
        stacked = torch.stack([value.float() for value in sums.values()]) / self._share.accumulation
        values = self._accelerator.reduce(stacked, "mean").tolist()
        return {"step": step, **dict(zip(sums, values, strict=True))}

    def _agreed(self, stop: bool) -> bool:
        """Whether any process was asked to stop."""
        if self._accelerator.num_processes == 1:
            return stop
        flag = torch.tensor(float(stop), device=self._device)
        return bool(self._accelerator.reduce(flag, "sum").item())

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The loss of held-out samples by noise level, with the averaged weights."""
        rows = self._plan.division.validation
        if rows is None:
            return {}
        count = min(len(rows), self._config.output.num_validated)
        sums = dict.fromkeys(LEVELS, 0.0)
        self._networks.trained.eval()
        with self._average.applied(), self._accelerator.autocast():
            for first in range(0, count, self._share.micro_batch):
                indices = range(first, min(count, first + self._share.micro_batch))
                batch = on_device(fixed_batch(rows, self._examples, indices, seed=self._config.seed), self._device)
                for level in LEVELS:
                    times = torch.full_like(batch["timesteps"], level)
                    leveled = Batch(tensors={**batch.tensors, "timesteps": times}, ids=batch.ids)
                    sums[level] += float(self._stage.loss(self._networks, leveled).per_sample.sum())
        self._networks.trained.train()
        by_level = {f"validation_{level}": value / count for level, value in sums.items()}
        return {"validation": sum(by_level.values()) / len(by_level), **by_level}

    @torch.no_grad()
    def _preview(self, step: int) -> None:
        rows = self._plan.division.validation or self._plan.division.training
        indices = range(min(len(rows), self._config.output.num_previews))
        batch = on_device(fixed_batch(rows, self._examples, indices, seed=self._config.seed), self._device)
        self._networks.trained.eval()
        with self._average.applied(), self._accelerator.autocast():
            picture = self._stage.preview(self._networks, batch)
        self._networks.trained.train()
        folder = self._config.out / "previews"
        folder.mkdir(exist_ok=True)
        write_bytes(folder / f"step-{step:07d}.png", encode_png(picture))

    def _save(self, step: int) -> Path:
        facts = {"config": as_plain(self._config)}

        def save_model(folder: Path) -> None:
            with self._average.applied():
                self._stage.save(self._networks, folder, {**facts, "step": step})

        return save_checkpoint(
            self._config.out,
            step,
            trained=self._networks.trained,
            average=self._average.tensors(),
            optimizer=self._optimizer.optimizer,
            facts=facts,
            save_model=save_model,
            keep=self._config.output.keep_checkpoints,
        )


def _accelerator(config: TrainConfig) -> Accelerator:
    cpu = config.device == "cpu" or not torch.cuda.is_available()
    if cpu and config.device == "cuda":
        raise UserError("device = cuda: no CUDA device is here: use --device cpu, or see `h2d doctor`")
    wanted = config.speed.precision
    if wanted == "auto":
        wanted = "bf16" if not cpu and torch.cuda.is_bf16_supported() else "fp32"
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="bf16" if wanted == "bf16" else "no",
        log_with=list(config.output.trackers) or None,
        project_dir=config.out / "logs",
    )
    if config.output.trackers:
        accelerator.init_trackers(f"h2d-{config.stage}")
    return accelerator


def _check_trackers(config: TrainConfig) -> None:
    for name in config.output.trackers:
        if name not in TRACKERS:
            raise UserError(f"output.trackers: unknown tracker {name!r}: choose from {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"output.trackers = {name} needs the package {name}: pip install {name}")


def _refuse_non_finite(step: int, losses: Losses, length: Tensor, batch: Batch) -> None:
    numbers = {"loss": float(losses.total.detach()), **{name: float(part) for name, part in losses.parts.items()}}
    wrong = [name for name, value in {**numbers, "gradient norm": float(length)}.items() if not math.isfinite(value)]
    if wrong:
        bad = [
            name for name, value in zip(batch.ids, losses.per_sample.tolist(), strict=True) if not math.isfinite(value)
        ]
        raise JobError(
            f"step {step + 1}: {', '.join(wrong)} not finite; samples: {', '.join(bad or batch.ids)}: "
            "the last checkpoint is whole; lower optimizer.learning_rate or look at these samples"
        )


def _check_same(config: TrainConfig, saved: dict[str, Any], path: Path) -> None:
    ours = as_plain(config)
    for name, value in ours.items():
        if name not in UNTOUCHED and json.loads(json.dumps(value)) != saved.get(name):
            raise UserError(
                f"{path}: was trained with {name} = {saved.get(name)!r}, now it is {value!r}: "
                "use the old value, another --out, or --fresh"
            )


def _cut_log(path: Path, step: int) -> None:
    """Forget what was logged after the checkpoint that the run goes on from."""
    if path.exists():
        lines = [
            line for line in path.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= step
        ]
        path.write_text("".join(f"{line}\n" for line in lines))
