"""The hand generator and the outpainter, made small: widening, saving, and what plain diffusers reads."""

import copy
import json

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from h2d.errors import UserError
from h2d.models.base import check_base, load_text_encoder, load_tokenizer, load_unet, load_vae
from h2d.models.checkpoint import read_facts, write_facts
from h2d.models.hand_generator import HandGenerator, build_hand_generator
from h2d.models.mask_head import MaskHead
from h2d.models.outpainter import Outpainter, canvas_of, load_controlnet
from h2d.models.tiny import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return folder


def inputs():
    random = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 8, 8, generator=random)
    condition = torch.rand(2, 11, 8, 8, generator=random)
    text = torch.randn(2, 77, 32, generator=random)
    return latents, torch.tensor([10, 900]), text, condition


def generator_of(tiny, **options) -> HandGenerator:
    random = torch.Generator().manual_seed(0)
    return build_hand_generator(load_unet(tiny), random=random, **options).eval()


@torch.no_grad()
def test_zero_widening_changes_no_bit(tiny):
    latents, timesteps, text, condition = inputs()
    noise, mask = generator_of(tiny, init="zero")(latents, timesteps, text, condition)
    base = load_unet(tiny)(latents, timesteps, encoder_hidden_states=text).sample
    assert torch.equal(noise, base)
    assert mask.shape == (2, 1, 64, 64)


@torch.no_grad()
@pytest.mark.parametrize("init", ["random", "normal:0.02"])
def test_drawn_widening_keeps_the_first_four_and_repeats(tiny, init):
    wide, again, base = generator_of(tiny, init=init), generator_of(tiny, init=init), load_unet(tiny)
    assert torch.equal(wide.unet.conv_in.weight[:, :4], base.conv_in.weight)
    assert torch.equal(wide.unet.conv_in.bias, base.conv_in.bias)
    assert wide.unet.conv_in.weight[:, 4:].std() > 0.01
    for name, weight in wide.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


def test_unknown_init_is_one_line(tiny):
    with pytest.raises(UserError, match="conv_in_init 'ones'"):
        generator_of(tiny, init="ones")


@pytest.mark.parametrize(("reading", "parameters"), [("literal_resize", 205_153), ("pool32", 205_153), ("x8", 205_057)])
def test_mask_head_readings(reading, parameters):
    head = MaskHead(reading=reading)
    assert sum(weight.numel() for weight in head.parameters()) == parameters
    assert head(torch.randn(1, 320, 64, 64)).shape == (1, 1, 512, 512)


@torch.no_grad()
def test_saved_generator_is_plain_diffusers(tiny, tmp_path):
    generator = generator_of(tiny, reading="x8")
    generator.save_pretrained(tmp_path)
    write_facts(tmp_path, {"stage": "hand", "manifest": "abc"})
    noise, mask = generator(*inputs())
    loaded = HandGenerator.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(*inputs())[0], noise)
    assert torch.equal(copy.deepcopy(loaded)(*inputs())[1], mask)
    assert UNet2DConditionModel.from_pretrained(tmp_path / "unet").config["in_channels"] == 15
    assert read_facts(tmp_path)["manifest"] == "abc"
    header = (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()[8:4000]
    assert b'"h2d"' in header or b"manifest" in header


@torch.no_grad()
@pytest.mark.parametrize("control_mask", [False, True])
@pytest.mark.parametrize("in_channels", [4, 9])
def test_outpainter_starts_as_its_base(tiny, tmp_path, control_mask, in_channels):
    write_tiny(tmp_path / "base", in_channels=in_channels)
    unet = load_unet(tmp_path / "base").eval()
    outpainter = Outpainter(load_controlnet(tiny / "controlnet", control_mask=control_mask))
    latents, timesteps, text, _ = inputs()
    picture = torch.rand(2, 3, 64, 64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 16:32, 16:32] = 1
    noise = outpainter(unet, latents, timesteps, text, picture, mask, latents)
    joined = latents
    if in_channels == 9:
        joined = torch.cat((latents, 1 - mask[..., ::8, ::8], latents), dim=1)
    torch.testing.assert_close(noise, unet(joined, timesteps, encoder_hidden_states=text).sample)
    outpainter.save_pretrained(tmp_path / "saved")
    saved = ControlNetModel.from_pretrained(tmp_path / "saved" / "controlnet")
    assert saved.config["conditioning_channels"] == 3 + control_mask


def test_canvas_keeps_hands_on_grey():
    picture, mask = torch.ones(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 2:4, 2:4] = 1
    canvas = canvas_of(picture, mask)
    assert canvas.sum() == 3 * 4


def test_tiny_repeats_and_reads_text(tiny, tmp_path):
    write_tiny(tmp_path / "again")
    for file in sorted(tiny.rglob("*.safetensors")):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tiny)).read_bytes(), file
    tokenizer = load_tokenizer(tiny)
    tokens = tokenizer("a hand", padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert tokens.shape == (1, 77)
    assert len(set(tokenizer("fist").input_ids) - set(tokenizer("").input_ids)) >= 4
    assert load_text_encoder(tiny)(tokens)[0].shape == (1, 77, 32)
    assert load_vae(tiny).encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean.shape == (1, 4, 8, 8)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin"])
def test_pickles_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"pickled weights can run code .*: h2d models convert"):
        check_base(tmp_path / name)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("part", ["unet", "controlnet"])
def test_what_is_published_in_half_precision_only_is_read_as_float(tiny, tmp_path, part, both):
    def load(base):
        return load_unet(base) if part == "unet" else load_controlnet(base / part)

    whole = load(tiny)
    copy.deepcopy(whole).half().save_pretrained(tmp_path / part, variant="fp16")
    if both:
        whole.save_pretrained(tmp_path / part)
    weights = load(tmp_path).state_dict()
    for name, weight in whole.state_dict().items():
        assert weights[name].dtype == torch.float32
        assert torch.equal(weights[name], weight if both else weight.half().float()), name


def test_incomplete_checkpoint_is_one_line(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="folder unet is missing"):
        load_unet(tmp_path)
