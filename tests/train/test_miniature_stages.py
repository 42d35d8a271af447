"""The stages that a miniature is trained by, the cache they learn from, and a rate that falls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_studio import STUDIO
from stand_in import Silent

from h2d.config import validate_config
from h2d.errors import UserError
from h2d.infer.loading import load_checkpoints
from h2d.models.base import load_text_encoder, load_tokenizer, load_unet, load_vae
from h2d.models.checkpoint import read_facts
from h2d.models.miniature import NUM_TOKENS, MiniatureSizes, write_base
from h2d.pose.examples import read_example
from h2d.synth.generate import generate
from h2d.train.base import BaseOptions, BaseStage
from h2d.train.config import OptimizerConfig, TrainConfig
from h2d.train.loop import train
from h2d.train.optimizer import rate_at
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.vae import LATENT_NOISE

SIZES = MiniatureSizes(
    unet_channels=(16, 32), vae_channels=(8, 8, 8, 8), text_width=16, text_layers=1, text_heads=2, picture_px=64
)
CAPTIONS = ["A person with tan skin, in a navy blue top, is making a fist.", "Two hands, palms together."]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_base(folder, CAPTIONS, SIZES)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "set"
    generate("manifest", root, count=10, seed=2, size_px=96, workers=1, studio=STUDIO)
    return root


def config(stage, base, drawn, out, **changes) -> TrainConfig:
    settings = {
        "stage": stage,
        "out": out,
        "data": {"manifests": [drawn]},
        "steps": 2,
        "global_batch": 2,
        "size_px": 64,
        "device": "cpu",
        "options": {"base": str(base)},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1},
        "speed": {"loader_workers": 0},
        "output": {"checkpoint_every": 0, "preview_every": 2, "validate_every": 2, "num_previews": 1},
    }
    return validate_config(TrainConfig, {**settings, **changes}, where="config")


def log_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_every_word_of_the_captions_is_one_token_and_others_are_spelt(base):
    tokenizer = load_tokenizer(base)
    assert tokenizer.model_max_length == NUM_TOKENS
    for caption in CAPTIONS:
        words = caption.lower().replace(",", " ,").replace(".", " .").split()
        assert tokenizer.convert_ids_to_tokens(tokenizer(caption).input_ids)[1:-1] == [f"{word}</w>" for word in words]
    assert len(tokenizer("zq").input_ids) == 4
    assert tokenizer.unk_token_id not in tokenizer("zq").input_ids[:-1]


@pytest.mark.filterwarnings("ignore")
def test_a_base_goes_from_stage_to_stage_and_plain_diffusers_reads_it(base, drawn, tmp_path):
    from diffusers import ControlNetModel, StableDiffusionPipeline

    vae = train(config("vae", base, drawn, tmp_path / "vae"), Silent()).model
    cached = {"speed": {"loader_workers": 0, "cache_latents": True}}
    words = train(config("base", vae, drawn, tmp_path / "base", **cached), Silent()).model
    options = {"base": str(words), "in_channels": 9}
    inpaint = train(config("base", words, drawn, tmp_path / "inpaint", options=options, **cached), Silent()).model
    assert load_unet(inpaint).config["in_channels"] == 9
    assert read_facts(inpaint)["stage"] == "base"
    changed = [not torch.equal(*(one.state_dict()["conv_in.weight"] for one in (load_unet(base), load_unet(words))))]
    assert all(changed)
    pipe = StableDiffusionPipeline.from_pretrained(words)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe("a person", num_inference_steps=2, height=64, width=64, output_type="np").images[0]
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()
    person = {"base": str(tmp_path / "inpaint"), "controlnet": f"copy:{words}", "hint_channels": [8, 8, 8, 8]}
    options = {**person, "min_mask_px": 1}
    outpaint = train(config("outpaint", words, drawn, tmp_path / "outpaint", options=options, **cached), Silent()).model
    assert ControlNetModel.from_pretrained(outpaint / "controlnet").config["in_channels"] == 4
    single = {**options, "base": str(words), "in_channels": 4, "keep": "nothing", "control_mask": True}
    assert train(config("outpaint", words, drawn, tmp_path / "single", options=single, **cached), Silent()).model
    hand = {"base": str(words), "mask_channels": [8, 8, 8], "augment": False}
    assert train(config("hand", words, drawn, tmp_path / "hand", options=hand, **cached), Silent()).model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cached", [False, True])
def test_an_autoencoder_of_three_blocks_has_cells_of_four_pixels(drawn, tmp_path, cached):
    fine = tmp_path / "fine"
    write_base(fine, CAPTIONS, replace(SIZES, vae_channels=(8, 8, 8)))
    speed = {"speed": {"loader_workers": 0, "cache_latents": cached}}
    hand = {"base": str(fine), "mask_channels": [8, 8], "augment": False, "mask_reading": "x8"}
    person = {"base": str(fine), "in_channels": 4, "controlnet": f"copy:{fine}", "hint_channels": [8, 8, 8]}
    person["min_mask_px"] = 1
    for stage, options in (("vae", {"base": str(fine)}), ("hand", hand), ("outpaint", person)):
        own = {} if stage == "vae" else speed
        train(config(stage, fine, drawn, tmp_path / stage, options=options, **own), Silent())
    pipe = load_checkpoints(hand=tmp_path / "hand", outpaint=tmp_path / "outpaint")
    pipe.set_progress_bar_config(disable=True)
    assert (pipe.cell_px, pipe.size_multiple) == (4, 8)
    made = pipe("a person", read_example("peace"), seed=1, num_inference_steps=3, guidance_scale=1.0)
    assert made.images[0].size == (64, 64)
    assert made.step_masks.shape[-2:] == (16, 16)
    assert made.cell_px == 4
    assert made.hands[0][0].raw_mask.shape == (64, 64)
    assert made.hands[0][0].latents.shape == (4, 16, 16)


@pytest.mark.filterwarnings("ignore")
def test_hands_and_bodies_may_have_cells_of_different_widths(base, drawn, tmp_path):
    fine = tmp_path / "fine"
    write_base(fine, CAPTIONS, replace(SIZES, vae_channels=(8, 8, 8)))
    hand = {"base": str(fine), "mask_channels": [8, 8], "augment": False, "mask_reading": "x8"}
    person = {"base": str(base), "in_channels": 4, "controlnet": f"copy:{base}", "hint_channels": [8, 8, 8, 8]}
    person["min_mask_px"] = 1
    for stage, options in (("hand", hand), ("outpaint", person)):
        train(config(stage, fine, drawn, tmp_path / stage, options=options), Silent())
    pipe = load_checkpoints(hand=tmp_path / "hand", outpaint=tmp_path / "outpaint")
    pipe.set_progress_bar_config(disable=True)
    made = pipe("a person", read_example("peace"), seed=1, num_inference_steps=3, guidance_scale=1.0)
    assert made.step_masks.shape[-2:] == (8, 8)
    assert made.hands[0][0].picture.shape == (64, 64, 3)


def test_a_skeleton_that_would_not_shrink_to_the_latent_is_refused(base):
    new = OutpaintOptions(base=str(base), in_channels=4, controlnet=f"copy:{base}", hint_channels=(8, 8, 8))
    with pytest.raises(UserError, match=r"halve the skeleton 2 times, but a cell .* is 8 pixels wide: give 4 widths"):
        OutpaintStage(new, size_px=64).check()
    OutpaintStage(replace(new, hint_channels=(8, 8, 8, 8)), size_px=64).check()


@pytest.mark.filterwarnings("ignore")
def test_samples_of_the_posterior_are_as_noisy_as_the_decoder_was_told(base, drawn, tmp_path):
    """Untouched, the half that no loss sees would make the latents noise with a picture behind it."""
    trained = load_vae(train(config("vae", base, drawn, tmp_path / "vae"), Silent()).model)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for vae, std in ((load_vae(base), 1.0), (trained, LATENT_NOISE)):
        with torch.no_grad():
            posterior = vae.encode(pictures).latent_dist
        assert posterior.std.mean().item() == pytest.approx(std, rel=0.4 if std == 1 else 1e-4)


def test_what_a_base_uses_in_half_precision_is_kept_as_it_was_read(base, tmp_path):
    stage = BaseStage(BaseOptions(base=str(base), in_channels=9), size_px=64)
    networks = stage.build(seed=0)
    networks.frozen.to(torch.bfloat16)
    stage.save(networks, tmp_path / "model", {})
    for load in (load_vae, load_text_encoder):
        then, now = load(base).state_dict(), load(tmp_path / "model").state_dict()
        assert all(torch.equal(then[name], now[name]) for name in then)


@pytest.mark.filterwarnings("ignore")
def test_a_run_of_the_stage_gives_its_controlnet(base, drawn, tmp_path):
    from diffusers import ControlNetModel

    options = {"base": str(base), "in_channels": 4, "min_mask_px": 1, "hint_channels": [8, 8, 8, 8]}
    first = {**options, "controlnet": f"copy:{base}", "keep": "nothing"}
    then = train(config("outpaint", base, drawn, tmp_path / "single", options=first), Silent()).model
    second = {**options, "controlnet": str(tmp_path / "single")}
    settings = config(
        "outpaint", base, drawn, tmp_path / "outpaint", options=second, optimizer={"learning_rate": 1e-12}
    )
    now = train(settings, Silent()).model
    old, new = (ControlNetModel.from_pretrained(model / "controlnet").state_dict() for model in (then, now))
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)
    assert old["controlnet_mid_block.weight"].any()


@pytest.mark.filterwarnings("ignore")
def test_a_decoder_trained_alone_leaves_the_latents_as_they_are(base, drawn, tmp_path):
    options = {"base": str(base), "train_encoder": False}
    settings = config("vae", base, drawn, tmp_path / "decoder", options=options)
    then, now = load_vae(base).state_dict(), load_vae(train(settings, Silent()).model).state_dict()
    kept = {name for name in then if torch.equal(then[name], now[name])}
    encoder = {name for name in then if name.startswith(("encoder.", "quant_conv."))}
    assert encoder - {"quant_conv.weight", "quant_conv.bias"} <= kept
    assert torch.equal(then["quant_conv.weight"][:4], now["quant_conv.weight"][:4])
    assert not kept & {name for name in then if name.startswith("decoder.") and name.endswith(".weight")}


@pytest.mark.parametrize("stage", ["hand", "outpaint", "base"])
@pytest.mark.filterwarnings("ignore")
def test_cached_rows_give_the_losses_of_the_same_rows_read(base, drawn, tmp_path, stage):
    extra = {
        "hand": {"mask_channels": [8, 8, 8], "augment": False},
        "outpaint": {"base": "tiny", "controlnet": "tiny", "min_mask_px": 10},
        "base": {"in_channels": 9},
    }[stage]
    losses = []
    for cached in (False, True):
        speed = {"loader_workers": 0, "cache_latents": cached}
        options = {"base": str(base), **extra}
        train(config(stage, base, drawn, tmp_path / str(cached), steps=3, options=options, speed=speed), Silent())
        losses.append([record["loss"] for record in log_of(tmp_path / str(cached))])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_cache_is_refused_where_it_would_not_be_true(base, drawn, tmp_path, monkeypatch):
    cached = {"loader_workers": 0, "cache_latents": True}
    with pytest.raises(UserError, match="loader_workers = 0"):
        config("hand", base, drawn, tmp_path, speed={"loader_workers": 2, "cache_latents": True})
    with pytest.raises(UserError, match="learns from pixels"):
        train(config("vae", base, drawn, tmp_path / "vae", speed=cached), Silent())
    flipped = {"base": str(base), "mask_channels": [8, 8, 8], "flip": 0.5}
    with pytest.raises(UserError, match=r"options\.augment=false"):
        train(config("hand", base, drawn, tmp_path / "hand", speed=cached), Silent())
    monkeypatch.setattr("h2d.train.cache.free_memory", lambda: 2**12)
    small = {"base": str(base), "mask_channels": [8, 8, 8], "augment": False}
    with pytest.raises(UserError, match=r"rows take .* of memory, 4 KiB are free: set speed.cache_latents=false"):
        train(config("hand", base, drawn, tmp_path / "memory", options=small, speed=cached), Silent())
    with pytest.raises(UserError, match=r"options.flip=0"):
        train(config("hand", base, drawn, tmp_path / "hand", options=flipped, speed=cached), Silent())


def test_a_rate_that_falls_ends_at_nothing():
    falling = OptimizerConfig(learning_rate=2.0, warmup_steps=10, decay="cosine")
    rates = [rate_at(step, falling, num_steps=100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) < 2.0
    assert rates[50] == pytest.approx(1.0)
    assert rates[99] < 0.001
    assert rate_at(99, OptimizerConfig(learning_rate=2.0), num_steps=100) == 0.4
