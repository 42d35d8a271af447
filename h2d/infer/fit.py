"""Whether networks that come from several places go together, seen by their configurations."""

from typing import Any

from h2d.errors import UserError
from h2d.models.conditioning import NUM_CONDITIONS


def check_fit(pipe: Any) -> None:
    """Raise `UserError` where a network of a two-stage pipeline cannot work with the others of its stage."""
    _check_stage("", pipe.unet, pipe.controlnet, pipe.text_encoder, channels=(4, 9))
    if pipe.hand_unet is not None:
        channels = 4 if pipe.mask_head is None else 4 + NUM_CONDITIONS
        encoder = pipe.hand_text_encoder or pipe.text_encoder
        _check_stage("hand_", pipe.hand_unet, pipe.hand_controlnet, encoder, channels=(channels,))


def _check_stage(stage: str, unet: Any, controlnet: Any, encoder: Any, *, channels: tuple[int, ...]) -> None:
    found, width = unet.config.in_channels, encoder.config.hidden_size
    if found not in channels:
        raise UserError(
            f"{stage}unet: takes {found} channels, not {' or '.join(map(str, channels))}: name another base"
        )
    for name, network in (("unet", unet), ("controlnet", controlnet)):
        if network is not None and network.config.cross_attention_dim != width:
            raise UserError(
                f"{stage}{name}: reads words {network.config.cross_attention_dim} values wide, the text encoder gives"
                f" {width}: name the base that it was trained on"
            )
    if controlnet is not None and list(controlnet.config.block_out_channels) != list(unet.config.block_out_channels):
        raise UserError(
            f"{stage}controlnet: of widths {list(controlnet.config.block_out_channels)}, the U-Net of"
            f" {list(unet.config.block_out_channels)}: name the base that it was trained on"
        )
