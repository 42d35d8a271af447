"""Prompts to CLIP's hidden states, and what is said of what is not read of them.

Axis legend: b prompts, t tokens, d text width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from h2d.models.words import has_words, known_words, unknown_words


def encode_prompts(
    tokenizer: Any, text_encoder: Any, prompts: Sequence[str], *, device: torch.device
) -> Float[Tensor, "b t d"]:
    """CLIP's last hidden state, of no more than its 77 tokens, and without words that a small vocabulary lacks."""
    tokens = tokenizer(
        [known_words(tokenizer, prompt) for prompt in prompts],
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    state: Tensor = text_encoder(tokens.to(device))[0]
    return state


def prompt_notes(tokenizer: Any, prompt: str, *, of: str = "prompt") -> list[str]:
    """What of a prompt is not read, in words: what does not fit, and words that a small vocabulary lacks."""
    limit = tokenizer.model_max_length
    known = known_words(tokenizer, prompt)
    tokens = tokenizer(known, truncation=False, verbose=False).input_ids
    found = []
    if len(tokens) > limit:
        lost = tokenizer.decode(tokens[limit - 1 : -1]).strip()
        found.append(f"the {of} has {len(tokens)} tokens and {limit} are read: without {lost[:80]!r}")
    if unknown := unknown_words(tokenizer, prompt):
        found.append(f"left out of the {of}, as words that these networks do not know: {', '.join(unknown)}")
        if not has_words(known):
            found.append(f"nothing is left of the {of}: h2d pose examples lists prompts whose words they know")
    return found


def negative_notes(tokenizer: Any, negative: str, *, is_guided: bool) -> list[str]:
    """The same of a negative prompt, which without guidance is not read at all."""
    if is_guided:
        return prompt_notes(tokenizer, negative, of="negative prompt")
    return ["the negative prompt does nothing without guidance: --guidance 3 lets it"] if negative else []
