"""One step of the optimizer, of any stage, on any device."""

from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from h2d.train.checkpoints import load_optimizer
from h2d.train.config import TrainConfig
from h2d.train.loading import Share, on_device
from h2d.train.optimizer import Average, build_optimizer, rate_at
from h2d.train.setting_up import place
from h2d.train.stage import Batch, Losses, Networks, TrainingStage
from h2d.train.step_log import Measured


class Stepper:
    """Takes steps: what it changes is the networks' weights, their average and the optimizer's state."""

    def __init__(
        self, stage: TrainingStage, networks: Networks, config: TrainConfig, accelerator: Accelerator, share: Share
    ) -> None:
        """Places the networks where they are trained, and wraps them for several processes."""
        self._config, self._accelerator, self._share = config, accelerator, share
        accelerator.gradient_accumulation_steps = share.accumulation
        place(networks, config, accelerator)
        self.average = Average(networks.trained, config.average)
        optimizer = build_optimizer([*networks.trained.parameters()], config.optimizer)
        self._module, self._optimizer = accelerator.prepare(_Loss(stage, networks), optimizer)
        self._parameters = [*self._module.parameters()]

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Torch's own, without what accelerate puts around it."""
        optimizer: torch.optim.Optimizer = self._optimizer.optimizer
        return optimizer

    def resume(self, checkpoint: Path, averages: dict[str, Tensor]) -> None:
        """Go on from a checkpoint, whose weights the networks have already."""
        self.average.load({name: tensor.to(self._accelerator.device) for name, tensor in averages.items()})
        load_optimizer(checkpoint, self.optimizer)

    def take(self, step: int, batches: Iterator[Batch]) -> Measured:
        """Step number `step`, counted from 0: the means of the losses over its micro-batches."""
        torch.manual_seed(hash((self._config.seed, step)) % 2**31)
        sums: dict[str, Tensor] = {}
        samples = []
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(step, self._config.optimizer, num_steps=self._config.steps)
        for _ in range(self._share.accumulation):
            batch = on_device(next(batches), self._accelerator.device)
            with self._accelerator.accumulate(self._module):
                with self._accelerator.autocast():
                    losses = self._module(batch)
                self._accelerator.backward(losses.total)
                if self._accelerator.sync_gradients:
                    length = self._accelerator.clip_grad_norm_(
                        self._parameters, self._config.optimizer.max_gradient_norm
                    )
                self._optimizer.step()
                self._optimizer.zero_grad()
            samples.append((batch.ids, losses.per_sample if losses.all_parts is None else losses.all_parts))
            for name, value in {"loss": losses.total.detach(), **losses.parts}.items():
                sums[name] = sums[name] + value if name in sums else value
        self.average.update(step + 1)
        means = {name: value / self._share.accumulation for name, value in sums.items()}
        return Measured(values={**means, "gradient_norm": length}, samples=samples)


class _Loss(nn.Module):
    """What distributed training wraps: the trained networks, and the loss as their forward pass."""

    def __init__(self, stage: TrainingStage, networks: Networks) -> None:
        super().__init__()
        self.trained = networks.trained
        self._stage, self._networks = stage, [networks]

    def forward(self, batch: Batch) -> Losses:
        return self._stage.loss(self._networks[0], batch)
