"""The rows of a run and their order, as a function of the position alone.

Sample k of a run is the same row whatever the number of processes and loader workers, and however often the run was
stopped: that is why this is no stream with a state. Per epoch, row groups are shuffled, cut into windows, and rows are
shuffled within their window; so a loader process holds a window in memory and never reads a group twice in it.
Axis legend: n usable rows.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64

from h2d.errors import UserError
from h2d.manifests.cells import Cells, read_cells
from h2d.manifests.io import Location
from h2d.manifests.store import Manifest, open_part
from h2d.train.stage import Row, TrainingStage

_NUM_CACHED_EPOCHS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A row group, and which of its rows take part."""

    path: Location
    number: int
    rows: tuple[int, ...]


class Rows:
    """Some rows of one table, by position. Cheap to pickle into loader processes."""

    def __init__(self, groups: Sequence[Group], columns: Sequence[str], *, seed: int, window_groups: int) -> None:
        self._groups = [group for group in groups if group.rows]
        self._columns = tuple(columns)
        self._seed = seed
        self._window_groups = window_groups
        self._orders: dict[int, tuple[list[int], list[tuple[int, int]]]] = {}
        self._read: dict[int, dict[str, Cells]] = {}

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self._groups)

    def row(self, position: int) -> Row:
        """The row at a position of the endless sequence of shuffled epochs."""
        epoch, offset = divmod(position, len(self))
        window_starts, order = self._order(epoch)
        number, row = order[offset]
        if number not in self._read:
            self._load(number, keep=self._window_of(window_starts, order, offset))
        return self._values(number, row)

    def index(self, position: int) -> int:
        """The index in the table's own order of the row at a position."""
        epoch, offset = divmod(position, len(self))
        number, row = self._order(epoch)[1][offset]
        return self._starts[number] + row

    def row_in_order(self, index: int) -> Row:
        """The row at an index of the table's own order; for validation and previews."""
        number = bisect_right(self._starts, index) - 1
        if number not in self._read:
            self._load(number, keep={number})
        return self._values(number, index - self._starts[number])

    def path(self, index: int) -> Location:
        """The file of the row at an index of the table's own order."""
        return self._groups[bisect_right(self._starts, index) - 1].path

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *np.cumsum([len(group.rows) for group in self._groups]).tolist()][:-1]

    def _order(self, epoch: int) -> tuple[list[int], list[tuple[int, int]]]:
        """Where windows start, and (group, row within its usable rows) by offset."""
        if epoch not in self._orders:
            while len(self._orders) >= _NUM_CACHED_EPOCHS:
                self._orders.pop(next(iter(self._orders)))
            random = np.random.default_rng((self._seed, epoch))
            shuffled = random.permutation(len(self._groups)).tolist()
            starts: list[int] = []
            order: list[tuple[int, int]] = []
            for first in range(0, len(shuffled), self._window_groups):
                window = shuffled[first : first + self._window_groups]
                rows = [(number, row) for number in window for row in range(len(self._groups[number].rows))]
                starts.append(len(order))
                order += [rows[place] for place in random.permutation(len(rows))]
            self._orders[epoch] = (starts, order)
        return self._orders[epoch]

    @staticmethod
    def _window_of(starts: list[int], order: list[tuple[int, int]], offset: int) -> set[int]:
        place = bisect_right(starts, offset)
        stop = starts[place] if place < len(starts) else len(order)
        return {number for number, _ in order[starts[place - 1] : stop]}

    def _load(self, number: int, keep: set[int]) -> None:
        for other in set(self._read) - keep:
            del self._read[other]
        group = self._groups[number]
        with open_part(group.path) as file:
            self._read[number] = read_cells(file, group.path, group.number, self._columns)

    def _values(self, number: int, row: int) -> Row:
        index = self._groups[number].rows[row]
        return {name: _own(cells[index]) for name, cells in self._read[number].items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_orders": {}, "_read": {}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """The rows to learn from, and those held out: no subject is in both."""

    training: Rows
    validation: Rows | None
    held_out_by: str
    """In words, for the log."""


def divide(
    manifests: Sequence[Manifest],
    stage: TrainingStage,
    *,
    seed: int,
    held_out_share: float,
    window_groups: int,
) -> Division:
    """Read the light columns of every row, and divide the usable ones; raises `UserError` when there are none."""
    has_validation = any("val" in manifest.splits(stage.table) for manifest in manifests)
    training: list[Group] = []
    validation: list[Group] = []
    for manifest in manifests:
        _check_columns(manifest, stage)
        for split in ("train", "val") if has_validation else ("train",):
            for path, number, light in _light_groups(manifest, stage, split):
                usable = stage.usable(light)
                held_out = np.full(len(light), split == "val")
                if not has_validation:
                    held_out = _held_out(light, stage.table, seed, held_out_share)
                training.append(_group(path, number, usable & ~held_out))
                validation.append(_group(path, number, usable & held_out))
    names = ", ".join(str(manifest.root) for manifest in manifests)
    if not any(group.rows for group in training):
        if any(group.rows for group in validation) and not has_validation:
            raise UserError(
                f"{names}: every subject of split train is held out: lower data.held_out_share ({held_out_share:g})"
            )
        raise UserError(f"{names}: no rows of {stage.table} in split train can be trained on: see `h2d manifest stats`")
    learnt = Rows(training, stage.columns, seed=seed, window_groups=window_groups)
    checked = Rows(validation, stage.columns, seed=seed, window_groups=1)
    return Division(
        training=learnt,
        validation=checked if len(checked) else None,
        held_out_by="split val" if has_validation else f"{held_out_share:.0%} of the subjects of split train",
    )


def _check_columns(manifest: Manifest, stage: TrainingStage) -> None:
    for path in manifest.parts(stage.table):
        with open_part(path) as file:
            absent = [name for name in (*stage.columns, *_light_columns(stage)) if name not in file.schema_arrow.names]
        if absent:
            raise UserError(f"{path}: column {absent[0]} is missing: {stage.table} are trained with it: prepare anew")


def _light_columns(stage: TrainingStage) -> list[str]:
    """What is read of every row beforehand: whether it is usable, and whom it shows."""
    return list(dict.fromkeys((*stage.light_columns, "subject", "image_id" if stage.table == "hands" else "id")))


def _light_groups(manifest: Manifest, stage: TrainingStage, split: str) -> list[tuple[Location, int, pa.Table]]:
    rows = manifest.row_groups(stage.table, _light_columns(stage), split)
    return [(place.path, place.group, light) for place, light in rows]


def _held_out(light: pa.Table, table: str, seed: int, share: float) -> Bool[np.ndarray, "n"]:
    """Whether each row's subject, or picture where no subject is known, is drawn by the hash of its name."""
    subjects = light["subject"].to_pylist()
    pictures = light["image_id" if table == "hands" else "id"].to_pylist()
    names = [subject or picture for subject, picture in zip(subjects, pictures, strict=True)]
    drawn = {name: int(sha256(f"{seed}/{name}".encode()).hexdigest()[:8], 16) / 2**32 < share for name in set(names)}
    return np.array([drawn[name] for name in names], bool)


def _group(path: Location, number: int, chosen: Bool[np.ndarray, "n"]) -> Group:
    rows: Int64[np.ndarray, "m"] = np.flatnonzero(chosen)
    return Group(path=path, number=number, rows=tuple(rows.tolist()))


def _own(cell: Any) -> Any:
    """The cell itself, or a copy of an array: who changes a row must not change it for the next time."""
    return cell.copy() if isinstance(cell, np.ndarray) else cell
