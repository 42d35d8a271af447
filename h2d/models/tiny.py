"""A miniature of Stable Diffusion 1.x with random weights: the same classes and files, for tests and small machines."""

import json
from pathlib import Path
from typing import Any, Final

import torch

_TEXT_WIDTH: Final = 32
_NUM_TOKENS: Final = 77
CHANNELS: Final = (32, 64)


def write_tiny(folder: Path, *, seed: int = 0, in_channels: int = 4) -> None:
    """Write `unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler` and `controlnet`; 9 input channels to inpaint."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        unet = tiny_unet(in_channels)
        parts = {"unet": unet, "vae": _vae(), "controlnet": tiny_controlnet(), "text_encoder": None}
    _write_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        parts["text_encoder"] = _text_encoder(_vocabulary_size(folder / "tokenizer"))
    for name, part in parts.items():
        part.save_pretrained(folder / name, safe_serialization=True)
    _scheduler().save_pretrained(folder / "scheduler")


def tiny_unet(in_channels: int = 4) -> Any:
    """The U-Net, with weights of torch's global generator."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        in_channels=in_channels,
        sample_size=8,
        block_out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def tiny_controlnet() -> Any:
    """A ControlNet for it; its last layers are zero, as in all that are new."""
    from diffusers import ControlNetModel

    return ControlNetModel(
        block_out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        layers_per_block=1,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8, 16, 16, 32),
    )


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    )


def _text_encoder(num_words: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    settings = CLIPTextConfig(
        vocab_size=num_words,
        hidden_size=_TEXT_WIDTH,
        intermediate_size=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=_NUM_TOKENS,
        bos_token_id=num_words - 2,
        eos_token_id=num_words - 1,
        pad_token_id=num_words - 1,
    )
    return CLIPTextModel(settings).eval()


def _scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _write_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer over bytes alone: no merges, so that every text is spelt out."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=_NUM_TOKENS)
    tokenizer.save_pretrained(folder)


def _vocabulary_size(folder: Path) -> int:
    return len(json.loads((folder / "vocab.json").read_text())) if (folder / "vocab.json").is_file() else 514
