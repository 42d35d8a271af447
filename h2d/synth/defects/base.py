"""What a defect is, which pictures get one, and the list of what was planted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from h2d.errors import UserError
from h2d.synth.layouts.base import NO_WISH, Note, Wish, scene_seed

CaughtBy: TypeAlias = Literal["index", "read", "pose", "nothing"]
"""Who should say something: whoever lists the dataset, who opens the picture or its labels, who looks for hands, or
nobody, because the thing is odd but right."""

PICTURES_PER_ROUND: Final = 100
"""Every defect is planted once in each hundred pictures begun. Our choice."""

_CHOICE: Final = 2**31 + 2
"""A place in the sequence of seeds that no scene has."""

_MOST: Final = 0.75
"""Of the pictures may have a defect. Our choice: so that some are left for the labels' defects to choose from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What whoever lists the dataset should report, in the words of a manifest's `unmatched` table."""

    kind: str
    split: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """One kind of defect: drawn or written into a picture's own files, or edited into its labels."""

    kind: str
    expect: str
    """What a correct reader does, in words."""
    caught_by: CaughtBy
    wish: Wish = NO_WISH
    edit: Callable[[Note], list[Note]] | None = None
    """From a note to the notes that are written instead."""
    whole_frame: bool = False
    """Edit every picture of the frame: for labels that its cameras share."""
    finding: Callable[[Note], Finding] | None = None
    """From the note as it was."""
    flavours: tuple[str, ...] = ()
    """Empty: all."""
    suits: Callable[[Note], bool] | None = None
    """Which pictures it can be planted in; only for those that wish nothing. None: any."""


NONE: Final[tuple[Defect, ...]] = ()
"""Of a layout that is no stranger's."""


def wished(defects: Sequence[Defect], *, count: int, seed: int) -> dict[int, Defect]:
    """Which picture is to be drawn or written with which defect; raises `UserError` when there are too few pictures."""
    num_planted = len(defects) * _rounds(count)
    if num_planted > count * _MOST:
        # Up to a hundred pictures there is one round, and no dataset has 75 kinds.
        least = int(np.ceil(len(defects) / _MOST))
        raise UserError(f"-n {count}: --hard plants {num_planted} defects, one a picture: ask for {least} or more")
    wishing = [defect for defect in defects if defect.wish != NO_WISH] * _rounds(count)
    return dict(zip(_order(count, seed), wishing, strict=False))


def assigned(defects: Sequence[Defect], notes: Sequence[Note], *, seed: int) -> dict[int, Defect]:
    """Which picture has which defect: those of `wished`, and those of labels in the next pictures that they suit.

    One that suits no picture that is left has none.
    """
    count = len(notes)
    chosen = wished(defects, count=count, seed=seed)
    edited_frames = set()
    for defect in [defect for defect in defects if defect.wish == NO_WISH] * _rounds(count):
        for index in _order(count, seed):
            frame = _frame(notes[index], index)
            taken = index in chosen or (defect.whole_frame and frame in edited_frames)
            if not taken and (defect.suits is None or defect.suits(notes[index])):
                chosen[index] = defect
                if defect.whole_frame:
                    edited_frames.add(frame)
                break
    return chosen


def edited(notes: Sequence[Note], chosen: Mapping[int, Defect]) -> list[Note]:
    """The notes with their defects: those of the frame first, then the picture's own."""
    by_frame = {
        _frame(notes[index], index): defect.edit
        for index, defect in chosen.items()
        if defect.whole_frame and defect.edit
    }
    result: list[Note] = []
    for index, note in enumerate(notes):
        own = chosen.get(index)
        edits = [by_frame.get(_frame(note, index)), own.edit if own and not own.whole_frame else None]
        these = [note]
        for edit in filter(None, edits):
            these = [after for before in these for after in edit(before)]
        result += these
    return result


def listed(notes: Sequence[Note], chosen: Mapping[int, Defect]) -> list[dict[str, Any]]:
    """What was planted, in the order of the pictures, ready for JSON."""
    planted = []
    for index, defect in sorted(chosen.items()):
        note = notes[index]
        finding = defect.finding(note) if defect.finding else None
        planted.append(
            {
                "kind": defect.kind,
                "name": note["name"],
                "path": note["path"],
                "split": note["split"],
                "caught_by": defect.caught_by,
                "expect": defect.expect,
                "finding": {"kind": finding.kind, "split": finding.split, "name": finding.name} if finding else None,
            }
        )
    return planted


def _rounds(count: int) -> int:
    return -(-count // PICTURES_PER_ROUND)


def _order(count: int, seed: int) -> list[int]:
    order: list[int] = np.random.default_rng(scene_seed(seed, _CHOICE)).permutation(count).tolist()
    return order


def _frame(note: Note, index: int) -> Any:
    """What the pictures of one frame have in common; a picture without a frame is one."""
    return note.get("frame", index)
