"""A plain training loop, which bench/train_step.py sets beside ours."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional

from h2d.train.loading import on_device
from h2d.train.stage import Batch, Networks

OPTIMIZER: Final = {"learning_rate": 1e-5, "weight_decay": 0.01, "max_gradient_norm": 1.0, "warmup_steps": 0}
DECAY: Final = 0.9999
"""Of the moving average, at most."""


class Plain:
    """The shortest straight loop on the same networks, as train_text_to_image.py and train_controlnet.py go."""

    def __init__(self, name: str, networks: Networks, device: torch.device, dtype: torch.dtype) -> None:
        self.name, self.device, self.dtype = name, device, dtype
        self.trained: Any = next(iter(networks.trained.values())).to(self.device).train()
        self.frozen: Any = networks.frozen.to(self.device, dtype).requires_grad_(False).eval()
        self.scheduler = networks.scheduler
        self.parameters = [*self.trained.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=OPTIMIZER["learning_rate"], weight_decay=OPTIMIZER["weight_decay"], fused=True
        )
        self.average = EMAModel(self.parameters, decay=DECAY, foreach=True)
        self.tensors: dict[str, Tensor] = {}

    def show(self, stage: Any, batch: Batch) -> None:
        """Keep what every step is given, drawn beforehand."""
        shown = on_device(batch, self.device)
        kept = functional.interpolate(shown["mask"], scale_factor=1 / 8, mode="nearest")
        self.tensors = {**shown.tensors, "kept": kept}
        if self.name == "hand":
            self.tensors["condition"] = stage.condition(shown)

    def step(self) -> float:
        """The loss; it is read at every step for the progress bar."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            loss = self._hand() if self.name == "hand" else self._outpaint()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, OPTIMIZER["max_gradient_norm"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.step(self.parameters)
        return loss.item()

    def held_bytes(self) -> int:
        """From one step to the next."""
        return bytes_held((self.trained, self.frozen), self.optimizer, self.average.shadow_params)

    def save(self, folder: Path) -> None:
        """Weights, averages, optimizer."""
        if self.name == "hand":
            self.trained.save_pretrained(folder / "weights")
        else:
            self.trained.controlnet.save_pretrained(folder / "weights")
        torch.save(self.average.state_dict(), folder / "average.pt")
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")

    def _latents(self, key: str) -> Tensor:
        mean, spread = self.tensors[key].unbind(1)
        return mean + spread * self.tensors["posterior_noise"]

    def _text(self) -> Tensor:
        with torch.no_grad():
            text: Tensor = self.frozen["text_encoder"](self.tensors["tokens"])[0]
        return text

    def _hand(self) -> Tensor:
        tensors = self.tensors
        noisy = self.scheduler.add_noise(self._latents("posterior"), tensors["noise"], tensors["timesteps"])
        noise, mask = self.trained(noisy, tensors["timesteps"], self._text(), tensors["condition"])
        wanted, area = tensors["noise"].float(), tensors["mask"].float()
        return functional.mse_loss(noise.float(), wanted) + 0.5 * functional.mse_loss(mask.float(), area)

    def _outpaint(self) -> Tensor:
        tensors, steps = self.tensors, self.tensors["timesteps"]
        latents, canvas, kept = self._latents("posterior"), self._latents("canvas_posterior"), tensors["kept"]
        noisy = self.scheduler.add_noise(kept * canvas + (1 - kept) * latents, tensors["noise"], steps)
        text = self._text()
        down, middle = self.trained.controlnet(
            noisy, steps, encoder_hidden_states=text, controlnet_cond=tensors["skeleton"], return_dict=False
        )
        noise = self.frozen["unet"](
            torch.cat((noisy, 1 - kept, canvas), dim=1),
            steps,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        error = (noise.float() - tensors["noise"]).square() * (1 - kept)
        each = error.sum(dim=(1, 2, 3)) / ((1 - kept).sum(dim=(1, 2, 3)) * noise.shape[1])
        return each.mean()


def bytes_held(modules: Iterable[nn.Module], optimizer: torch.optim.Optimizer, averages: Iterable[Tensor]) -> int:
    """Of weights, the optimizer's state and the moving average; there are no gradients between two steps."""
    weights = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.nbytes for tensor in (*weights, *states, *averages))
