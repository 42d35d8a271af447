"""Two training checkpoints with random weights, written as `h2d train` writes them."""

import json
from pathlib import Path

import torch

from h2d.models.base import load_scheduler, load_unet
from h2d.models.checkpoint import write_facts
from h2d.models.hand_generator import build_hand_generator
from h2d.models.outpainter import Outpainter, load_controlnet
from h2d.models.tiny import write_tiny

SIZE_PX = 128


def write_checkpoints(folder: Path, *, in_channels: int = 9, mask_bias: float = 1.0) -> tuple[Path, Path]:
    """The runs `hand` and `outpaint`, on bases beside them; with `mask_bias` 1 all is hand.

    With 4 channels both stages stand on one base.
    The ControlNet's last layers are drawn, since zeros would leave the skeleton without effect.
    """
    write_tiny(folder / "base-4")
    if in_channels != 4:
        write_tiny(folder / f"base-{in_channels}", in_channels=in_channels, seed=3)
    generator = build_hand_generator(load_unet(folder / "base-4"), random=torch.Generator().manual_seed(1))
    with torch.no_grad():
        generator.mask_head.layers[-1].bias.fill_(mask_bias)
    controlnet = load_controlnet(folder / "base-4" / "controlnet")
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in controlnet.named_parameters():
            if name.startswith(("controlnet_down_blocks", "controlnet_mid_block")):
                weight.copy_(0.1 * torch.randn(weight.shape, generator=random))
    hand = _write(folder / "hand", "hand", generator, folder / "base-4")
    outpaint = _write(folder / "outpaint", "outpaint", Outpainter(controlnet), folder / f"base-{in_channels}")
    return hand, outpaint


def _write(run: Path, stage: str, network, base: Path) -> Path:
    step = run / "checkpoints" / "step-0000001"
    model = step / "model"
    model.mkdir(parents=True)
    network.save_pretrained(model)
    load_scheduler(base).save_pretrained(model / "scheduler")
    config = {"size_px": SIZE_PX, "options": {"base": "tiny"}}
    write_facts(model, {"stage": stage, "base": str(base), "config": config, "step": 1})
    (step / "state.json").write_text(json.dumps({"step": 1}))
    (run / "config.json").write_text(json.dumps({"stage": stage}))  # as training leaves it
    return run
