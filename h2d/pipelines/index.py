"""The index: a source's records as columns, what a hash over them notices, and rows put in order on disk.

A million records are more than should lie in memory beside the work, so they are sorted in runs that fit, and the
runs are merged block by block.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from h2d.pipelines.sources.base import Record
from h2d.pose.layouts import SIDES

INDEX: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        ("gesture", pa.string()),
        ("subject", pa.string()),
        ("boxes_xywh", pa.list_(pa.list_(pa.float32()))),
        ("box_labels", pa.list_(pa.string())),
        ("box_landmarks", pa.list_(pa.list_(pa.float32()))),
        ("mask_path", pa.string()),
        ("pose_path", pa.string()),
        ("original_caption", pa.string()),
        ("given_left", pa.list_(pa.float32())),
        ("given_right", pa.list_(pa.float32())),
        ("mesh_left", pa.string()),
        ("mesh_right", pa.string()),
        ("camera", pa.list_(pa.float64())),
        ("stated_size_hw", pa.list_(pa.int32())),
    ]
)

ROWS_PER_RUN: Final = 16384
"""Sorted in memory at once: some 20 MB of records."""
ROWS_PER_BLOCK: Final = 512

BY_ID: Final = ("split", "id")
"""The order of pictures."""


def index_table(records: Sequence[Record]) -> pa.Table:
    """Records as columns, in the order given."""
    columns = {
        "id": [record.id for record in records],
        "split": [record.split for record in records],
        "path": [record.path for record in records],
        "size_bytes": [record.size_bytes for record in records],
        "gesture": [record.gesture for record in records],
        "subject": [record.subject for record in records],
        "boxes_xywh": [record.boxes_xywh.tolist() for record in records],
        "box_labels": [list(record.box_labels) for record in records],
        "box_landmarks": [
            [None if points is None else points.ravel().tolist() for points in record.box_landmarks]
            for record in records
        ],
        "mask_path": [record.mask_path for record in records],
        "pose_path": [record.pose_path for record in records],
        "original_caption": [record.original_caption for record in records],
        **{
            f"given_{side}": [record.hands[side].ravel() if side in record.hands else None for record in records]
            for side in SIDES
        },
        **{f"mesh_{side}": [record.meshes.get(side) for record in records] for side in SIDES},
        "camera": [record.camera.numbers() if record.camera else None for record in records],
        "stated_size_hw": [record.stated_size_hw for record in records],
    }
    return pa.table(columns, schema=INDEX)


def digest(rows: pa.Table) -> str:
    """A hash over everything that a stage may read of the records; the same however the columns are chunked."""
    hashed = hashlib.sha256()
    for name in INDEX.names:
        for values in _plain_arrays(rows[name].combine_chunks()):
            hashed.update(len(values).to_bytes(8, "little"))
            hashed.update(values)
    return hashed.hexdigest()


class SortedRows:
    """Rows in any order in, rows in order out, as often as asked; beyond one run they lie in a nameless file."""

    def __init__(self, schema: pa.Schema = INDEX, order: Sequence[str] = BY_ID) -> None:
        self.num_rows = 0
        self._schema = schema
        self._order = tuple(order)
        self._waiting: list[pa.Table] = []
        self._num_waiting = 0
        self._file: tuple[pa.OSFile, pa.OSFile] | None = None
        self._runs: list[list[tuple[int, int]]] = []
        """Of each run the blocks, as offset and length in the file."""

    def add(self, rows: pa.Table) -> None:
        """Take more rows."""
        self._waiting.append(rows)
        self._num_waiting += len(rows)
        self.num_rows += len(rows)
        if self._num_waiting >= ROWS_PER_RUN:
            self._spill()

    def blocks(self) -> Iterator[pa.Table]:
        """All rows in order, a few hundred at a time; no row may be added meanwhile."""
        yield from merge_sorted([*(self._read(run) for run in self._runs), _sliced(self._sorted())], self._order)

    def _sorted(self) -> pa.Table:
        waiting = pa.concat_tables([self._schema.empty_table(), *self._waiting])
        return waiting.sort_by([(name, "ascending") for name in self._order])

    def _spill(self) -> None:
        rows = self._sorted().combine_chunks()
        self._waiting, self._num_waiting = [], 0
        writer, _ = self._file = self._file or _nameless_file()
        run = []
        for block in _sliced(rows):
            data = block.combine_chunks().to_batches()[0].serialize()
            run.append((writer.tell(), data.size))
            writer.write(data)
        writer.flush()
        self._runs.append(run)

    def _read(self, run: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
        assert self._file is not None
        for offset, length in run:
            data = self._file[1].read_at(length, offset)
            yield pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(data), self._schema)])


class _Head(NamedTuple):
    """The rows of a stream that come next."""

    stream: Iterator[pa.Table]
    rows: pa.Table
    first: tuple[str, ...]
    last: tuple[str, ...]


def merge_sorted(streams: Iterable[Iterator[pa.Table]], order: Sequence[str] = BY_ID) -> Iterator[pa.Table]:
    """One sorted stream out of several; rows that are equal in `order` come in one block, in the order of the streams.

    The columns of `order` are text.
    """
    heads = [head for stream in streams if (head := _next_head(stream, order)) is not None]
    while heads:
        bound = min(head.last for head in heads)
        taken, left = [], []
        for head in heads:
            if head.first > bound:
                left.append(head)
                continue
            count = len(head.rows) if head.last == bound else _num_up_to(head.rows, bound, order)
            taken.append(head.rows.slice(0, count))
            rest = _head(head.stream, head.rows.slice(count), order) if count < len(head.rows) else None
            follower = rest or _next_head(head.stream, order)
            if follower is not None:
                left.append(follower)
        heads = left
        yield _in_order(taken, order) if len(taken) > 1 else taken[0]


def _next_head(stream: Iterator[pa.Table], order: Sequence[str]) -> _Head | None:
    return next((_head(stream, rows, order) for rows in stream if len(rows)), None)


def _head(stream: Iterator[pa.Table], rows: pa.Table, order: Sequence[str]) -> _Head:
    first, last = (tuple(rows[name][row].as_py() for name in order) for row in (0, -1))
    return _Head(stream=stream, rows=rows, first=first, last=last)


def _in_order(tables: Sequence[pa.Table], order: Sequence[str]) -> pa.Table:
    stream = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    rows = pa.concat_tables(tables).append_column("stream", pa.array(stream))
    keys = [(name, "ascending") for name in (*order, "stream")]
    return rows.sort_by(keys).drop_columns("stream").combine_chunks()


def _num_up_to(rows: pa.Table, bound: Sequence[str], order: Sequence[str]) -> int:
    """How many of the rows come before the bound or are equal to it."""
    least = pa.scalar(True)
    for name, value in zip(reversed(order), reversed(bound), strict=True):
        least = pc.or_(pc.less(rows[name], value), pc.and_(pc.equal(rows[name], value), least))
    return int(pc.sum(least).as_py())


def _sliced(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        yield rows.slice(start, ROWS_PER_BLOCK)


def _nameless_file() -> tuple[pa.OSFile, pa.OSFile]:
    """A file to write and the same to read; gone from the disk when this process lets go of it."""
    handle, name = tempfile.mkstemp(prefix="h2d-index-")
    os.close(handle)
    try:
        return pa.OSFile(name, "wb"), pa.OSFile(name, "rb")
    finally:
        Path(name).unlink()


def _plain_arrays(array: pa.Array) -> Iterator[bytes]:
    """An array's nulls, lengths and values, level by level."""
    yield np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_list(array.type):
        yield array.value_lengths().fill_null(0).to_numpy().tobytes()
        yield from _plain_arrays(array.flatten())
    elif pa.types.is_string(array.type):
        yield pc.binary_length(array).fill_null(0).to_numpy().tobytes()
        yield "".join(array.fill_null("").to_pylist()).encode()
    else:
        yield array.fill_null(0).to_numpy().tobytes()
