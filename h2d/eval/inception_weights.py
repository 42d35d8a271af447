"""Reading InceptionV3's weights: tensors alone, never code. torch is imported inside."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from h2d.errors import UserError
from h2d.hashes import sha256_of
from h2d.models.weights import weights_named

_AGAIN = "get it again: h2d models fetch inception-v3-fid"


def read_inception(weights: Path) -> tuple[Mapping[str, Any], str]:
    """The file's tensors, and where they are from: `published`, or the hash of what the file holds.

    Raises `UserError` where the file is absent or damaged, or holds anything but tensors.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file: get it: h2d models fetch inception-v3-fid")
    tensors = _safetensors(weights) if weights.suffix == ".safetensors" else _pth(weights)
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


def _pth(weights: Path) -> Mapping[str, Any]:
    import torch

    try:
        tensors = torch.load(weights, map_location="cpu", weights_only=True)
    except UnpicklingError:  # torch's own words advise to run what the file holds
        raise UserError(f"{weights}: damaged, or holds more than tensors: {_AGAIN}") from None
    except (RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{weights}: cannot be read as PyTorch weights ({reason}): {_AGAIN}") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise UserError(f"{weights}: holds {type(tensors).__name__} instead of a plain state dict: {_AGAIN}")
    return tensors


def _content_hash(tensors: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode())
            digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
