"""What a layout promises: draw any picture alone, in any process, then write the files that speak of all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np

from h2d.synth.scene import Drawing, Scene

Note: TypeAlias = dict[str, Any]
"""What a picture leaves for the label files, ready for JSON. Every note has `name`, `path` and `split`."""

Damage: TypeAlias = Callable[[bytes], bytes | None]
"""From a file's bytes to those that are written instead; None writes no file. A function of a module: it is pickled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Studio:
    """Where scenes come from and who draws them; functions of a module, because workers get them by pickle."""

    sample: Callable[..., Scene]
    """As `h2d.synth.sampling.sample_scene`."""
    render: Callable[[Scene], Drawing]
    """As `h2d.synth.render.render`."""
    setup: Callable[[], None]
    """Called once in every worker process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is asked of one picture beyond the layout's own choices."""

    num_people: int = 1
    hands_in_view: bool = True
    picture_damage: Damage | None = None
    label_damage: Damage | None = None
    """Of the label file that belongs to this picture alone, in layouts that have one."""


NO_WISH: Final = Wish()


@runtime_checkable
class Layout(Protocol):
    """One dataset's folders and files.

    Layouts are small, picklable values: every worker has its own copy, and a picture depends on its number alone.
    """

    name: ClassVar[str]
    flavours: ClassVar[tuple[str, ...]]
    """Versions that differ on disk, the default first; one or more."""
    owns: ClassVar[tuple[str, ...]]
    """Everything that it may write directly below the output folder: what `fresh` deletes."""

    def __init__(self, *, seed: int, count: int, size_px: int, flavour: str) -> None: ...

    def draw(self, index: int, out: Path, studio: Studio, wish: Wish) -> Note:
        """Draw picture `index`, write the files that are its own, and return what the label files need."""

    def write_labels(self, notes: Sequence[Mapping[str, Any]], out: Path) -> None:
        """Write the label files; `notes` are in the order of the pictures."""


def scene_seed(seed: int, *place: int) -> int:
    """The seed of one scene out of the dataset's and the scene's place; 63 bits, so that it fits every generator."""
    high, low = np.random.SeedSequence((seed, *place)).generate_state(2, np.uint32)
    return (int(high) << 31) ^ int(low)


def hex_name(seed: int, *place: int) -> str:
    """32 hexadecimal digits, the same for the same place."""
    return "".join(f"{word:08x}" for word in np.random.SeedSequence((seed, *place)).generate_state(4, np.uint32))


def write_file(path: Path, data: bytes, damage: Damage | None = None) -> None:
    """Write a file that belongs to one picture, damaged if that was wished."""
    written = data if damage is None else damage(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    if written is not None:
        path.write_bytes(written)


def write_label(path: Path, text: str) -> None:
    """Write a file that speaks of many pictures; a run that is killed meanwhile writes all of them again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
