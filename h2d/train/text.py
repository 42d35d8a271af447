"""Captions as the networks read them.

Axis legend: b batch, t tokens, d width.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from h2d.models.words import known_words


def caption_tokens(tokenizer: Any, caption: str | None) -> Int[Tensor, "t"]:
    """The tokens of a caption, padded, without words that a small vocabulary lacks; of no text where there is none.

    As `h2d.infer.text.encode_prompts` reads prompts.
    """
    length = tokenizer.model_max_length
    tokens = tokenizer(known_words(tokenizer, caption or ""), padding="max_length", max_length=length, truncation=True)
    return torch.tensor(tokens.input_ids)


@torch.no_grad()
def encode_text(text_encoder: Any, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
    """CLIP's last hidden state."""
    state: Tensor = text_encoder(tokens)[0]
    return state
