"""T1 to T5: our training step beside a plain eager loop after diffusers' own training scripts.

    python bench/train_step.py [--parts step data memory saving] [--size full] [--compile] [--channels-last]

Both sides train copies of the same networks with the same fused AdamW, clipping and moving average, and take turns in
one process; that both say the same loss is checked first. `--size tiny` takes the miniature, for a CPU; `full` the
networks of Stable Diffusion 1.5, for a GPU: bf16 autocast, 512 px, 32 samples. Weights are random.

T1, T2  a step of the hand generator and of the outpainter, latents known, every tensor on the device. The peer is given
        heatmaps and masks already drawn, ours draws them; ours also writes its log. On a GPU at full size both are set
        beside the limit: the products counted at the rate of a large one, the optimizer at that of a copy.
T3      a step on what loader processes make of a manifest, beside one on bytes that lie on the device. The autoencoder
        is in both. Each turn begins with steps that do not count, until nothing is left of what was loaded meanwhile.
T4      peak memory of a step. On a GPU as torch counts it, without what the other side holds; on a CPU (Linux) what a
        process of its own grows by, libraries left out.
T5      a checkpoint, and what it adds to a step when one is saved every `--save-every`. The peer writes its weights,
        averages and optimizer, as diffusers and torch do; ours writes the model for sampling beside them, and waits for
        the disk.

Prints one JSON line, then a table.
"""

import argparse
import gc
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from functools import partial
from importlib.metadata import version
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from loader import write_manifest
from peers.plain_training import DECAY, OPTIMIZER, Plain, bytes_held
from sample import Full, Tiny, wait
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from h2d.config import validate_config
from h2d.manifests.store import Manifest
from h2d.models.hand_generator import build_hand_generator
from h2d.models.outpainter import Outpainter
from h2d.models.reading import quiet_libraries
from h2d.train.checkpoints import save_checkpoint
from h2d.train.config import TrainConfig
from h2d.train.hand import HandOptions, HandStage
from h2d.train.loading import fixed_batch, on_device, step_batches
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.rows import divide
from h2d.train.setting_up import share_of, start_accelerator
from h2d.train.stage import Batch, Networks
from h2d.train.step import Stepper
from h2d.train.step_log import StepLog

PARTS = ("step", "data", "memory", "saving")
STAGES = ("hand", "outpaint")
UNITS = ("ms", "cpu_ms")
DEFAULTS = {"tiny": {"batch": 4, "steps": 2, "size_px": 128}, "full": {"batch": 32, "steps": 10, "size_px": 512}}
OPTIMIZER_BYTES = 28
"""A parameter's, read and written: weight, gradient, two averages."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


class Setting:
    """What is measured: sizes, rows, and the tensors of one batch. Made anew in every process."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        os.environ.setdefault("H2D_MODELS", str(folder / "models"))
        self.chosen, self.folder = chosen, folder
        self.device = torch.device(chosen.device)
        self.sizes = (Full if chosen.size == "full" else Tiny)(folder / f"networks-{os.getpid()}")
        if self.device.type == "cpu" and chosen.size == "tiny":
            torch.set_num_threads(1)

    def stage(self, name: str) -> Any:
        """The stage; its frozen parts' names stand for the miniature, whose tokenizer is used."""
        if name == "hand":
            return HandStage(HandOptions(base="tiny"), size_px=self.chosen.size_px)
        return OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny"), size_px=self.chosen.size_px)

    def networks(self, name: str) -> Networks:
        """Random weights, none of them zero: products of zeros take less time."""
        torch.manual_seed(0)
        with torch.device(self.device if self.chosen.size == "full" else "cpu"):
            parts = self.sizes.parts()
            frozen = {"vae": parts["vae"], "text_encoder": parts["text_encoder"]}
            if name == "hand":
                generator = torch.Generator(parts["base"].device).manual_seed(0)
                trained: nn.Module = build_hand_generator(parts["base"], random=generator)
            else:
                frozen["unet"] = parts["unet"]
                trained = Outpainter(parts["controlnet"])
        for weight in trained.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.02)
        scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
        return Networks(
            trained=nn.ModuleDict({"generator" if name == "hand" else "outpainter": trained}),
            frozen=nn.ModuleDict(frozen),
            scheduler=scheduler,
        )

    def config(self, name: str) -> TrainConfig:
        """Of our run."""
        values = {
            "stage": name,
            "out": str(self.folder / name),
            "data": {"manifests": [str(self.folder / "manifest")]},
            "steps": 10**6,
            "global_batch": self.chosen.batch,
            "size_px": self.chosen.size_px,
            "device": self.device.type,
            "optimizer": OPTIMIZER,
            "average": {"decay": DECAY},
            "speed": {"compile": self.chosen.compile, "channels_last": self.chosen.channels_last},
        }
        return validate_config(TrainConfig, values, where="bench")

    def rows(self, name: str) -> Any:
        """Of the manifest."""
        manifest = Manifest(self.folder / "manifest")
        return divide([manifest], self.stage(name), seed=0, held_out_share=0, window_groups=8).training

    def batch(self, name: str) -> Batch:
        """The examples of one batch as the loader makes them, on the device, still bytes."""
        made = fixed_batch(self.rows(name), self.stage(name).examples(), range(self.chosen.batch), seed=0)
        return Batch(tensors={key: value.to(self.device) for key, value in made.tensors.items()}, ids=made.ids)


