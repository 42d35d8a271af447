"""Rows of a manifest for training: shuffled, shared among ranks and workers, resumable at any row.

Pictures stay encoded; whoever builds the batch decodes them. The order is that of `row_order.py`. The only module
here that imports torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from h2d.errors import UserError
from h2d.manifests.cells import Cells, read_cells
from h2d.manifests.io import Location
from h2d.manifests.row_order import (
    Reader,
    Span,
    Uneven,
    buffer_order,
    buffers,
    group_order,
    rows_given,
    rows_of_rank,
    rows_of_worker,
    spans,
)
from h2d.manifests.schema import TABLES
from h2d.manifests.store import Manifest, open_part

BUFFER_ROWS: Final = 1024
"""Our choice: 30 to 80 MB of pictures a worker."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    path: Location
    number: int
    num_rows: int


class ManifestRows(IterableDataset[Row]):
    """The rows of a table as mappings of the columns asked for, one epoch at each iteration.

    Points come as float32 arrays (p, 3), boxes as (4,), pictures as their encoded bytes, all else as plain values.
    Without a `seed` the order is the table's. Iterated in this process it keeps its own place; under a `DataLoader`
    with workers `RowLoader` keeps it.
    """

    def __init__(
        self,
        manifest: Manifest,
        table: str,
        *,
        columns: Sequence[str],
        split: str | None = None,
        seed: int | None = 0,
        rank: int = 0,
        num_ranks: int = 1,
        uneven: Uneven = "keep",
        batch_size: int = 1,
        buffer_rows: int = BUFFER_ROWS,
    ) -> None:
        if table not in TABLES:
            raise UserError(f"unknown table {table!r}: choose one of {', '.join(TABLES)}")
        self.columns = tuple(columns)
        for name in self.columns:
            if name not in TABLES[table].names:
                choices = ", ".join(TABLES[table].names)
                raise UserError(f"table {table} has no column {name!r}: choose from {choices}")
        if buffer_rows < 1:
            raise UserError(f"buffer_rows {buffer_rows}: give at least 1")
        self._groups = _groups(manifest, table, split)
        if not self._groups:
            has = ", ".join(manifest.splits(table)) or "none"
            raise UserError(f"{manifest.root}: no rows of {table} in split {split!r}: it has {has}")
        self._sizes = np.array([group.num_rows for group in self._groups], np.int64)
        self._reader = Reader(rank=rank, num_ranks=num_ranks, batch_size=batch_size)
        self._uneven: Uneven = uneven
        self._stretch = rows_of_rank(int(self._sizes.sum()), self._reader, uneven)
        self._buffer_rows = buffer_rows
        self.seed = seed
        self.epoch = 0
        self.taken = 0

    def __len__(self) -> int:
        """Rows of this rank in an epoch."""
        return len(self._stretch)

    @property
    def batch_size(self) -> int:
        """The rows that a worker gives in turn."""
        return self._reader.batch_size

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: plain numbers and words, for a checkpoint."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "taken": self.taken,
            "num_rows": int(self._sizes.sum()),
            "num_groups": len(self._groups),
            "num_ranks": self._reader.num_ranks,
            "uneven": self._uneven,
            "buffer_rows": self._buffer_rows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a place; raises `UserError` when the order would be another than the one it was taken in."""
        _check_same({**self.state_dict(), "epoch": None, "taken": None}, {**state, "epoch": None, "taken": None})
        self.epoch, self.taken = int(state["epoch"]), int(state["taken"])

    def __iter__(self) -> Iterator[Row]:
        info = get_worker_info()
        if info is not None:
            # A DataLoader asks its worker 0 first, so that one takes the part of the worker whose turn it is.
            turn = self.taken // self.batch_size
            worker = (info.id + turn) % info.num_workers
            yield from self._rows(replace(self._reader, worker=worker, num_workers=info.num_workers))
            return
        for row in self._rows(self._reader):
            self.taken += 1
            yield row
        self.end_epoch()

    def end_epoch(self) -> None:
        """Stand at the start of the next epoch."""
        self.epoch, self.taken = self.epoch + 1, 0

    def _rows(self, reader: Reader) -> Iterator[Row]:
        stretch = rows_of_worker(self._stretch, reader)
        skip = rows_given(self.taken, reader)
        epoch, first = self.epoch, stretch.start
        pieces = spans(self._sizes, group_order(len(self._groups), self.seed, epoch), stretch)
        for buffer in buffers(pieces, self._buffer_rows):
            count = sum(piece.stop - piece.start for piece in buffer)
            if skip < count:
                columns = self._read(buffer)
                for row in buffer_order(count, self.seed, epoch, first)[skip:].tolist():
                    yield {name: values[row] for name, values in columns.items()}
            skip = max(0, skip - count)
            first += count

    def _read(self, buffer: Sequence[Span]) -> dict[str, Cells]:
        """The columns of a buffer's rows."""
        parts = []
        opened: dict[Location, pq.ParquetFile] = {}
        try:
            for piece in buffer:
                group = self._groups[piece.group]
                if group.path not in opened:
                    opened[group.path] = open_part(group.path)
                cells = read_cells(opened[group.path], group.path, group.number, self.columns)
                parts.append({name: values[piece.start : piece.stop] for name, values in cells.items()})
        finally:
            for file in opened.values():
                file.close()
        return {name: _joined([part[name] for part in parts]) for name in self.columns}


