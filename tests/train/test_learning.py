"""That the networks learn, shown with miniatures of the same classes on drawn hands.

Sigma is set so that a finger covers about a cell of the small latents, as 9 does at 512 pixels; masks weigh more than
in the paper, because these runs are a hundred times shorter. All losses that are compared are the paper's.
"""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from drawn import drawn_manifest
from stand_in import Silent

from h2d.config import validate_config
from h2d.manifests.store import Manifest
from h2d.models.diffusion import add_noise
from h2d.models.hand_generator import HandGenerator
from h2d.models.outpainter import canvas_of
from h2d.train.batches import draw_noise
from h2d.train.config import TrainConfig
from h2d.train.latents import drawn_latents, posterior_of
from h2d.train.loading import fixed_batch, on_device
from h2d.train.loop import Outcome, train
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.plan import plan
from h2d.train.rows import divide
from h2d.train.stage import Batch, Networks, TrainingStage

SIZE = 64
HAND = {"base": "tiny", "mask_channels": (16, 8, 8), "mask_weight": 2.0, "sigma_px": 72.0}
LEVELS = (100, 300, 500, 700, 900)


@pytest.fixture(autouse=True)
def small_machine(tmp_path_factory, monkeypatch):
    """Networks this small gain nothing from a second thread, and lose much where others wait for cores."""
    monkeypatch.setenv("H2D_MODELS", str(tmp_path_factory.getbasetemp() / "tiny_models"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def few_hands(tmp_path_factory):
    return drawn_manifest(tmp_path_factory.mktemp("few"), count=12)


def eight(stage: TrainingStage, manifest) -> Batch:
    rows = divide([Manifest(manifest)], stage, seed=0, held_out_share=0.0, window_groups=1).training
    assert len(rows) >= 8
    return on_device(fixed_batch(rows, stage.examples(), range(8), seed=0), torch.device("cpu"))


def with_noise(batch: Batch, random: np.random.Generator, **changes: torch.Tensor) -> Batch:
    drawn = [draw_noise(random, latent_size=SIZE // 8) for _ in batch.ids]
    fresh = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    return Batch(tensors={**batch.tensors, **fresh, **changes}, ids=batch.ids)


def hand_config(manifest: Path, out: Path, *, steps: int, held_out_share: float, **changes: Any) -> TrainConfig:
    values = {
        "stage": "hand",
        "out": out,
        "data": {"manifests": [manifest], "held_out_share": held_out_share},
        "steps": steps,
        "global_batch": 8,
        "size_px": SIZE,
        "device": "cpu",
        "options": HAND,
        "speed": {"loader_workers": 0},
        "output": {"checkpoint_every": 0, "preview_every": 0, "validate_every": 0},
    }
    return validate_config(TrainConfig, {**values, **changes}, where="test")


def load_exported(networks: Networks, outcome: Outcome) -> None:
    """Put the weights that a run leaves for sampling into networks that are looked at."""
    networks.trained["generator"].load_state_dict(HandGenerator.from_pretrained(outcome.model).state_dict())
    networks.trained.eval()


def fit(stage: TrainingStage, networks: Networks, batch: Batch, *, steps: int, rate: float) -> None:
    """A plain loop: noise and timesteps are new at every step, the rate falls to zero."""
    networks.frozen.requires_grad_(False)
    optimizer = torch.optim.AdamW(networks.trained.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    random = np.random.default_rng(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        stage.loss(networks, with_noise(batch, random)).total.backward()
        torch.nn.utils.clip_grad_norm_(networks.trained.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def loss_of(stage: TrainingStage, networks: Networks, batch: Batch) -> float:
    """The paper's loss over sixteen draws of noise that no training saw."""
    random = np.random.default_rng(1)
    parts = [stage.loss(networks, with_noise(batch, random)).parts for _ in range(16)]
    return float(np.mean([float(one["noise"]) + 0.5 * float(one.get("mask", 0)) for one in parts]))


def overlap(masks: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """IoU of each sample, of masks cut at 0.5."""
    found, there = masks > 0.5, truth > 0.5
    return (found & there).sum((1, 2, 3)) / (found | there).sum((1, 2, 3))


@pytest.fixture(scope="module")
def eight_hands(few_hands, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eight") / "manifest"
    shutil.copytree(few_hands, folder)
    (part,) = (folder / "hands/train").glob("*.parquet")
    pq.write_table(pq.read_table(part).slice(0, 8), part)
    return folder


@pytest.mark.parametrize(
    ("steps", "fall", "iou", "error"), [(150, 8, 0.6, 1.0), pytest.param(500, 20, 0.8, 0.1, marks=pytest.mark.slow)]
)
def test_eight_hands_are_learnt_by_heart(eight_hands, tmp_path, steps, fall, iou, error):
    """By the loop, from poses alone; then made of new noise by what it exports, whose masks are those of sampling.

    `error` is the mean square inside the true masks, of the variance there.
    """
    config = hand_config(
        eight_hands, tmp_path, steps=steps, held_out_share=0.0,
        options={**HAND, "mask_drop": 1.0, "caption_dropout": 0.0, "augment": False},
        optimizer={
            "learning_rate": 6e-3, "warmup_steps": 20, "decay": "cosine", "betas": [0.9, 0.99], "weight_decay": 0.0,
        },
        average={"decay": 0.9},
        speed={"loader_workers": 0, "cache_latents": True},
    )  # fmt: skip
    planned = plan(config)
    stage, rows = planned.stage, planned.division.training
    assert len(rows) == 8
    networks = stage.build(seed=0)
    batch = on_device(fixed_batch(rows, stage.examples(), range(8), seed=0), torch.device("cpu"))
    before = loss_of(stage, networks, batch)
    load_exported(networks, train(config, Silent()))
    assert loss_of(stage, networks, batch) < before / fall
    with torch.no_grad():
        latents, masks = stage.sample(networks, with_noise(batch, np.random.default_rng(2)))
        truth = posterior_of(networks.frozen["vae"], batch["image"])[:, 0]
    assert overlap(masks, batch["mask"]).min() >= iou
    inside = (torch.nn.functional.avg_pool2d(batch["mask"], 8) >= 0.5).expand_as(truth)
    assert (latents - truth)[inside].square().mean() < error * truth[inside].var()


def test_the_outpainter_learns_outside_the_hands_and_nothing_inside(few_hands):
    stage = OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny", min_mask_px=10), size_px=SIZE)
    networks = stage.build(seed=0)
    batch = eight(stage, few_hands)
    frozen = {name: weight.clone() for name, weight in networks.frozen.state_dict().items()}
    before = loss_of(stage, networks, batch)
    fit(stage, networks, batch, steps=90, rate=1e-2)
    after = loss_of(stage, networks, batch)
    assert after < before / 2
    assert all(torch.equal(weight, frozen[name]) for name, weight in networks.frozen.state_dict().items())


def test_inside_the_hands_the_outpainter_sees_the_canvas_and_learns_nothing(few_hands):
    stage = OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny", min_mask_px=10), size_px=SIZE)
    networks = stage.build(seed=0)
    networks.frozen.requires_grad_(False)
    batch = eight(stage, few_hands)
    seen: dict[str, torch.Tensor] = {}

    def look(unet, inputs, output):
        seen["noisy"], seen["predicted"] = inputs[0][:, :4], output[0]
        output[0].retain_grad()

    networks.frozen["unet"].register_forward_hook(look)
    stage.loss(networks, batch).total.backward()
    inside = (batch["mask"][..., ::8, ::8] > 0.5).expand(-1, 4, -1, -1)
    assert inside.any()
    gradient = seen["predicted"].grad
    assert not gradient[inside].any()
    assert gradient[~inside].all()
    canvas, whole = (
        add_noise(
            networks.scheduler, drawn_latents(known, batch["posterior_noise"]), batch["noise"], batch["timesteps"]
        )
        for picture in (canvas_of(batch["image"], batch["mask"]), batch["image"])
        for known in [posterior_of(networks.frozen["vae"], picture)]
    )
    assert torch.equal(seen["noisy"][inside], canvas[inside])
    assert torch.equal(seen["noisy"][~inside], whole[~inside])
    assert not torch.equal(canvas, whole)


@pytest.fixture(scope="module")
def many_hands(tmp_path_factory):
    return drawn_manifest(tmp_path_factory.mktemp("many"), count=240)


@pytest.mark.slow
def test_a_short_run_reads_the_heatmaps_and_finds_the_hand(many_hands, tmp_path):
    """The whole way: drawn, prepared, trained by the loop; looked at on people who were held out."""
    config = hand_config(
        many_hands, tmp_path, steps=600, held_out_share=0.25, optimizer={"learning_rate": 2e-3, "warmup_steps": 20}
    )
    outcome = train(config, Silent())
    planned = plan(config)
    rows = planned.division.validation
    assert rows
    stage = planned.stage
    networks = stage.build(seed=0)
    load_exported(networks, outcome)
    batch = on_device(fixed_batch(rows, stage.examples(), range(len(rows)), seed=0), torch.device("cpu"))
    shuffled = batch["hands"].roll(1, 0)
    with torch.no_grad():
        true, other = (
            [
                stage.loss(networks, with_noise(batch, np.random.default_rng(level), hands=hands, timesteps=steps))
                for level in LEVELS
                for steps in [torch.full((len(batch),), level)]
            ]
            for hands in (batch["hands"], shuffled)
        )
        _, masks = stage.sample(networks, batch)
    better = torch.stack([b.per_sample - a.per_sample for a, b in zip(true, other, strict=True)])
    sums = [sum(float(one.parts["noise"] + 0.5 * one.parts["mask"]) for one in losses) for losses in (true, other)]
    truth = batch["mask"]
    mean = truth.mean(0, keepdim=True)
    constants = [overlap((mean > cut).float().expand_as(truth), truth).mean() for cut in np.linspace(0.05, 0.95, 19)]
    assert sums[0] < 0.85 * sums[1]
    assert (better > 0).float().mean() > 0.65
    assert overlap(masks, truth).mean() > max(constants) + 0.05
    assert (masks - truth).square().mean() < 0.85 * (mean - truth).square().mean()
