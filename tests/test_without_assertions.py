"""What `python -O` leaves out must do nothing: assertions alone, never the work that they look at."""

import importlib
from pathlib import Path
from typing import Any

import pytest


class Loaded(Exception):  # noqa: N818  # no mistake: what the test waits for
    """Weights were asked for."""


def loading(*_: Any, **__: Any) -> None:
    raise Loaded


def without_assertions(name: str) -> dict[str, Any]:
    """A module's names, compiled as `python -O` does."""
    file = Path(importlib.import_module(name).__file__)
    names: dict[str, Any] = {"__name__": name}
    exec(compile(file.read_text(encoding="utf-8"), file, "exec", optimize=1), names)
    return names


@pytest.mark.parametrize(
    ("module", "kind"), [("h2d.annotate.people.sam", "SamPeople"), ("h2d.annotate.masks.sam", "SamSegmenter")]
)
def test_sam_is_loaded_by_setup(module, kind):
    names = without_assertions(module)
    names["load_sam"] = loading
    with pytest.raises(Loaded):
        names[kind](checkpoint=Path("sam.pth"), device="cpu").setup()


@pytest.mark.parametrize("kind", ["PictureLook", "PromptLook"])
def test_clip_is_loaded_by_setup(monkeypatch, kind):
    monkeypatch.setattr("h2d.eval.text_alignment.ClipModel", loading)
    with pytest.raises(Loaded):
        without_assertions("h2d.eval.looks.text")[kind](Path("clip")).setup()