class RowLoader:
    """A `DataLoader` over `ManifestRows` in batches, whose place can be saved and gone back to.

    Each iteration is an epoch, or the rest of one. `collate` makes a batch of a list of rows, in the worker. The order
    depends on `batch_size` and `num_workers`: a place is only good for the same numbers.
    """

    def __init__(
        self,
        rows: ManifestRows,
        *,
        collate: Callable[[list[Row]], Any],
        num_workers: int = 0,
        drop_last: bool = False,
        pin_memory: bool = False,
    ) -> None:
        self.rows = rows
        self._num_workers = num_workers
        self._drop_last = drop_last
        self._loader: DataLoader[Row] = DataLoader(
            rows,
            batch_size=rows.batch_size,
            num_workers=num_workers,
            collate_fn=collate,
            drop_last=drop_last,
            pin_memory=pin_memory,
            generator=torch.Generator().manual_seed(0),  # else each epoch would move the global one
        )

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch."""
        return len(self.rows) // self.rows.batch_size if self._drop_last else -(-len(self.rows) // self.rows.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, after the last batch that it gave."""
        return {**self.rows.state_dict(), **self._numbers()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a place; raises `UserError` when the order would be another than the one it was taken in."""
        if state["taken"]:
            _check_same(self._numbers(), {name: state.get(name) for name in self._numbers()})
        self.rows.load_state_dict({name: value for name, value in state.items() if name not in self._numbers()})

    def __iter__(self) -> Iterator[Any]:
        epoch, first = self.rows.epoch, self.rows.taken
        num_taken = first
        for batch in self._loader:
            num_taken = min(num_taken + self.rows.batch_size, len(self.rows))
            self.rows.epoch, self.rows.taken = epoch, num_taken
            yield batch
        self.rows.epoch, self.rows.taken = epoch + 1, 0

    def _numbers(self) -> dict[str, int]:
        return {"batch_size": self.rows.batch_size, "num_workers": self._num_workers}


def _groups(manifest: Manifest, table: str, split: str | None) -> list[_Group]:
    groups = []
    for path in manifest.parts(table, split):
        with open_part(path) as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        groups += [_Group(path=path, number=number, num_rows=size) for number, size in enumerate(sizes) if size]
    return groups


def _joined(parts: Sequence[Cells]) -> Cells:
    """A column's cells out of several row groups."""
    if isinstance(parts[0], np.ndarray):
        array: Float32[np.ndarray, "_ ..."] = np.concatenate(parts)
        return array
    return [value for part in parts for value in part]


def _check_same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise UserError(
                f"the place in the data was saved with {name} {theirs.get(name)!r}, now it is {value!r}: "
                "go on with the same data and numbers, or start the epoch anew"
            )
