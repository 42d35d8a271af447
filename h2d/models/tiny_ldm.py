"""Miniatures of what baselines read: a T2I-Adapter, and single files in latent-diffusion's names."""

from pathlib import Path
from typing import Any, Final

import torch

from h2d.models.ldm import CONTROL
from h2d.models.single_file import UNET
from h2d.models.tiny import CHANNELS, tiny_controlnet, tiny_unet

_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PLAIN: Final = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
    "controlnet_mid_block": "middle_block_out.0",
}


def write_tiny_adapter(folder: Path, *, seed: int = 0) -> None:
    """A T2I-Adapter for the U-Net of `write_tiny`, with random weights."""
    from diffusers import T2IAdapter

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        adapter = T2IAdapter(channels=list(CHANNELS), num_res_blocks=1)
    adapter.save_pretrained(folder, safe_serialization=True)


def write_tiny_humansd(file: Path, *, seed: int = 0, in_channels: int = 8) -> Any:
    """A U-Net under a checkpoint's names, as HumanSD's is once it is no pickle; gives the same in diffusers' class."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        unet = tiny_unet(in_channels)
    write_original(file, unet, UNET)
    return unet.eval()


def write_tiny_hand_control(file: Path, *, seed: int = 0) -> Any:
    """A ControlNet under HandRefiner's names, none of whose weights are zero; gives the same in diffusers' class."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        controlnet = tiny_controlnet()
        with torch.no_grad():
            for name, weight in controlnet.named_parameters():
                if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding")):
                    weight.normal_(0, 0.1)
    write_original(file, controlnet, CONTROL)
    return controlnet.eval()


def write_original(file: Path, network: Any, prefix: str) -> None:
    """Write a U-Net or ControlNet of diffusers' in latent-diffusion's names, which begin with `prefix`."""
    from safetensors.torch import save_file

    per_block = network.config.layers_per_block + 1
    state = {f"{prefix}{original_name(name, per_block)}": tensor for name, tensor in network.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)


def original_name(name: str, per_block: int) -> str:
    """The latent-diffusion name of a tensor of a U-Net or ControlNet; `per_block` modules to each of its levels."""
    stem, _, kind = name.rpartition(".")
    if stem in _PLAIN:
        return f"{_PLAIN[stem]}.{kind}"
    parts = name.split(".")
    match parts:
        case ["controlnet_down_blocks", number, *rest]:
            return ".".join(("zero_convs", number, "0", *rest))
        case ["controlnet_cond_embedding", "blocks", number, *rest]:
            return ".".join(("input_hint_block", str(2 * int(number) + 2), *rest))
        case ["down_blocks", level, "downsamplers", "0", "conv", kind]:
            return f"input_blocks.{(int(level) + 1) * per_block}.0.op.{kind}"
        case ["down_blocks", level, what, number, *rest]:
            return _inside(f"input_blocks.{1 + int(level) * per_block + int(number)}", what, rest)
        case ["mid_block", "resnets", number, *rest]:
            return _resnet(f"middle_block.{2 * int(number)}", rest)
        case ["mid_block", "attentions", _, *rest]:
            return ".".join(("middle_block.1", *rest))
        case ["up_blocks", level, "upsamplers", "0", *rest]:
            # The first level has no attention, so that its upsampling is one place earlier.
            place = f"output_blocks.{(int(level) + 1) * per_block - 1}.{1 if level == '0' else 2}"
            return ".".join((place, *rest))
        case ["up_blocks", level, what, number, *rest]:
            return _inside(f"output_blocks.{int(level) * per_block + int(number)}", what, rest)
    raise AssertionError(name)


def _inside(block: str, what: str, rest: list[str]) -> str:
    return _resnet(f"{block}.0", rest) if what == "resnets" else ".".join((f"{block}.1", *rest))


def _resnet(block: str, rest: list[str]) -> str:
    return ".".join((block, _RESNET[rest[0]], *rest[1:]))
