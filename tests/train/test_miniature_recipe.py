"""`make miniature` from the first drawing to the packed networks, two steps a network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from h2d.infer.two_stage import TwoStagePipeline

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_recipe_runs_through_and_what_it_packs_can_be_sampled_with(tmp_path):
    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    h2d = tmp_path / "h2d"
    h2d.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m h2d "$@"\n')
    h2d.chmod(0o755)
    environment = {
        **os.environ, "H2D": str(h2d), "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "PICTURES": "48",
        "TRAIN": "--set steps=2", "OUT": "packed",
    }  # fmt: skip
    subprocess.run(["sh", "scripts/miniature.sh"], cwd=tmp_path, env=environment, check=True, timeout=900)
    pipeline = TwoStagePipeline.from_pretrained(tmp_path / "packed" / "two_stage")
    assert pipeline.hand_unet.config.in_channels == 15
    assert pipeline.config.eta == 1
    weights = [tensor for part in (pipeline.hand_unet, pipeline.controlnet) for tensor in part.state_dict().values()]
    assert all(torch.isfinite(tensor).all() for tensor in weights)
    assert {folder.name for folder in (tmp_path / "packed").iterdir()} == {
        "two_stage", "text_to_image", "controlnet", "keypoints"
    }  # fmt: skip
