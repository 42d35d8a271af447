"""How a run is doing on rows that it does not learn from: the loss by noise level, and a picture.

Axis legend: n noise levels.
"""

from typing import Final

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float, UInt8

from h2d.train.cache import CachedStage
from h2d.train.loading import fixed_batch, on_device
from h2d.train.optimizer import Average
from h2d.train.rows import Rows
from h2d.train.stage import Batch, Examples, Networks, StageOfCases, TrainingStage

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
        """`validation`, the mean, and `validation_<timestep>`; of each other case of the stage the mean alone."""
        count = min(len(rows), num_rows)
        sums: dict[str, Float[np.ndarray, "n"]] = {}
        self._networks.trained.eval()
        with self._average.applied(), self._accelerator.autocast():
            for first in range(0, count, batch_size):
                batch = self._encoded(self._batch(rows, range(first, min(count, first + batch_size))))
                others = self._stage.other_cases(batch) if isinstance(self._stage, StageOfCases) else {}
                for name, case in {"": batch, **others}.items():
                    sums[name] = sums.get(name, np.zeros(len(LEVELS))) + self._sums_by_level(case)
        self._networks.trained.train()
        by_level = sums.pop("") / count
        return {
            "validation": float(by_level.mean()),
            **{f"validation_{level}": float(loss) for level, loss in zip(LEVELS, by_level, strict=True)},
            **{f"validation_{name}": float(values.mean() / count) for name, values in sums.items()},
        }

    def _encoded(self, batch: Batch) -> Batch:
        """With its latents where the stage can do without pixels: encoded once for all levels and cases."""
        return (
            batch.changed(**self._stage.encode(self._networks, batch))
            if isinstance(self._stage, CachedStage)
            else batch
        )

    def _sums_by_level(self, batch: Batch) -> Float[np.ndarray, "n"]:
        """The samples' losses at each noise level, added up."""
        at_levels = (batch.changed(timesteps=torch.full_like(batch["timesteps"], level)) for level in LEVELS)
        return np.array([float(self._stage.loss(self._networks, batch).per_sample.sum()) for batch in at_levels])

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