class Ours:
    """The loop's own step on its own networks, and its log."""

    def __init__(self, setting: Setting, name: str, networks: Networks) -> None:
        self.config, self.stage, self.networks = setting.config(name), setting.stage(name), networks
        self.config.out.mkdir(parents=True, exist_ok=True)
        self.accelerator = start_accelerator(self.config)
        self.share = share_of(self.config, self.accelerator)
        self.stepper = Stepper(self.stage, networks, self.config, self.accelerator, self.share)
        self.log = StepLog(
            self.config.out, self.accelerator, Unwatched(), steps=10**6, global_batch=self.config.global_batch
        )
        self.number = 0
        networks.trained.train()

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation."""
        return torch.bfloat16 if self.accelerator.mixed_precision == "bf16" else torch.float32

    def encoded(self, batch: Batch) -> Batch:
        """Latents instead of pixels, as the cache gives them."""
        with torch.no_grad(), self.accelerator.autocast():
            known = self.stage.encode(self.networks, on_device(batch, self.accelerator.device))
        tensors = {name: value for name, value in batch.tensors.items() if name != "image"}
        return Batch(tensors={**tensors, **known}, ids=batch.ids)

    def step(self, batches: Iterator[Batch]) -> float:
        """One of the loop's; the seconds that it waited for its batch."""
        waited = 0.0

        def counted() -> Iterator[Batch]:
            nonlocal waited
            start = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - start
            yield batch

        self.log.add(self.number + 1, self.stepper.take(self.number, counted()))
        self.log.settle({}, all_steps=False)
        self.number += 1
        return waited

    def loss(self, batch: Batch) -> float:
        """Of one step more."""
        loss = float(self.stepper.take(self.number, repeat(batch)).values["loss"])
        self.number += 1
        return loss

    def held_bytes(self) -> int:
        """From one step to the next."""
        averages = self.stepper.average.tensors().values()
        return bytes_held((self.networks.trained, self.networks.frozen), self.stepper.optimizer, averages)

    def save(self) -> None:
        """As the loop does."""

        def save_model(folder: Path) -> None:
            with self.stepper.average.applied():
                self.stage.save(self.networks, folder, {"step": self.number})

        save_checkpoint(
            self.config.out,
            self.number,
            trained=self.networks.trained,
            average=self.stepper.average.tensors(),
            optimizer=self.stepper.optimizer,
            facts={},
            save_model=save_model,
            keep=1,
        )


class Unwatched:
    """Nobody follows."""

    def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None: ...

    def should_stop(self) -> bool:
        return False


