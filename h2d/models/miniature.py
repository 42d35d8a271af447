"""Stable Diffusion 1.x made small, to be trained from nothing: the same classes and files, and words for its tokens."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch

from h2d.config import config

NUM_TOKENS: Final = 56
"""The longest caption of a drawing has 50 words and marks; the two ends are tokens too."""


@config
class MiniatureSizes:
    """Of every part; the defaults train on a CPU."""

    unet_channels: tuple[int, ...] = (32, 64, 96)
    unet_layers: int = 1
    unet_heads: int = 4
    vae_channels: tuple[int, ...] = (32, 64, 64)
    vae_layers: int = 1
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 4
    picture_px: int = 128


def write_base(folder: Path, captions: Iterable[str], sizes: MiniatureSizes, *, vae: Any = None, seed: int = 0) -> None:
    """Write `unet` (4 channels), `vae`, `text_encoder`, `tokenizer` and `scheduler` with random weights.

    The tokenizer's words are those of the captions; every other text is spelt out in bytes. `vae` is an autoencoder
    that is trained already, in the place of a random one.
    """
    num_words = _write_tokenizer(folder / "tokenizer", captions)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        parts = {"unet": _unet(sizes), "vae": vae or _vae(sizes), "text_encoder": _text_encoder(sizes, num_words)}
    for name, part in parts.items():
        part.save_pretrained(folder / name, safe_serialization=True)
    _scheduler().save_pretrained(folder / "scheduler")


def _unet(sizes: MiniatureSizes) -> Any:
    """Attention at every size but the largest, where it costs most on a CPU."""
    from diffusers import UNet2DConditionModel

    deeper = len(sizes.unet_channels) - 1
    return UNet2DConditionModel(
        in_channels=4,
        sample_size=sizes.picture_px // 2 ** (len(sizes.vae_channels) - 1),
        block_out_channels=sizes.unet_channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * deeper),
        up_block_types=(*("CrossAttnUpBlock2D",) * deeper, "UpBlock2D"),
        layers_per_block=sizes.unet_layers,
        cross_attention_dim=sizes.text_width,
        attention_head_dim=sizes.unet_heads,  # diffusers' name for the number of heads
        norm_num_groups=16,
    )


def _vae(sizes: MiniatureSizes) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=sizes.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * len(sizes.vae_channels),
        up_block_types=("UpDecoderBlock2D",) * len(sizes.vae_channels),
        layers_per_block=sizes.vae_layers,
        norm_num_groups=8,
        sample_size=sizes.picture_px,
        scaling_factor=1.0,
    )


def _text_encoder(sizes: MiniatureSizes, num_words: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    settings = CLIPTextConfig(
        vocab_size=num_words,
        hidden_size=sizes.text_width,
        intermediate_size=2 * sizes.text_width,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        max_position_embeddings=NUM_TOKENS,
        bos_token_id=num_words - 2,
        eos_token_id=num_words - 1,
        pad_token_id=num_words - 1,
    )
    return CLIPTextModel(settings)


def _scheduler() -> Any:
    """Velocity instead of noise, and nothing but noise at the last level: what small networks learn soonest."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


def _write_tokenizer(folder: Path, captions: Iterable[str]) -> int:
    """CLIP's tokenizer with pairs learnt until every word of the captions is one token; returns how many there are."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])
    trainer = trainers.BpeTrainer(end_of_word_suffix="</w>", vocab_size=100_000, show_progress=False)
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(set(pre_tokenizers.ByteLevel.alphabet()))
    joined = ["".join(pair) for pair in merges]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *dict.fromkeys(joined)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("".join(["#version: 0.2\n", *(f"{a} {b}\n" for a, b in merges)]))
    CLIPTokenizer.from_pretrained(folder, model_max_length=NUM_TOKENS).save_pretrained(folder)
    return len(words)
