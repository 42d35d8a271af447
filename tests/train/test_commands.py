"""`h2d train` as its own process: interrupted, launched twice by accelerate, and what it imports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from h2d.models.checkpoint import read_facts

SMALL = [
    "--set", "options.base=tiny", "--set", "options.mask_channels=[8, 8, 8]", "--set", "size_px=64",
    "--set", "global_batch=4", "--set", "speed.loader_workers=0", "--set", "output.preview_every=0",
    "--set", "output.validate_every=0", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def environment(tmp_path_factory) -> dict[str, str]:
    models = tmp_path_factory.getbasetemp() / "tiny_models"
    return {**os.environ, "H2D_MODELS": str(models), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def records(out: Path) -> list[dict[str, float]]:
    log = out / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")] if log.exists() else []


@pytest.mark.slow
def test_ctrl_c_saves_says_so_and_goes_on(small_manifest, tmp_path, environment):
    command = [sys.executable, "-m", "h2d", "train", "hand", "--manifest", str(small_manifest), "--out", str(tmp_path)]
    run = subprocess.Popen([*command, *SMALL, "--steps", "500"], env=environment, stdout=subprocess.PIPE, text=True)
    while len(records(tmp_path)) < 3:
        assert run.poll() is None, run.stdout.read()
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    told, _ = run.communicate(timeout=120)
    reached = len(records(tmp_path))
    assert run.returncode == 130
    assert f"Stopped at step {reached}" in told
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [f"step-{reached:07d}"]
    more = [*command, *SMALL, "--steps", str(reached + 2)]
    assert subprocess.run(more, env=environment, check=False, capture_output=True).returncode == 0
    assert [record["step"] for record in records(tmp_path)] == list(range(1, reached + 3))


@pytest.mark.slow
def test_accelerate_launches_two_processes_with_the_losses_of_one(small_manifest, tmp_path, environment):
    launchers = {
        "one": [sys.executable, "-m", "h2d"],
        "two": [
            sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines",
            "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "h2d",
        ],
    }  # fmt: skip
    for name, launcher in launchers.items():
        given = ["--manifest", str(small_manifest), "--out", str(tmp_path / name), "--steps", "4"]
        done = subprocess.run([*launcher, "train", "hand", *given, *SMALL], env=environment, check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    models = [tmp_path / name / "checkpoints/step-0000004/model" for name in launchers]
    assert [read_facts(model)["num_processes"] for model in models] == [1, 2]
    one, two = ([record["loss"] for record in records(tmp_path / name)] for name in launchers)
    assert len(two) == 4
    assert two == pytest.approx(one, rel=1e-5)


def test_models_train_and_infer_need_neither_ray_nor_mediapipe(environment):
    """Every module but the one that places work on Ray."""
    code = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "mediapipe"):
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Refuse())
for package in ("h2d.models", "h2d.train", "h2d.infer"):
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if found.name != "h2d.train.on_ray":
            importlib.import_module(found.name)
import h2d.train.on_ray  # imports it when it is called
assert not {"ray", "mediapipe"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
