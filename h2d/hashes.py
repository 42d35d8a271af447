"""Hashes that tell one file, or one set of options, from another."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

_BLOCK_BYTES: Final = 1 << 22


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def short_hash(value: Any) -> str:
    """Sixteen hexadecimal digits that change when anything in a plain value does; what JSON has not goes as text."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
