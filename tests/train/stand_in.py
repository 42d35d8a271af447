"""A real stage of a few weights, for tests of the loop; run as a script it trains, to be killed."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file
from torch import nn

from h2d.config import config, validate_config
from h2d.train import STAGES
from h2d.train.batches import as_floats, decode_square, draw_noise, planes, shift_colours, to_picture
from h2d.train.config import TrainConfig
from h2d.train.stage import Batch, Example, Losses, Networks, Preset, Row

STAGES["stand-in"] = "stand_in:StandIn"  # type: ignore[index]


@config
class StandInOptions:
    poison: str | None = None


class StandInExamples:
    def __init__(self, size_px: int) -> None:
        self._size_px = size_px

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        picture = planes(decode_square(row["image"], self._size_px))
        if training:
            picture = shift_colours(picture, random)
        small = torch.nn.functional.avg_pool2d(as_floats("image", torch.from_numpy(picture)), 8)
        return {"image": small, **draw_noise(random, latent_size=self._size_px // 8)}


class StandIn:
    Options: ClassVar = StandInOptions
    preset: ClassVar = Preset(manifest="nowhere", made_by="nothing", steps=30, size_px=64)
    table: ClassVar = "hands"
    columns: ClassVar = ("id", "image")
    light_columns: ClassVar = ("id",)
    activation_bytes: ClassVar = (1e6, 1e6)
    panels: ClassVar = ("picture",)

    def __init__(self, options: StandInOptions, *, size_px: int) -> None:
        self._options, self._size_px = options, size_px

    def usable(self, light: pa.Table) -> np.ndarray:
        return np.ones(len(light), bool)

    def check(self) -> None:
        pass

    def examples(self) -> StandInExamples:
        return StandInExamples(self._size_px)

    def build(self, *, seed: int) -> Networks:
        torch.manual_seed(seed)
        return Networks(trained=nn.ModuleDict({"net": nn.Conv2d(3, 4, 3, padding=1)}))

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        noisy = batch["image"] + batch["noise"][:, :3] * (batch["timesteps"] / 1000).view(-1, 1, 1, 1)
        per_sample = (networks.trained["net"](noisy) - batch["noise"]).square().mean((1, 2, 3))
        if self._options.poison in batch.ids:
            per_sample = per_sample * torch.tensor(
                [float("nan") if i == self._options.poison else 1 for i in batch.ids]
            )
        total = per_sample.mean()
        return Losses(
            total=total,
            parts={"noise": total.detach()},
            per_sample=per_sample.detach(),
            timesteps=batch["timesteps"],
        )

    def preview(self, networks: Networks, batch: Batch) -> np.ndarray:
        return to_picture(batch["image"][0])

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        save_file(networks.trained.state_dict(), folder / "net.safetensors")
        if str(facts["step"]) == os.environ.get("STAND_IN_HANGS_AT"):
            time.sleep(60)
        (folder / "facts.json").write_text(json.dumps(facts))


class Silent:
    def step_done(self, step: int, steps: int, record: dict[str, Any]) -> None:
        pass

    def should_stop(self) -> bool:
        return False


def stand_in_config(manifest: Path, out: Path, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "stage": "stand-in",
        "out": str(out),
        "data": {"manifests": [str(manifest)]},
        "steps": 30,
        "global_batch": 4,
        "size_px": 64,
        "device": "cpu",
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 5},
        "speed": {"loader_workers": 0},
        "output": {"checkpoint_every": 5, "validate_every": 10, "preview_every": 0},
    }
    return validate_config(TrainConfig, {**values, **changes}, where="test")


def losses(out: Path) -> dict[int, float]:
    """The loss by step that a run has logged."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {record["step"]: record["loss"] for record in records}


if __name__ == "__main__":
    from h2d.train.loop import train

    torch.set_num_threads(1)
    changes = json.loads(sys.argv[3])
    train(stand_in_config(Path(sys.argv[1]), Path(sys.argv[2]), **changes), Silent())
