"""Prompts to CLIP's hidden states, and what is said of prompts that are too long.

Axis legend: b prompts, t tokens, d text width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def encode_prompts(
    tokenizer: Any, text_encoder: Any, prompts: Sequence[str], *, device: torch.device
) -> Float[Tensor, "b t d"]:
    """CLIP's last hidden state; what is beyond its 77 tokens is cut."""
    tokens = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    state: Tensor = text_encoder(tokens.to(device))[0]
    return state


def cut_notes(tokenizer: Any, prompt: str, *, of: str = "prompt") -> list[str]:
    """What of a prompt does not fit and is not read, in words; nothing when all of it is."""
    limit = tokenizer.model_max_length
    tokens = tokenizer(prompt, truncation=False, verbose=False).input_ids
    if len(tokens) <= limit:
        return []
    lost = tokenizer.decode(tokens[limit - 1 : -1]).strip()
    return [f"the {of} has {len(tokens)} tokens and {limit} are read: without {lost[:80]!r}"]
