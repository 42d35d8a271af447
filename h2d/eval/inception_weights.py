"""Reading InceptionV3's weights: tensors alone, never code."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from h2d.errors import UserError
from h2d.hashes import sha256_of
from h2d.models.weights import weights_named
from h2d.pickles import read_tensors

_AGAIN = "get it again: h2d models fetch inception-v3-fid"


def read_inception(weights: Path) -> tuple[Mapping[str, Any], str]:
    """The file's tensors, and where they are from: `published`, or the hash of what the file holds.

    Raises `UserError` where the file is absent or damaged, or holds anything but tensors.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file: get it: h2d models fetch inception-v3-fid")
    tensors = _safetensors(weights) if weights.suffix == ".safetensors" else read_tensors(weights, remedy=_AGAIN)
    if weights.suffix != ".safetensors" and sha256_of(weights) == weights_named("inception-v3-fid").files[0].sha256:
        return tensors, "published"
    return tensors, f"sha256 of tensors {_content_hash(tensors)}"


def _safetensors(weights: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(weights)
    except SafetensorError as error:
        raise UserError(f"{weights}: damaged: {error}: {_AGAIN}") from None


def _content_hash(tensors: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode())
            digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
