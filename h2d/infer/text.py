"""Prompts to CLIP's hidden states, and what is said of prompts that are too long.

Axis legend: b prompts, t tokens, d text width.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

_WORD_END: Final = "</w>"
"""Ends the pieces that words end with."""
_FEW_WORDS: Final = 5_000
"""Pieces of a miniature's vocabulary, at most; CLIP has 49,408."""


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


def unknown_notes(tokenizer: Any, prompt: str, *, of: str = "prompt") -> list[str]:
    """The words that a tokenizer of few words spells letter by letter, which its text encoder never learnt.

    One that knows no word at all, as networks with random weights have it, says nothing; nor does CLIP's own, whose
    pieces of words mean something.
    """
    if len(tokenizer) > _FEW_WORDS:
        return []
    vocabulary = tokenizer.get_vocab()
    if not any(token.endswith(_WORD_END) and len(token) > len(_WORD_END) + 2 for token in vocabulary):
        return []
    asked = dict.fromkeys(re.findall(r"[a-z]{3,}", prompt.lower()))
    unknown = [word for word in asked if word + _WORD_END not in vocabulary]
    return [f"words of the {of} that these networks do not know: {', '.join(unknown)}"] if unknown else []


def cut_notes(tokenizer: Any, prompt: str, *, of: str = "prompt") -> list[str]:
    """What of a prompt does not fit and is not read, in words; nothing when all of it is."""
    limit = tokenizer.model_max_length
    tokens = tokenizer(prompt, truncation=False, verbose=False).input_ids
    if len(tokens) <= limit:
        return []
    lost = tokenizer.decode(tokens[limit - 1 : -1]).strip()
    return [f"the {of} has {len(tokens)} tokens and {limit} are read: without {lost[:80]!r}"]
