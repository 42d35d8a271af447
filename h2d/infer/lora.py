"""LoRA files laid into the weights of a pipeline: the same pictures as with the file beside them, and no slower.

Read are the names of kohya's scripts and of diffusers and peft. What a file says of either U-Net or text encoder goes
into both stages'; a layer that a network lacks, or has in another shape, is an error.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from h2d.errors import UserError
from h2d.models.reading import opened_weights

_NETWORKS: Final = {
    "lora_unet_": ("unet", "hand_unet"),
    "unet_": ("unet", "hand_unet"),
    "lora_te_": ("text_encoder", "hand_text_encoder"),
    "text_encoder_": ("text_encoder", "hand_text_encoder"),
}
"""The beginnings of names, dots made underscores, and the components that they are of."""

_PART: Final = re.compile(
    r"(?P<layer>.+?)(?:_lora)?_(?:(?P<down>lora_down|lora_A|down)|(?P<up>lora_up|lora_B|up))(?:_default)?_weight$"
    r"|(?P<alpha_of>.+)_alpha$"
)


@dataclass(kw_only=True, slots=True)
class _Pair:
    """The two factors of one layer's change."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None


def fuse_lora(pipe: Any, file: Path, *, scale: float = 1.0) -> int:
    """Add `scale` times a LoRA to the weights of both stages; gives how many layers were changed.

    Raises `UserError` when the file is none, is pickled, or fits no network here.
    """
    pairs = _pairs(_state(file), file)
    changed = 0
    for name, pair in pairs.items():
        prefix = next((prefix for prefix in _NETWORKS if name.startswith(prefix)), None)
        if prefix is None:
            raise UserError(
                f"{file}: {name}: no layer of a U-Net or text encoder: is it a LoRA of Stable Diffusion 1.5?"
            )
        if pair.down is None or pair.up is None:
            raise UserError(f"{file}: {name}: half of its two matrices is missing: get the file again")
        found = [
            layer
            for network in _NETWORKS[prefix]
            if (layer := _layer(getattr(pipe, network, None), name.removeprefix(prefix))) is not None
        ]
        if not found:
            raise UserError(f"{file}: {name}: these networks have no such layer: is it a LoRA of another model?")
        for layer in found:
            _add(layer, pair, scale, f"{file}: {name}")
        changed += 1
    return changed


def parse_lora(text: str) -> tuple[Path, float]:
    """`style.safetensors` or `style.safetensors:0.8` as file and scale; raises `UserError`."""
    file, colon, scale = text.rpartition(":")
    if not colon or not re.fullmatch(r"-?\d+(\.\d+)?", scale):
        return Path(text), 1.0
    return Path(file), float(scale)


def _state(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"{file}: no such file: give a LoRA as .safetensors")
    with opened_weights(file) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping


def _pairs(state: dict[str, Tensor], file: Path) -> dict[str, _Pair]:
    pairs: dict[str, _Pair] = {}
    for key, tensor in state.items():
        match = _PART.match(key.replace(".", "_"))
        if match is None:
            raise UserError(f"{file}: {key}: not a name of a LoRA's weights")
        layer = (match["layer"] or match["alpha_of"]).replace("_processor_", "_")
        pair = pairs.setdefault(layer, _Pair())
        if match["down"]:
            pair.down = tensor
        elif match["up"]:
            pair.up = tensor
        else:
            pair.alpha = float(tensor)
    if not pairs:
        raise UserError(f"{file}: holds nothing: give a LoRA")
    return pairs


def _layer(network: Any, name: str) -> Any:
    """The layer of a name whose dots were made underscores; None where the network has none."""
    if network is None:
        return None
    layers = {path.replace(".", "_"): module for path, module in network.named_modules() if hasattr(module, "weight")}
    # transformers has dropped the encoder's outer name; diffusers' old names leave out the number of the last layer.
    for spelling in (name, name.removeprefix("text_model_"), f"{name}_0"):
        if spelling in layers:
            return layers[spelling]
    return None


@torch.no_grad()
def _add(layer: Any, pair: _Pair, scale: float, where: str) -> None:
    assert pair.down is not None
    assert pair.up is not None
    down, up = pair.down.float(), pair.up.float()
    rank = down.shape[0]
    change = up.flatten(1) @ down.flatten(1)
    if change.numel() != layer.weight.numel():
        raise UserError(f"{where}: of another size than here: is it a LoRA of another model?")
    strength = scale * (pair.alpha if pair.alpha is not None else rank) / rank
    layer.weight += (strength * change).reshape(layer.weight.shape).to(layer.weight)
