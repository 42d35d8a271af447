"""Pickled checkpoints to safetensors, without running what they say."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from h2d.errors import UserError

_NESTED: Final = ("state_dict", "model")
"""Where trainers keep a checkpoint's tensors, when they are not at its top."""


def convert_pickle(source: Path, target: Path) -> int:
    """Write a pickled checkpoint's tensors as safetensors and give their number.

    Only tensors and plain values are read; objects of other kinds, as trainers leave them, become empty ones. Raises
    `UserError` where the file is no such checkpoint.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target}: give a name that ends in .safetensors")
    tensors = _tensors(_read(source), source)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    save_file(tensors, partial, metadata={"format": "pt"})
    shutil.copymode(source, partial)
    partial.replace(target)
    return len(tensors)


def _read(source: Path) -> Any:
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(source)
        stand_ins: list[Any] = [(type("Unread", (_Unread,), {}), name) for name in unknown]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # noqa: BLE001  # what other bytes raise depends on them: IndexError, KeyError, ...
        said = " ".join(str(error).split())[:160]
        raise UserError(f"{source}: no checkpoint of PyTorch's that can be read without running it: {said}") from None


class _Unread:
    """Takes the place of an object that the file describes and nobody needs."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _tensors(loaded: Any, source: Path) -> dict[str, torch.Tensor]:
    for name in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    found = loaded.items() if isinstance(loaded, Mapping) else ()
    # A copy each: safetensors keeps no two names of one memory.
    tensors = {str(name): value.detach().clone().contiguous() for name, value in found if torch.is_tensor(value)}
    if not tensors:
        raise UserError(f"{source}: holds no tensors by name: give a checkpoint")
    return tensors
