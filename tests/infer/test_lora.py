"""LoRA files in three spellings change the weights as their product says, in both stages."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_two_stage import FEW, pixels

from h2d.errors import UserError
from h2d.infer.lora import fuse_lora, parse_lora

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"


@pytest.fixture
def own(loaded):
    """A pipeline of this test alone."""
    pipe = copy.deepcopy(loaded)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def factors(network, name, rank=2):
    weight = network.get_submodule(name).weight
    random = torch.Generator().manual_seed(len(name))
    down = torch.randn(rank, *weight.shape[1:], generator=random)
    up = torch.randn(weight.shape[0], rank, *[1] * (weight.dim() - 2), generator=random)
    return down, up, (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)


def spelled(kind, name, down, up):
    if kind == "kohya":
        key = "lora_unet_" + name.replace(".", "_")
        return {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
    if kind == "peft":
        return {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    if kind == "diffusers":
        return {f"unet.{name}.lora.down.weight": down, f"unet.{name}.lora.up.weight": up}
    block, layer = name.removesuffix(".0").rsplit(".", 1)
    return {
        f"unet.{block}.processor.{layer}_lora.down.weight": down,
        f"unet.{block}.processor.{layer}_lora.up.weight": up,
    }


@pytest.mark.parametrize("kind", ["kohya", "peft", "diffusers", "processor"])
def test_weights_change_by_the_product_in_both_stages(own, tmp_path, kind):
    names = [LAYER, OUT] + ([CONV] if kind != "processor" else [])
    before = {
        (part, name): getattr(own, part).get_submodule(name).weight.clone()
        for part in ("unet", "hand_unet")
        for name in names
    }
    state, changes = {}, {}
    for name in names:
        down, up, changes[name] = factors(own.unet, name)
        state |= spelled(kind, name, down, up)
    save_file(state, tmp_path / "style.safetensors")
    assert fuse_lora(own, tmp_path / "style.safetensors", scale=0.5) == len(names)
    strength = 0.5 * (1 / 2 if kind == "kohya" else 1)
    for (part, name), weight in before.items():
        now = getattr(own, part).get_submodule(name).weight
        torch.testing.assert_close(now, weight + strength * changes[name])


def test_the_text_encoder_and_the_picture_change(own, pose, tmp_path):
    name = "encoder.layers.0.self_attn.q_proj"
    down, up, change = factors(own.text_encoder, name)
    key = "lora_te_text_model_" + name.replace(".", "_")
    save_file({f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}, tmp_path / "te.safetensors")
    before = own.text_encoder.get_submodule(name).weight.clone()
    plain = pixels(own("x", pose, seed=1, options=FEW))
    fuse_lora(own, tmp_path / "te.safetensors")
    torch.testing.assert_close(own.text_encoder.get_submodule(name).weight, before + change)
    assert not np.array_equal(pixels(own("x", pose, seed=1, options=FEW)), plain)


def test_the_pipeline_takes_a_lora_as_diffusers_names_it(own, tmp_path):
    down, up, change = factors(own.unet, LAYER)
    save_file(spelled("peft", LAYER, down, up), tmp_path / "style.safetensors")
    before = own.unet.get_submodule(LAYER).weight.clone()
    own.load_lora_weights(tmp_path / "style.safetensors", scale=0.5)
    torch.testing.assert_close(own.unet.get_submodule(LAYER).weight, before + 0.5 * change)
    own.load_lora_weights(str(tmp_path), weight_name="style.safetensors", scale=-0.5)
    torch.testing.assert_close(own.unet.get_submodule(LAYER).weight, before)


def test_what_does_not_fit_is_one_line(own, tmp_path):
    def refused(state, message):
        file = tmp_path / "bad.safetensors"
        save_file(state, file)
        with pytest.raises(UserError, match=message):
            fuse_lora(own, file)

    down, up, _ = factors(own.unet, LAYER)
    refused(spelled("peft", "mid_block.none", down, up), "no such layer")
    refused(spelled("peft", CONV, down, up), "another size")
    refused({f"unet.{LAYER}.lora_A.weight": down}, "half of its two matrices is missing")
    refused({"transformer.x.lora_A.weight": down, "transformer.x.lora_B.weight": up}, "no layer of a U-Net")
    refused({"weights": down}, "not a name of a LoRA's weights")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(UserError, match="damaged"):
        fuse_lora(own, tmp_path / "bad.safetensors")
    (tmp_path / "bad.pt").touch()
    with pytest.raises(UserError, match="pickled weights"):
        fuse_lora(own, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="no such file"):
        fuse_lora(own, tmp_path / "none.safetensors")


def test_file_and_scale():
    assert parse_lora("a/b.safetensors:0.8") == (parse_lora("a/b.safetensors")[0], 0.8)
    assert parse_lora("a.safetensors")[1] == 1.0
    assert parse_lora("c:/a.safetensors")[1] == 1.0
