"""How a run is doing on rows that it does not learn from: the loss by noise level, and a picture."""

from typing import Final

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import UInt8

from h2d.train.loading import fixed_batch, on_device
from h2d.train.optimizer import Average
from h2d.train.rows import Rows
from h2d.train.stage import Batch, Examples, Networks, TrainingStage

LEVELS: Final = (100, 300, 500, 700, 900)
"""Timesteps at which the validation loss is measured."""


class Looker:
    """Looks with the averaged weights, in evaluation mode, at the same rows with the same noise each time."""

    def __init__(
        self,
        stage: TrainingStage,
        networks: Networks,
        examples: Examples,
        average: Average,
        accelerator: Accelerator,
        *,
        seed: int,
    ) -> None:
        self._stage, self._networks, self._examples, self._average = stage, networks, examples, average
        self._accelerator, self._seed = accelerator, seed

    @torch.no_grad()
    def loss_by_level(self, rows: Rows, *, num_rows: int, batch_size: int) -> dict[str, float]:
        """`validation`, the mean, and `validation_<timestep>`."""
        count = min(len(rows), num_rows)
        sums = dict.fromkeys(LEVELS, 0.0)
        self._networks.trained.eval()
        with self._average.applied(), self._accelerator.autocast():
            for first in range(0, count, batch_size):
                batch = self._batch(rows, range(first, min(count, first + batch_size)))
                for level in LEVELS:
                    times = torch.full_like(batch["timesteps"], level)
                    leveled = Batch(tensors={**batch.tensors, "timesteps": times}, ids=batch.ids)
                    sums[level] += float(self._stage.loss(self._networks, leveled).per_sample.sum())
        self._networks.trained.train()
        by_level = {f"validation_{level}": value / count for level, value in sums.items()}
        return {"validation": sum(by_level.values()) / len(by_level), **by_level}

    @torch.no_grad()
    def picture(self, rows: Rows, *, num_rows: int) -> UInt8[np.ndarray, "h w 3"]:
        """The stage's preview of the first rows."""
        batch = self._batch(rows, range(min(len(rows), num_rows)))
        self._networks.trained.eval()
        with self._average.applied(), self._accelerator.autocast():
            picture = self._stage.preview(self._networks, batch)
        self._networks.trained.train()
        return picture

    def _batch(self, rows: Rows, indices: range) -> Batch:
        return on_device(fixed_batch(rows, self._examples, indices, seed=self._seed), self._accelerator.device)
