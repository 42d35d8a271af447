"""Where the base that a stage starts from lies: by name, by path, of another run, or the tiny one."""

import os
import shutil
from pathlib import Path
from typing import Final

from h2d.models.tiny import write_tiny
from h2d.models.weights import locate, models_folder
from h2d.train.checkpoints import newest

TINY: Final = "tiny"
"""Stands for the miniature with random weights, which is written where models lie."""


def base_folder(base: str, *, in_channels: int) -> Path:
    """Where the checkpoint of a name or a path is; raises `UserError` when it is not on this machine.

    A run's own folder stands for the model of its last checkpoint.
    """
    if base == TINY:
        return _tiny_folder(in_channels)
    last = newest(Path(base))
    if last is not None:
        return last / "model"
    if Path(base).exists() or os.sep in base:
        return Path(base)
    return locate(base)


def _tiny_folder(in_channels: int) -> Path:
    folder = models_folder() / f"tiny-{in_channels}"
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        write_tiny(partial, in_channels=in_channels)
        try:
            partial.replace(folder)
        except OSError:  # another process of the run was faster, with the same weights
            if not folder.is_dir():
                raise
            shutil.rmtree(partial)
    return folder
