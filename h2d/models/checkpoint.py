"""What a trained stage is known by: `h2d.json` beside its folders, and the same facts in the weights' own headers.

A run of training holds checkpoints, `<run>/checkpoints/step-0001000/`, and each of them the stage, in its `model/`.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.models.reading import read_json

FACTS_FILE: Final = "h2d.json"
CHECKPOINTS: Final = "checkpoints"
"""Folder of a run."""
STATE_FILE: Final = "state.json"
"""Of a checkpoint."""
MODEL: Final = "model"
"""Folder of a checkpoint."""


def checkpoint_folders(run: Path) -> list[Path]:
    """A run's checkpoints, whole or damaged later, the newest first."""
    return sorted((run / CHECKPOINTS).glob("step-*"), reverse=True)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts (stage, resolved configuration, manifest hash, git revision) beside the weights and into them."""
    text = json.dumps({"git_revision": git_revision(), **facts}, sort_keys=True, indent=2)
    (folder / FACTS_FILE).write_text(text + "\n")
    for weights in sorted(folder.glob("*/*.safetensors")):
        _add_header(weights, text)


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts of a checkpoint; raises `UserError` where there are none."""
    file = folder / FACTS_FILE
    if not file.is_file():
        raise UserError(f"{folder}: not a checkpoint of h2d: {FACTS_FILE} is missing")
    return read_json(file)


def git_revision() -> str | None:
    """The commit of this code; None where it is not a git checkout."""
    from shutil import which

    git = which("git")
    if git is None:
        return None
    here = Path(__file__).parent
    done = subprocess.run([git, "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _add_header(weights: Path, text: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(weights, framework="pt") as opened:
        header = dict(opened.metadata() or {})
    partial = weights.with_suffix(".partial")
    save_file(load_file(weights), partial, metadata={**header, "h2d": text})
    partial.replace(weights)
