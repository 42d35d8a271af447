"""One step of both stages at the sizes of Stable Diffusion 1.5, random weights, on a CPU.

From a base's files to a checkpoint that the sampler has loaded, as `h2d train` goes at full size. The hand's takes four
minutes and 19.5 GiB of memory, the outpainter's two and 13.3.
"""

import gc
import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors import safe_open
from stand_in import Silent
from transformers import CLIPTextConfig, CLIPTextModel

from h2d.config import validate_config
from h2d.infer.loading import load_checkpoints
from h2d.machine import free_memory
from h2d.models.tiny import write_tiny
from h2d.train.config import TrainConfig
from h2d.train.loop import train

sys.path.insert(0, str(Path(__file__).parents[1] / "infer"))
from tiny_models import write_checkpoints

NEEDED = 20 * 2**30
DISK = 30 * 2**30
TEXT, HEADS = 768, 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(free_memory() < NEEDED, reason=f"{free_memory() / 2**30:.0f} GiB of memory free, 20 needed"),
]


@pytest.fixture(autouse=True)
def _room(tmp_path):
    """A checkpoint is 20 GB, and pytest would keep three."""
    if shutil.disk_usage(tmp_path).free < DISK:
        pytest.skip("30 GiB of disk needed")
    yield
    gc.collect()
    shutil.rmtree(tmp_path)


def write_base(folder: Path, *, in_channels: int) -> Path:
    """As published: a folder in diffusers' format, half precision alone. The tokenizer is the miniature's."""
    write_tiny(folder, in_channels=in_channels)
    torch.manual_seed(0)
    width = {"cross_attention_dim": TEXT, "attention_head_dim": HEADS}
    four = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    text = CLIPTextConfig(
        vocab_size=49_408, hidden_size=TEXT, intermediate_size=4 * TEXT, num_hidden_layers=12, num_attention_heads=12,
        bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip
    makers = {
        "unet": lambda: UNet2DConditionModel(in_channels=in_channels, sample_size=64, **width),
        "vae": lambda: AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **four),
        "text_encoder": lambda: CLIPTextModel(text),
        "controlnet": lambda: ControlNetModel(**width),
    }
    if in_channels == 4:
        del makers["controlnet"]
    for name, make in makers.items():
        shutil.rmtree(folder / name)
        part = make()
        with torch.no_grad():
            for weight in part.parameters():  # a ControlNet's last layers are zero: nothing behind them would learn
                if not weight.any():
                    weight.normal_(std=0.02)
        part.half().save_pretrained(folder / name, variant="fp16")
    return folder


def take_one_step(stage: str, base: Path, manifest: Path, out: Path, **options) -> Path:
    values = {
        "stage": stage,
        "out": str(out),
        "data": {"manifests": [str(manifest)]},
        "steps": 1,
        "global_batch": 1,
        "device": "cpu",
        "options": {"base": str(base), **options},
        "optimizer": {"warmup_steps": 1},
        "speed": {"loader_workers": 0, "gradient_checkpointing": True},
        "output": {"validate_every": 0, "preview_every": 0},
    }
    outcome = train(validate_config(TrainConfig, values, where="test"), Silent())
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [1]
    assert all(math.isfinite(log[0][name]) and log[0][name] > 0 for name in ("loss", "noise", "gradient_norm"))
    assert outcome.model == out / "checkpoints/step-0000001/model"
    return outcome.model


def unchanged(before: Path, after: Path) -> tuple[list[str], dict[str, list[int]]]:
    """The weights of a network that are as they were, and the shapes of those of another shape."""
    (was,), (now,) = before.glob("*.safetensors"), after.glob("*.safetensors")
    same, others = [], {}
    with safe_open(was, framework="pt") as old, safe_open(now, framework="pt") as new:
        assert set(old.keys()) == set(new.keys())
        for name in old.keys():  # noqa: SIM118  # it is no mapping
            first, second = old.get_tensor(name).float(), new.get_tensor(name)
            assert second.dtype == torch.float32
            if first.shape != second.shape:
                others[name] = [*second.shape]
            elif torch.equal(first, second):
                same.append(name)
    return same, others


def test_hand(small_manifest, tmp_path):
    base = write_base(tmp_path / "base", in_channels=4)
    model = take_one_step("hand", base, small_manifest, tmp_path / "hand")
    assert unchanged(base / "unet", model / "unet") == ([], {"conv_in.weight": [320, 15, 3, 3]})
    gc.collect()
    _, body = write_checkpoints(tmp_path / "tiny")
    pipe = load_checkpoints(outpaint=body, hand=tmp_path / "hand")
    assert pipe.hand_unet.config["in_channels"] == 15
    assert sum(weight.numel() for weight in pipe.hand_unet.parameters()) == 859_552_644
    assert pipe.mask_head.config["in_channels"] == 320


def test_outpaint(small_manifest, tmp_path):
    base = write_base(tmp_path / "base", in_channels=9)
    options = {"controlnet": str(base / "controlnet"), "min_mask_px": 1}
    model = take_one_step("outpaint", base, small_manifest, tmp_path / "outpaint", **options)
    assert unchanged(base / "controlnet", model / "controlnet") == ([], {})
    gc.collect()
    pipe = load_checkpoints(outpaint=tmp_path / "outpaint")
    assert pipe.unet.config["in_channels"] == 9
    assert sum(weight.numel() for weight in pipe.controlnet.parameters()) == 361_279_120
