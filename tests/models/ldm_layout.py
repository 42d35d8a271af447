"""The names that Stable Diffusion's first authors gave its weights, for tests: diffusers' names turned into them.

Written from the structure of their networks (`input_blocks`, `middle_block`, `output_blocks`; `down`, `mid`, `up`).
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

_NUM_RESNETS = 2
_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_OUTER = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_state(
    unet: Mapping[str, Tensor], vae: Mapping[str, Tensor], text: Mapping[str, Tensor], *, num_levels: int = 4
) -> dict[str, Tensor]:
    """One state out of three, as published single files hold it."""
    state = {f"model.diffusion_model.{_unet_name(name, num_levels)}": value for name, value in unet.items()}
    for name, value in vae.items():
        new = _vae_name(name, num_levels)
        convolved = ".attn_1." in new and not new.split(".attn_1.")[1].startswith("norm") and new.endswith("weight")
        state[f"first_stage_model.{new}"] = value[..., None, None] if convolved else value
    for name, value in text.items():
        state[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    return {name: value.contiguous() for name, value in state.items()}


def _unet_name(name: str, num_levels: int) -> str:
    for old, new in _OUTER.items():
        if name.startswith(f"{old}."):
            return name.replace(old, new, 1)
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, number, rest = found.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{_inner(kind, rest)}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert found, name
    way, level, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * (_NUM_RESNETS + 1)}.0.{rest.replace('conv', 'op', 1)}"
    if kind == "upsamplers":
        # The first level upwards has no attention, so that its upsampling is one place earlier.
        return f"output_blocks.{(level + 1) * (_NUM_RESNETS + 1) - 1}.{1 if level == 0 else 2}.{rest}"
    place = level * (_NUM_RESNETS + 1) + number + (way == "down")
    return f"{'in' if way == 'down' else 'out'}put_blocks.{place}.{int(kind == 'attentions')}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    return _renamed(rest, _RESNET) if kind == "resnets" else rest


def _vae_name(name: str, num_levels: int) -> str:
    rules: list[tuple[str, str | Callable[[re.Match], str]]] = [
        (r"^(encoder|decoder)\.conv_norm_out", r"\1.norm_out"),
        (r"\.mid_block\.resnets\.(\d)", lambda found: f".mid.block_{int(found[1]) + 1}"),
        (r"\.mid_block\.attentions\.0\.(.*)", lambda found: f".mid.attn_1.{_renamed(found[1], _ATTENTION)}"),
        (r"\.down_blocks\.(\d)\.resnets\.(\d)", r".down.\1.block.\2"),
        (r"\.down_blocks\.(\d)\.downsamplers\.0", r".down.\1.downsample"),
        (r"\.up_blocks\.(\d)\.resnets\.(\d)", lambda f: f".up.{num_levels - 1 - int(f[1])}.block.{f[2]}"),
        (r"\.up_blocks\.(\d)\.upsamplers\.0", lambda found: f".up.{num_levels - 1 - int(found[1])}.upsample"),
        (r"conv_shortcut", "nin_shortcut"),
    ]
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        if name.startswith(f"{old}."):
            return name.replace(old, new, 1)
    return name
