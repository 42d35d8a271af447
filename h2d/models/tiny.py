"""Stable Diffusion 1.x, CLIP and SAM in miniature, random weights: real classes and files, for tests and trials."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

_TEXT_WIDTH: Final = 32
_NUM_TOKENS: Final = 77
CHANNELS: Final = (32, 64)
SAM_PX: Final = 128
"""Side of the pictures that the small SAM sees."""


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


def write_tiny_clip(folder: Path, *, seed: int = 0, large: bool = False) -> None:
    """Write CLIP, both towers, with its tokenizer and preprocessing, as `openai/clip-vit-base-patch16` is published.

    `large`: as `clip-vit-large-patch14`, with patches of 14 pixels and a wider and deeper tower for pictures.
    """
    from transformers import CLIPConfig, CLIPModel

    _write_tokenizer(folder)
    num_words = _vocabulary_size(folder)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": num_words, "bos_token_id": num_words - 2, "eos_token_id": num_words - 1}
    patch_px = 14 if large else 16
    vision = {"image_size": 2 * patch_px, "patch_size": patch_px}
    vision |= {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3} if large else {}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        config = CLIPConfig(text_config={**small, **text}, vision_config={**small, **vision}, projection_dim=16)
        CLIPModel(config).eval().save_pretrained(folder, safe_serialization=True)
    preprocessing = {
        "crop_size": 2 * patch_px,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 2 * patch_px,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))


def tiny_sam() -> Any:
    """SAM, with weights of torch's global generator; its windows do not divide its grid, as those of the real ones."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    side = SAM_PX // 16
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=SAM_PX,
            embed_dim=16,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            out_chans=16,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=5,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=16, image_embedding_size=(side, side), input_image_size=(SAM_PX, SAM_PX), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=16,
            transformer=TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=2),
            iou_head_hidden_dim=16,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    ).eval()


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
    """Its posterior is narrow and its latents are spread like those of a trained one, so that they can be learnt."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=4.0,
    )
    with torch.no_grad():
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -12  # the logarithm of the variance
    return vae


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
