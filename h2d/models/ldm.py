"""Networks in the names of the original latent-diffusion code, as HumanSD and HandRefiner are published.

What a file does not say of itself, the base says that it was made from: the number of heads, where attention is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from h2d.errors import UserError
from h2d.models.base import check_base
from h2d.models.reading import opened_weights
from h2d.models.single_file import UNET

CONTROL: Final = "control_model."

_SHARED: Final = (
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "attention_head_dim",
    "use_linear_projection",
    "norm_num_groups",
)
"""What a ControlNet has of its U-Net's configuration."""


def load_ldm_unet(file: Path, like: Mapping[str, Any]) -> Any:
    """The U-Net in float32, of the file's own number of input channels; `like` is the configuration of its base.

    Raises `UserError` on a pickle and on a file of another kind or shape.
    """
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    state = _state(file)
    first = f"{UNET}input_blocks.0.0.weight"
    if first not in state:
        raise UserError(f"{file}: holds no U-Net in latent-diffusion's names: {first} is missing")
    unet = UNet2DConditionModel.from_config({**like, "in_channels": state[first].shape[1]})
    _fill(unet, convert_ldm_unet_checkpoint(state, dict(unet.config)), file)
    return unet.float().eval()


def load_ldm_controlnet(file: Path, like: Mapping[str, Any]) -> Any:
    """A ControlNet in float32; `like` is the configuration of the U-Net that it steers. Raises `UserError`."""
    from diffusers import ControlNetModel
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    state = _state(file)
    prefix = "" if "input_hint_block.0.weight" in state else CONTROL
    hints = [state.get(f"{prefix}input_hint_block.{place}.weight") for place in (0, 4, 8, 12)]
    if any(hint is None for hint in hints):
        raise UserError(f"{file}: holds no ControlNet in latent-diffusion's names: input_hint_block is missing")
    controlnet = ControlNetModel(
        in_channels=state[f"{prefix}input_blocks.0.0.weight"].shape[1],
        conditioning_embedding_out_channels=tuple(hint.shape[0] for hint in hints if hint is not None),
        **{name: like[name] for name in _SHARED},
    )
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    converted = convert_controlnet_checkpoint(own, dict(controlnet.config))
    for end, place in (("conv_in", 0), ("conv_out", 14)):
        for kind in ("weight", "bias"):
            converted[f"controlnet_cond_embedding.{end}.{kind}"] = own[f"input_hint_block.{place}.{kind}"]
    _fill(controlnet, converted, file)
    return controlnet.float().eval()


def _state(file: Path) -> dict[str, Tensor]:
    check_base(file)
    with opened_weights(file) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping


def _fill(network: Any, state: Mapping[str, Tensor], file: Path) -> None:
    """Put every tensor into its place; the first that is missing, superfluous or of another shape is an error."""
    wanted = network.state_dict()
    for name in sorted({*wanted, *state}):
        if name not in state or state[name] is None:
            raise UserError(f"{file}: {name} is missing: it is not a whole checkpoint of this base")
        if name not in wanted:
            raise UserError(f"{file}: {name} is not a part of this base: name the base that it was made from")
        if state[name].shape != wanted[name].shape:
            found, needed = tuple(state[name].shape), tuple(wanted[name].shape)
            raise UserError(f"{file}: {name} is of shape {found}, its base has {needed}: name the base of this file")
    with torch.no_grad():
        network.load_state_dict(state)
