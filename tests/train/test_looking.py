"""What a run tells of rows that it does not learn from."""

import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stand_in import Silent, stand_in_config

from h2d.config import as_plain
from h2d.models.checkpoint import read_facts
from h2d.train.checkpoints import newest
from h2d.train.hand import HandStage
from h2d.train.loading import fixed_batch, on_device
from h2d.train.loop import train
from h2d.train.plan import plan
from h2d.train.run_log import read_log

LEVELS = (100, 300, 500, 700, 900)
NUM_ROWS = 5


def test_validation_is_the_loss_of_the_averaged_weights_at_each_level(small_manifest, tmp_path):
    output = {"checkpoint_every": 6, "validate_every": 6, "preview_every": 0, "num_validated": NUM_ROWS}
    config = stand_in_config(small_manifest, tmp_path, steps=6, output=output)
    train(config, Silent())
    logged = read_log(tmp_path)[-1]
    stage, rows = plan(config).stage, plan(config).division.validation
    batch = on_device(fixed_batch(rows, stage.examples(), range(NUM_ROWS), seed=0), torch.device("cpu"))
    networks = stage.build(seed=0)

    def by_level(kind: str) -> list[float]:
        networks.trained.load_state_dict(load_file(newest(tmp_path) / f"{kind}.safetensors"))
        times = [torch.full((NUM_ROWS,), level) for level in LEVELS]
        return [float(stage.loss(networks, batch.changed(timesteps=one)).per_sample.mean()) for one in times]

    told = [logged[f"validation_{level}"] for level in LEVELS]
    assert told == pytest.approx(by_level("average"), rel=1e-6)
    assert told != pytest.approx(by_level("weights"), rel=1e-3)
    assert logged["validation"] == pytest.approx(sum(told) / len(told))
    assert len({round(loss, 4) for loss in told}) == len(LEVELS)


def test_hands_are_looked_at_without_their_mask_as_sampling_is_and_with_it_beside(
    small_manifest, tmp_path, monkeypatch
):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path / "models"))
    shown: list[bool] = []
    condition = HandStage.condition

    def seen(stage, batch):
        given = condition(stage, batch)
        shown.append(bool(given[:, 10].any()))
        return given

    monkeypatch.setattr(HandStage, "condition", seen)
    output = {"validate_every": 1, "preview_every": 1, "num_validated": 3, "num_previews": 1}
    options = {"base": "tiny", "mask_channels": [8, 8, 8]}
    config = stand_in_config(
        small_manifest, tmp_path / "run", stage="hand", steps=1, global_batch=3, options=options, output=output
    )
    model = train(config, Silent()).model
    _, *looked = shown
    assert looked[:10] == [False] * 5 + [True] * 5
    assert looked[10:], "the preview"
    assert not any(looked[10:])
    logged = read_log(tmp_path / "run")[-1]
    assert [name for name in logged if name.startswith("validation")] == [
        "validation", *(f"validation_{level}" for level in LEVELS), "validation_mask_shown",
    ]  # fmt: skip
    assert logged["validation"] != logged["validation_mask_shown"]
    facts = read_facts(model)
    assert facts["config"] == as_plain(config)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert facts["git_revision"] == (head.stdout.strip() or None)
