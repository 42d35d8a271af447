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


def known_words(tokenizer: Any, prompt: str) -> str:
    """The prompt without the words that a tokenizer of few words would spell letter by letter.

    Its text encoder never learnt letters: spelt words would change what the others do. The prompt as it is of a
    tokenizer that knows no word at all, as networks with random weights have it, and of CLIP's own, whose pieces of
    words mean something.
    """
    unknown = _unknown_words(tokenizer, prompt)
    if not unknown:
        return prompt
    return " ".join(re.sub(rf"(?i)(?<![a-z])(?:{'|'.join(unknown)})(?![a-z])", "", prompt).split())


def unknown_notes(tokenizer: Any, prompt: str, *, of: str = "prompt") -> list[str]:
    """The words that `known_words` leaves out."""
    unknown = _unknown_words(tokenizer, prompt)
    return [f"left out of the {of}, as words that these networks do not know: {', '.join(unknown)}"] if unknown else []


def _unknown_words(tokenizer: Any, prompt: str) -> list[str]:
    if len(tokenizer) > _FEW_WORDS:
        return []
    vocabulary = tokenizer.get_vocab()
    if not any(token.endswith(_WORD_END) and len(token) > len(_WORD_END) + 2 for token in vocabulary):
        return []
    asked = dict.fromkeys(re.findall(r"[a-z]{2,}", prompt.lower()))
    return [word for word in asked if word + _WORD_END not in vocabulary]


def cut_notes(tokenizer: Any, prompt: str, *, of: str = "prompt") -> list[str]:
    """What of a prompt does not fit and is not read, in words; nothing when all of it is."""
    limit = tokenizer.model_max_length
    tokens = tokenizer(prompt, truncation=False, verbose=False).input_ids
    if len(tokens) <= limit:
        return []
    lost = tokenizer.decode(tokens[limit - 1 : -1]).strip()
    return [f"the {of} has {len(tokens)} tokens and {limit} are read: without {lost[:80]!r}"]
