"""Checkpoints: a folder that exists is whole; no pickle in it.

`<out>/checkpoints/step-0001000/` holds `weights`, `average` and `optimizer` as safetensors, `state.json`, and `model/`,
which the sampler loads. It is written under a temporary name, fsynced and renamed; older ones go only after that. Where
the newest was damaged later, the one before is gone on from.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from h2d.errors import UserError
from h2d.manifests.files import TEMPORARY
from h2d.models.checkpoint import CHECKPOINTS, MODEL, STATE_FILE, checkpoint_folders

logger = logging.getLogger(__name__)

_TENSOR_FILES: Final = ("weights.safetensors", "average.safetensors", "optimizer.safetensors")


def newest(out: Path) -> Path | None:
    """The last whole checkpoint of a run; what is wrong with later ones is logged. None before the first.

    Raises `UserError` when there are checkpoints and none is whole.
    """
    problem = ""
    for path in checkpoint_folders(out):
        if not (problem := damage(path)):
            return path
        logger.warning("%s: %s: going on from the checkpoint before it", path, problem)
    if problem:
        raise UserError(
            f"{out / CHECKPOINTS}: no checkpoint is whole ({problem}): start anew with --fresh or another --out"
        )
    return None


def damage(path: Path) -> str:
    """What is wrong with a checkpoint; nothing where its files are there, of their full length, and can be read."""
    try:
        load_state(path)
        for name in _TENSOR_FILES:
            with safe_open(path / name, framework="pt"):
                pass
    except (UserError, OSError, SafetensorError) as error:
        return str(error)
    return "" if (path / MODEL).is_dir() else "model is missing"


def remove_unfinished(out: Path) -> None:
    """Delete what a run that was killed while it saved has left."""
    for path in (out / CHECKPOINTS).glob(f"{TEMPORARY}step-*"):
        shutil.rmtree(path)


def save_checkpoint(
    out: Path,
    step: int,
    *,
    trained: nn.Module,
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    save_model: Callable[[Path], None],
    keep: int,
) -> Path:
    """Write the state after `step` steps; keeps the `keep` newest checkpoints."""
    path = out / CHECKPOINTS / f"step-{step:07d}"
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / MODEL).mkdir(parents=True)
    save_file(_plain(trained.state_dict()), temporary / "weights.safetensors")
    save_file(_plain(average), temporary / "average.safetensors")
    values = _by_path(optimizer.state_dict()["state"])
    tensors = {path: value for path, value in values.items() if isinstance(value, Tensor)}
    save_file(_plain(tensors), temporary / "optimizer.safetensors")
    save_model(temporary / MODEL)
    state = {**facts, "step": step, "optimizer": {path: value for path, value in values.items() if path not in tensors}}
    (temporary / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    for file in temporary.rglob("*.safetensors"):
        shutil.copymode(temporary / STATE_FILE, file)  # safetensors lets nobody but its user read what it writes
    _sync(temporary)
    if path.exists():
        shutil.rmtree(path)
    temporary.rename(path)
    _sync_one(path.parent)
    # Damaged ones may be later: they count for nothing here.
    earlier = [other for other in checkpoint_folders(out) if other.name < path.name]
    for old in earlier[max(0, keep - 1) :]:
        shutil.rmtree(old)
    return path


def load_state(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint; raises `UserError` when it is damaged."""
    try:
        state: dict[str, Any] = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged checkpoint: {STATE_FILE}: {error}") from None
    return state


def load_weights(path: Path, trained: nn.Module) -> dict[str, Tensor]:
    """Put the weights back, and return the moving average."""
    trained.load_state_dict(load_file(path / "weights.safetensors"))
    return load_file(path / "average.safetensors")


def load_optimizer(path: Path, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimizer's state back, parameter by parameter."""
    values = {**load_file(path / "optimizer.safetensors"), **load_state(path)["optimizer"]}
    state = {int(number): own for number, own in _nested(values).items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _by_path(nested: Mapping[Any, Any], outer: str = "") -> dict[str, Any]:
    """What mappings within mappings hold, by keys joined with points: 8-bit Adam nests what it has quantised."""
    values: dict[str, Any] = {}
    for key, value in nested.items():
        values |= _by_path(value, f"{outer}{key}.") if isinstance(value, Mapping) else {f"{outer}{key}": value}
    return values


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The mappings that `_by_path` was given."""
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *outer, last = path.split(".")
        inner = nested
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return nested


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous and each with its own memory, as safetensors asks; what is so already is not copied."""
    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        plain[name] = value.clone() if value.untyped_storage().data_ptr() in taken else value
        taken.add(value.untyped_storage().data_ptr())
    return plain


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