class Both:
    """Our loop and the plain one, on copies of the same networks and on the same tensors."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.name, self.setting = name, setting
        networks = setting.networks(name)
        copied = deepcopy(networks)
        self.ours = Ours(setting, name, networks)
        self.batch = setting.batch(name)
        self.known = self.ours.encoded(self.batch)
        self.plain = Plain(name, copied, setting.device, self.ours.dtype)
        self.plain.show(self.ours.stage, self.known)
        self.trained = sum(weight.numel() for weight in networks.trained.parameters())
        start = time.perf_counter()
        losses = [(self.ours.loss(self.known), self.plain.step()) for _ in range(2)]
        wait()
        self.first_s = time.perf_counter() - start
        self.difference = max(abs(ours / plain - 1) for ours, plain in losses)
        assert self.difference < TOLERANCE[self.ours.dtype], (name, losses)

    def step(self) -> dict[str, Any]:
        """T1, T2."""
        times = taking_turns(
            {"ours": lambda: self.ours.step(repeat(self.known)), "peer": self.plain.step},
            rounds=self.setting.chosen.rounds,
            steps=self.setting.chosen.steps,
        )
        what = "T1 hand step" if self.name == "hand" else "T2 outpaint step"
        row = {
            **compared(what, times, over="peer_over_ours"),
            "loss_difference": self.difference,
            "first_steps_s": self.first_s,
        }
        if self.setting.device.type == "cuda" and self.setting.chosen.size == "full":
            row |= self._beside_the_limit(row["ours_ms"])
        return row

    def _beside_the_limit(self, ours_ms: float) -> dict[str, float]:
        product, copy = ceilings(self.setting.device)
        with FlopCounterMode(display=False) as counter:
            self.plain.step()
        limit = 1e3 * (counter.get_total_flops() / product + OPTIMIZER_BYTES * self.trained / copy)
        rates = {"product_tflop_s": product / 1e12, "copy_tb_s": copy / 1e12}
        return {"limit_ms": limit, "share_of_the_limit": limit / ours_ms, **rates}

    def data(self) -> dict[str, Any]:
        """T3."""
        chosen = self.setting.chosen
        uncounted = 2 * chosen.workers + 1
        batches = step_batches(
            self.setting.rows(self.name),
            self.ours.stage.examples(),
            self.ours.share,
            seed=0,
            first_step=0,
            last_step=(chosen.rounds + 1) * (chosen.steps + uncounted),
            workers=chosen.workers,
            pin=self.setting.device.type == "cuda",
        )
        waited: list[float] = []
        times = taking_turns(
            {
                "manifest": lambda: waited.append(self.ours.step(batches)),
                "tensors": lambda: self.ours.step(repeat(self.batch)),
            },
            rounds=chosen.rounds,
            steps=chosen.steps,
            uncounted=uncounted,
        )
        row = compared(f"T3 {self.name} step, of a manifest", times, over="manifest_over_tensors")
        return {**row, "waited_ms": 1e3 * statistics.median(waited), "workers": chosen.workers}

    def memory(self) -> dict[str, Any]:
        """T4."""
        if self.setting.device.type == "cuda":
            peaks = {
                "ours": _cuda_peak(lambda: self.ours.step(repeat(self.known)), self.ours.held_bytes()),
                "peer": _cuda_peak(self.plain.step, self.plain.held_bytes()),
            }
        else:
            torch.save(self.known.tensors, self.setting.folder / "known.pt")
            peaks = {side: _in_own_process(self.setting, self.name, side) for side in ("ours", "peer")}
        return {
            "what": f"T4 {self.name} step: peak memory",
            **{f"{side}_mb": peak / 2**20 for side, peak in peaks.items()},
            "ours_over_peer": peaks["ours"] / peaks["peer"],
        }

    def saving(self, step_ms: float) -> dict[str, Any]:
        """T5."""
        written = self.ours.config.out / "checkpoints"
        folder = self.setting.folder / "plain"
        folder.mkdir()
        times = taking_turns(
            {"ours": self.ours.save, "peer": lambda: self.plain.save(folder)},
            rounds=self.setting.chosen.saves,
            steps=1,
        )
        row = compared(f"T5 {self.name}: a checkpoint", times, over="ours_over_peer")
        every = self.setting.chosen.save_every
        sizes = {"ours": _bytes_below(written), "peer": _bytes_below(folder)}
        for done in (written, folder):
            shutil.rmtree(done)
        return {
            **row,
            **{f"{side}_written_mb": size / 2**20 for side, size in sizes.items()},
            f"step_with_one_every_{every}": 1 + row["ours_ms"] / (every * step_ms),
        }


def taking_turns(
    sides: Mapping[str, Callable[[], object]], *, rounds: int, steps: int, uncounted: int = 0
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds a step of every round of each side; one round before is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, step in sides.items():
            for _ in range(uncounted):
                step()
            wait()
            started, before = time.perf_counter(), time.process_time()
            for _ in range(steps):
                step()
            wait()
            if number:
                took = time.perf_counter() - started, time.process_time() - before
                times[name].append((took[0] / steps, took[1] / steps))
    return times


def compared(what: str, times: Mapping[str, list[tuple[float, float]]], *, over: str) -> dict[str, Any]:
    """Medians of both sides; the median of the rounds' ratios of one `over` the other, by the wall and by the CPU."""
    row: dict[str, Any] = {"what": what}
    for side, taken in times.items():
        row |= {f"{side}_{unit}": 1e3 * statistics.median(one[n] for one in taken) for n, unit in enumerate(UNITS)}
    above, below = over.split("_over_")
    walls, cpus = (
        sorted(first[unit] / second[unit] for first, second in zip(times[above], times[below], strict=True))
        for unit in range(len(UNITS))
    )
    spread = f"{walls[0]:.2f} to {walls[-1]:.2f}"
    return {**row, over: statistics.median(walls), "spread": spread, f"{over}_by_cpu": statistics.median(cpus)}


