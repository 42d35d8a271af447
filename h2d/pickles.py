"""PyTorch's pickled files: their tensors, and never their code. torch is imported inside."""

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Final

from h2d.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_ZIP: Final = b"PK"
_PICKLE: Final = b"\x80"
"""How files begin that PyTorch wrote since version 1.6, and before."""


def read_tensors(file: Path, *, remedy: str) -> dict[str, "Tensor"]:
    """The tensors of a state dict by name, on the CPU, mapped rather than read where the format allows it.

    Raises `UserError` that ends in `remedy` when the file is of another format, cut off, damaged, or holds anything
    but tensors.
    """
    import torch

    with file.open("rb") as stream:
        start = stream.read(2)
    size = file.stat().st_size
    if start != _ZIP and start[:1] != _PICKLE:
        raise UserError(f"{file}: not a PyTorch checkpoint ({size} bytes of another format): {remedy}")
    if start == _ZIP and not zipfile.is_zipfile(file):
        raise UserError(f"{file}: a PyTorch checkpoint that is cut off at {size} bytes: {remedy}")
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=start == _ZIP)
    except UnpicklingError:  # torch's own words advise to run what the file holds
        raise UserError(f"{file}: damaged, or holds more than tensors: {remedy}") from None
    except Exception as error:  # noqa: BLE001  # what damaged bytes raise depends on them: IndexError, KeyError, ...
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{file}: damaged: {type(error).__name__} {reason}: {remedy}") from None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise UserError(f"{file}: holds {type(tensors).__name__} instead of a plain state dict: {remedy}")
    return tensors
