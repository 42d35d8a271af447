"""One .safetensors file in the first authors' layout: every weight arrives where it belongs."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from ldm_layout import ldm_state
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from h2d.errors import UserError
from h2d.models.base import check_parts, load_scheduler, load_text_encoder, load_tokenizer, load_unet, load_vae
from h2d.models.tiny import write_tiny

WIDTHS, TEXT = (32, 32, 64, 64), 64


def parts(widths=WIDTHS, text=TEXT, *, in_channels=4, num_words=514, layers=2) -> dict:
    torch.manual_seed(0)
    return {
        "unet": UNet2DConditionModel(
            in_channels=in_channels, sample_size=64, block_out_channels=widths, cross_attention_dim=text,
            attention_head_dim=8,
        ),
        "vae": AutoencoderKL(
            block_out_channels=tuple(width // 2 if width > 32 else width for width in widths), layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ),
        "text_encoder": CLIPTextModel(
            CLIPTextConfig(
                vocab_size=num_words, hidden_size=text, intermediate_size=4 * text, num_hidden_layers=layers,
                num_attention_heads=text // 64, max_position_embeddings=77, hidden_act="quick_gelu",
                bos_token_id=num_words - 2, eos_token_id=num_words - 1, pad_token_id=num_words - 1,
            )
        ).eval(),
    }  # fmt: skip


def write(folder, made, *, half=False, **changes):
    """The file as published ones are: positions counted in it, a tokenizer's folder beside it."""
    state = ldm_state(*(part.state_dict() for part in made.values()))
    state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state = {name: value.half() if half and value.is_floating_point() else value for name, value in state.items()}
    save_file({**state, **changes}, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_tiny(folder)
    return folder


@pytest.mark.parametrize("in_channels", [4, 9])
@torch.no_grad()
def test_every_weight_arrives(tmp_path, tiny, in_channels):
    made = parts(in_channels=in_channels)
    file = write(tmp_path, made)
    (tmp_path / "tokenizer").symlink_to(tiny / "tokenizer")
    check_parts(file)
    loaded = {"unet": load_unet(file), "vae": load_vae(file), "text_encoder": load_text_encoder(file)}
    for name, part in loaded.items():
        state = made[name].state_dict()
        assert part.state_dict().keys() == state.keys()
        for weight, value in part.state_dict().items():
            assert torch.equal(value, state[weight]), (name, weight)
    tokens = load_tokenizer(file)("a hand", padding="max_length", return_tensors="pt").input_ids
    assert torch.equal(loaded["text_encoder"](tokens)[0], made["text_encoder"](tokens)[0])
    noisy, text = torch.randn(1, in_channels, 16, 16), torch.randn(1, 77, TEXT)
    assert torch.equal(loaded["unet"](noisy, 7, text).sample, made["unet"].eval()(noisy, 7, text).sample)
    assert load_scheduler(file).config["beta_schedule"] == "scaled_linear"


def test_half_precision_becomes_float(tmp_path):
    made = parts()
    file = write(tmp_path, made, half=True)
    for part in (load_unet(file), load_vae(file), load_text_encoder(file)):
        assert {weight.dtype for weight in part.parameters()} == {torch.float32}


def test_without_the_tokenizer_the_remedy_is_said(tmp_path):
    file = write(tmp_path, parts())
    with pytest.raises(UserError, match=r"does not carry CLIP's words: put the folder tokenizer .* beside it, as "):
        check_parts(file)
    with pytest.raises(UserError, match="does not carry CLIP's words"):
        load_tokenizer(file)


def test_other_checkpoints_are_one_line(tmp_path):
    save_file({"lora_up.weight": torch.zeros(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(UserError, match=r"holds no U-Net .* nothing in it begins with model\.diffusion_model\."):
        check_parts(tmp_path / "lora.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "lora.safetensors").read_bytes()[:40])
    with pytest.raises(UserError, match="damaged"):
        load_unet(tmp_path / "cut.safetensors")
    file = write(tmp_path, parts(), **{"model.diffusion_model.out.2.bias": torch.zeros(7)})
    with pytest.raises(UserError, match=r"its U-Net is not one of Stable Diffusion 1\.x: .*conv_out") as error:
        load_unet(file)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_full_size(tmp_path):
    """1.07 billion weights, as published: 686 names of the U-Net, 248 of the autoencoder, 197 of the text encoder."""
    made = parts((320, 640, 1280, 1280), 768, num_words=49408, layers=12)
    made["vae"] = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    made = {name: part.half() for name, part in made.items()}
    file = write(tmp_path, made)
    counts = [len(part.state_dict()) for part in made.values()]
    assert counts == [686, 248, 196]
    for name, load in (("vae", load_vae), ("text_encoder", load_text_encoder), ("unet", load_unet)):
        loaded, state = load(file).state_dict(), made.pop(name).state_dict()
        assert all(torch.equal(value.half(), state[weight]) for weight, value in loaded.items())
    file.unlink()
