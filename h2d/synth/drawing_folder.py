"""The folder that a dataset is drawn into: whether it may be used, and which pictures are already there.

A picture leaves a note when its files are whole. The notes become the label files, and go when those are there.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.manifests.files import TEMPORARY, write_json
from h2d.registry import resolve
from h2d.synth.layouts import LAYOUTS
from h2d.synth.layouts.base import Note

STATE: Final = ".h2d-synth.json"
"""The settings that the folder is drawn with; a folder that has it is ours."""

NOTES: Final = ".h2d-synth-notes"

_OWN: Final = ("planted.json", NOTES)


class DrawingFolder:
    """An output folder and its state."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, settings: Mapping[str, Any], *, fresh: bool) -> None:
        """Take the folder for these settings, or raise `UserError` when it holds anything else."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is a file: choose another folder with --out")
        state = self._state()
        if state is None:
            if self.path.is_dir() and any(TEMPORARY not in entry.name for entry in self.path.iterdir()):
                raise UserError(
                    f"{self.path}: is not empty and was not drawn by h2d synth: choose another folder with --out"
                )
        elif fresh:
            self._delete(state)
        elif state["settings"] != settings:
            raise UserError(
                f"{self.path}: {_difference(state['settings'], settings)}: choose another --out, or --fresh"
            )
        else:
            return
        write_json(self.path / STATE, {"settings": dict(settings), "complete": False})

    def is_complete(self) -> bool:
        """Whether the label files are written too."""
        state = self._state()
        assert state is not None, "the folder was not claimed"
        return bool(state["complete"])

    def outcome(self) -> dict[str, Any]:
        """What a complete folder was completed with."""
        state = self._state()
        assert state is not None, "the folder was not claimed"
        return {name: tuple(value) if isinstance(value, list) else value for name, value in state["outcome"].items()}

    def missing(self, count: int) -> list[int]:
        """The pictures that have no note yet."""
        return [index for index in range(count) if not self._note_file(index).exists()]

    def keep(self, index: int, note: Note) -> None:
        """Note that the files of a picture are whole."""
        file = self._note_file(index)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(note))
        temporary.replace(file)  # whole or not there; not fsynced, as the picture is not either

    def notes(self, count: int) -> list[Note]:
        """The notes of all pictures, as read back from their files."""
        return [json.loads(self._note_file(index).read_text()) for index in range(count)]

    def complete(self, outcome: Mapping[str, Any]) -> None:
        """Note that the dataset is whole and what came of it, and tidy up."""
        state = self._state()
        assert state is not None, "the folder was not claimed"
        write_json(self.path / STATE, {**state, "complete": True, "outcome": dict(outcome)})
        shutil.rmtree(self.path / NOTES)

    def _note_file(self, index: int) -> Path:
        return self.path / NOTES / f"{index // 1000:05d}" / f"{index:08d}.json"

    def _state(self) -> dict[str, Any] | None:
        file = self.path / STATE
        if not file.is_file():
            return None
        try:
            state = json.loads(file.read_text())
            if isinstance(state["settings"], dict) and state["settings"]["layout"] in LAYOUTS:
                found: dict[str, Any] = state
                return found
        except (ValueError, KeyError, TypeError):
            pass
        raise UserError(f"{file}: not written by this h2d synth: choose another folder with --out")

    def _delete(self, state: Mapping[str, Any]) -> None:
        """What the run of this state made, its state last."""
        made = resolve(LAYOUTS, state["settings"]["layout"], kind="layout").owns
        for name in (*made, *_OWN):
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (self.path / STATE).unlink()


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting that differs."""
    name = next(name for name in (*now, *before) if before.get(name) != now.get(name))
    return f"was drawn with {name} = {before.get(name)}, not {now.get(name)}"
