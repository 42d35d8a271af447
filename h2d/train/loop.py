"""The training loop: one for every stage, on a CPU, a GPU or several.

Everything is checked before the first step (`plan.py`). A step (`step.py`) is a function of weights and batch, so what
is saved is weights, their average, the optimizer's state and the number of the step.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from h2d.config import as_plain
from h2d.errors import UserError
from h2d.images import encode_png
from h2d.manifests.files import write_bytes, write_json
from h2d.manifests.folder_lock import LOCK_FILE, locked_folder
from h2d.train.cache import Cache, CachedStage
from h2d.train.checkpoints import load_weights, newest, remove_unfinished, save_checkpoint
from h2d.train.config import TrainConfig
from h2d.train.loading import on_device, step_batches
from h2d.train.looking import Looker
from h2d.train.plan import Plan, plan
from h2d.train.report import write_report
from h2d.train.run_log import CONFIG_FILE, cut_log, read_log
from h2d.train.setting_up import build_networks, check_gpu_memory, share_of, start_accelerator, start_trackers
from h2d.train.stage import Batch
from h2d.train.step import Stepper
from h2d.train.step_log import StepLog, Watch


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended."""

    out: Path
    step: int
    model: Path | None
    interrupted: bool
    did_nothing: bool = False


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
    run = _Run(config, planned)
    return run.go(watch, fresh=fresh)


class _Run:
    """A run that is ready for its first step; nothing is written or deleted before `go`."""

    def __init__(self, config: TrainConfig, planned: Plan) -> None:
        self._config, self._plan, self._stage = config, planned, planned.stage
        self._accelerator = start_accelerator(config)
        self._share = share_of(config, self._accelerator)
        self._networks = build_networks(config, self._stage)
        averages = load_weights(planned.resume, self._networks.trained) if planned.resume else {}
        check_gpu_memory(self._networks, self._stage, config, self._accelerator, self._share.micro_batch)
        self._examples = self._stage.examples()
        self._stepper = Stepper(self._stage, self._networks, config, self._accelerator, self._share)
        if planned.resume:
            self._stepper.resume(planned.resume, averages)
        self._looker = Looker(
            self._stage,
            self._networks,
            self._examples,
            self._stepper.average,
            self._accelerator,
            seed=config.seed,
        )
        self._batches = self._first_batches()

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._accelerator.device
        return device

    def _open_folder(self, *, fresh: bool) -> None:
        out = self._config.out
        if self._accelerator.is_main_process:
            if fresh:
                _empty(out)
            elif newest(out) != self._plan.resume:
                raise UserError(f"{out}: another h2d train went on here meanwhile: the same command goes on from there")
            write_json(out / CONFIG_FILE, as_plain(self._config))
            remove_unfinished(out)
            cut_log(out, self._plan.first_step)
        self._accelerator.wait_for_everyone()
        start_trackers(self._config, self._accelerator)

    def go(self, watch: Watch, *, fresh: bool) -> Outcome:
        is_main = self._accelerator.is_main_process
        with locked_folder(self._config.out, command="h2d train") if is_main else nullcontext():
            return self._go(watch, fresh=fresh)

    def _go(self, watch: Watch, *, fresh: bool) -> Outcome:
        config, step = self._config, self._plan.first_step
        model: Path | None = None
        self._open_folder(fresh=fresh)
        log = StepLog(config.out, self._accelerator, watch, steps=config.steps, global_batch=config.global_batch)
        self._networks.trained.train()
        while step < config.steps and not log.stopped:
            log.add(step + 1, self._stepper.take(step, self._batches))
            step += 1
            log.settle(self._look(step), all_steps=self._saves_after(step))
            if self._saves_after(step):
                model = self._save(step)
        log.settle({}, all_steps=True)
        if not self._saves_after(step):
            model = self._save(step)
        for tracker in self._accelerator.trackers:
            tracker.finish()
        if self._accelerator.is_main_process:
            write_report(config.out, read_log(config.out), as_plain(config), panels=self._stage.panels)
        return Outcome(out=config.out, step=step, model=model, interrupted=step < config.steps)

    def _saves_after(self, step: int) -> bool:
        return step == self._config.steps or self._is_time(step, self._config.output.checkpoint_every)

    def _is_time(self, step: int, every: int) -> bool:
        return bool(every) and (step % every == 0 or step == self._config.steps)

    def _first_batches(self) -> Iterator[Batch]:
        if self._config.speed.cache_latents:
            plan_of_run = self._share.plan(self._plan.first_step, self._config.steps)
            return self._cache().batches(plan_of_run, seed=self._config.seed)
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

    def _cache(self) -> Cache:
        stage = self._stage
        assert isinstance(stage, CachedStage), stage

        def encoded(batch: Batch) -> Mapping[str, Tensor]:
            known = stage.encode(self._networks, on_device(batch, self._device))
            return {name: values.cpu() for name, values in known.items()}

        with self._accelerator.autocast():
            return Cache(self._plan.division.training, self._examples, encoded)

    def _look(self, step: int) -> dict[str, float]:
        """Validate and preview where it is time; what is found belongs into the log."""
        output, division = self._config.output, self._plan.division
        found: dict[str, float] = {}
        if not self._accelerator.is_main_process:
            return found
        if self._is_time(step, output.validate_every) and division.validation:
            found = self._looker.loss_by_level(
                division.validation, num_rows=output.num_validated, batch_size=self._share.micro_batch
            )
        if self._is_time(step, output.preview_every):
            rows = division.validation or division.training
            picture = encode_png(self._looker.picture(rows, num_rows=output.num_previews))
            folder = self._config.out / "previews"
            folder.mkdir(exist_ok=True)
            write_bytes(folder / f"step-{step:07d}.png", picture)
        return found

    def _save(self, step: int) -> Path | None:
        """Write a checkpoint, and return its model; None where another process writes it."""
        path = None
        if self._accelerator.is_main_process:
            facts = {
                "config": as_plain(self._config),
                "manifests": self._plan.manifests,
                "num_processes": self._accelerator.num_processes,
            }

            def save_model(folder: Path) -> None:
                with self._stepper.average.applied():
                    self._stage.save(self._networks, folder, {**facts, "step": step})

            path = save_checkpoint(
                self._config.out,
                step,
                trained=self._networks.trained,
                average=self._stepper.average.tensors(),
                optimizer=self._stepper.optimizer,
                facts=facts,
                save_model=save_model,
                keep=self._config.output.keep_checkpoints,
            )
        self._accelerator.wait_for_everyone()
        return path / "model" if path else None


def _empty(folder: Path) -> None:
    """Delete what is in a folder but the lock that holds it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()
