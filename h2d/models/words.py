"""Which words of a text a tokenizer of few words knows: training and sampling leave out the same."""

import re
import unicodedata
from functools import lru_cache
from typing import Any, Final

_MARK: Final = r"[^\x00-\u02ff\u2000-\u206f\u3000-\u303f\uff00-\uff65\s]"
"""What may stand behind a letter: accents and vowel signs of any script, but no punctuation."""
_LETTERS: Final = rf"[^\W\d_](?:[^\W\d_]|{_MARK})*"
_WORD: Final = re.compile(rf"{_LETTERS}(?:['’-]{_LETTERS})*")
"""Letters of any script with their marks, joined by apostrophes and hyphens."""
_WORD_END: Final = "</w>"
"""Ends the pieces that words end with."""
_FEW_WORDS: Final = 5_000
"""Pieces of a miniature's vocabulary, at most; CLIP has 49,408."""


def known_words(tokenizer: Any, text: str) -> str:
    """The text without the words that a tokenizer of few words would spell letter by letter.

    Letters mean nothing to networks that learnt words: spelt ones would change what the others do. The text as it is of
    a tokenizer that knows no word at all, as networks with random weights have it, and of CLIP's own, whose pieces of
    words mean something.
    """
    unknown = set(unknown_words(tokenizer, text))
    if not unknown:
        return text
    kept = _WORD.sub(lambda word: "" if word[0].lower() in unknown else word[0], unicodedata.normalize("NFC", text))
    return " ".join(kept.split())


def unknown_words(tokenizer: Any, text: str) -> list[str]:
    """The words that `known_words` leaves out, in small letters; what hyphens and apostrophes join is one word."""
    if not _has_few_words(tokenizer):
        return []
    asked = dict.fromkeys(word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", text)))
    return [word for word in asked if not all(_is_known(tokenizer, part) for part in re.split("['’-]", word))]


def has_words(text: str) -> bool:
    """Whether there is a word in a text."""
    return bool(_WORD.search(text))


@lru_cache(maxsize=16)
def _has_few_words(tokenizer: Any) -> bool:
    if len(tokenizer) > _FEW_WORDS:
        return False
    return any(token.endswith(_WORD_END) and len(token) > len(_WORD_END) + 2 for token in tokenizer.get_vocab())


@lru_cache(maxsize=65_536)
def _is_known(tokenizer: Any, word: str) -> bool:
    """One piece, which ends with the word."""
    pieces = tokenizer.tokenize(word)
    return len(pieces) == 1 and bool(pieces[0].endswith(_WORD_END))