def ceilings(device: torch.device) -> tuple[float, float]:
    """What the device reaches: FLOP a second of a large bfloat16 product, bytes a second of a copy."""
    left, right = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(2**28, device=device)
    goal = torch.empty_like(source)
    product = _fastest(lambda: left @ right)
    copy = _fastest(lambda: goal.copy_(source))
    return 2 * 8192**3 / product, 2 * source.nbytes / copy


def grown(chosen: argparse.Namespace, folder: Path, name: str, side: str) -> int:
    """Bytes by which this process grows, at most, from before its networks are there to after two steps."""
    setting = Setting(chosen, folder)
    known = Batch(tensors=torch.load(folder / "known.pt"), ids=tuple(map(str, range(chosen.batch))))
    start_accelerator(setting.config(name))  # brings libraries with it
    before = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    networks = setting.networks(name)
    step: Callable[[], object]
    if side == "ours":
        ours = Ours(setting, name, networks)
        step = partial(ours.step, repeat(known))
    else:
        plain = Plain(name, networks, setting.device, torch.float32)
        plain.show(setting.stage(name), known)
        step = plain.step
    for _ in range(2):
        step()
    return _status_bytes("VmHWM") - before


def measure(setting: Setting, name: str) -> list[dict[str, Any]]:
    """The parts asked for, of one stage."""
    both, parts = Both(setting, name), setting.chosen.parts
    step = both.step()
    rows = [step]
    if "data" in parts:
        rows.append(both.data())
    if "memory" in parts:
        rows.append(both.memory())
    if "saving" in parts:
        rows.append(both.saving(step["ours_ms"]))
    return rows


def _in_own_process(setting: Setting, name: str, side: str) -> int:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(grown, setting.chosen, setting.folder, name, side).result()


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _cuda_peak(step: Callable[[], object], held: int) -> int:
    """Of one side, which holds so many bytes between steps; what else lies there is left out."""
    wait()
    others = torch.cuda.memory_allocated() - held
    torch.cuda.reset_peak_memory_stats()
    step()
    wait()
    return torch.cuda.max_memory_allocated() - others


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _fastest(call: Callable[[], object], *, times: int = 10) -> float:
    took = []
    for _ in range(times):
        wait()
        started = time.perf_counter()
        call()
        wait()
        took.append(time.perf_counter() - started)
    return min(took)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(DEFAULTS), default="tiny")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="a step is always measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a round; 2, or 10 at full size")
    parser.add_argument("--batch", type=int, help="4, or 32 at full size")
    parser.add_argument("--size-px", type=int, help="128, or 512 at full size")
    parser.add_argument("--rows", type=int, default=256, help="of the manifest of T3")
    parser.add_argument("--workers", type=int, default=min(4, max(1, (os.cpu_count() or 1) - 1)), help="loaders of T3")
    parser.add_argument("--saves", type=int, default=5, help="rounds of T5")
    parser.add_argument("--save-every", type=int, default=1000, help="steps from one checkpoint to the next")
    parser.add_argument("--compile", action="store_true", help="compile our networks, not the peer's")
    parser.add_argument("--channels-last", action="store_true", help="lay out our networks so, not the peer's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    chosen = parser.parse_args()
    for name, value in DEFAULTS[chosen.size].items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def main() -> None:
    """Measure and print."""
    chosen = _options()
    quiet_libraries()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(chosen, Path(folder))
        write_manifest(setting.folder / "manifest", chosen.rows)
        results = []
        for name in chosen.stages:
            results += measure(setting, name)
            gc.collect()  # the networks of one stage make room for those of the next
    about = {
        "device": torch.cuda.get_device_name() if chosen.device == "cuda" else f"cpu, {os.cpu_count()} cores",
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        **{package: version(package) for package in ("torch", "diffusers", "accelerate")},
        **{name: value for name, value in vars(chosen).items() if name != "device"},
    }
    print(json.dumps({**about, "results": results}))
    for row in results:
        figures = [f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()]
        print("  ".join([str(row["what"]).ljust(36), *figures[1:]]))


if __name__ == "__main__":
    main()
