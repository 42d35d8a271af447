"""What a worker does with a shard: read its rows, run a stage over them, write one part.

A picture that cannot be worked on becomes a row that says why; the shard goes on.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from h2d.manifests.io import Location, open_parquet
from h2d.pipelines.attempts import Attempts, Item
from h2d.pipelines.parts import STATUS_COLUMNS, is_done, part_folder, read_tally, set_aside, write_part
from h2d.pipelines.plan import Shard
from h2d.pipelines.stages.base import Row, Stage
from h2d.pose.points import missing_points
from h2d.supervision import job as supervision
from h2d.supervision.job import Care, OnBegin, OnPictures, Tally


@runtime_checkable
class Job(supervision.Job, Protocol):
    """Something done shard by shard, by a process or by many."""

    @property
    def needs_gpu(self) -> bool:
        """Whether each worker wants a GPU of its own."""

    @property
    def uses_all_cores(self) -> bool:
        """Whether one process keeps every core busy, so that more would only get in each other's way."""

    def is_done(self, shard: Shard) -> bool:
        """Whether the shard's result is there and whole."""

    def tally(self, shard: Shard) -> Tally:
        """Count the result of a shard that is done."""


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """A stage over the shards of one folder."""

    stage: Stage
    work: Location
    fingerprint: str
    inputs: Mapping[str, str]
    """Stage name -> fingerprint of the parts that it reads."""
    retry: frozenset[str] = frozenset()
    """Statuses that are tried once more in parts that were set aside for it."""
    attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attempts", Attempts(stage=self.stage))

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    @property
    def needs_gpu(self) -> bool:
        """The stage's."""
        return self.stage.needs_gpu

    @property
    def uses_all_cores(self) -> bool:
        """The stage's."""
        return self.stage.uses_all_cores

    def is_done(self, shard: Shard) -> bool:
        """Whether the part is there, whole, with a row per picture."""
        return is_done(self.part(shard), shard)

    def tally(self, shard: Shard) -> Tally:
        """Count the part's rows."""
        return read_tally(self.part(shard))

    def setup(self) -> None:
        """Set the stage up."""
        self.stage.setup()

    def close(self) -> None:
        """Close the stage."""
        self.stage.close()

    def run(self, shard: Shard, on_pictures: OnPictures, on_begin: OnBegin, care: Care) -> Tally:
        """Work through the shard's pictures and commit its part."""
        part = self.part(shard)
        earlier = _stream(set_aside(part)) if is_done(set_aside(part), shard) else repeat(None)
        items = (
            (Item(place=place, row=row, attempts_before=before["attempts"] if before else 0), before)
            for place, (row, before) in enumerate(
                zip(joined_rows(self.work, shard, self.stage, self.inputs), earlier, strict=False)
            )
        )
        results: list[dict[str, Any]] = []
        for batch in _batches(items, self.stage.batch_size, care.alone):
            known = [self._known(item, before, care) for item, before in batch]
            waiting = [item for (item, _), result in zip(batch, known, strict=True) if result is None]
            answers = iter(self.attempts.answer(waiting, on_begin))
            done = [next(answers) if result is None else result for result in known]
            results.extend(done)
            on_pictures(_tally(done))
        schema = pa.schema([*STATUS_COLUMNS, *self.stage.schema])
        tally = write_part(part, _table(results, schema), shard)
        set_aside(part).unlink(missing_ok=True)
        return tally

    def part(self, shard: Shard) -> Location:
        """Where the shard's part lies."""
        return part_folder(self.work, self.stage.name, self.fingerprint) / shard.file_name

    def _known(self, item: Item, before: Row | None, care: Care) -> dict[str, Any] | None:
        """The row of a picture that is not to be worked on."""
        if self._blocker(item.row) is not None:
            return _blocked(item.row)
        if before is not None and before["status"] not in {"blocked", *self.retry}:
            return dict(before)
        return item.failed(care.given_up[item.place]) if item.place in care.given_up else None

    def _blocker(self, row: Row) -> str | None:
        return next((name for name in self.inputs if row[name]["status"] != "ok"), None)


def joined_rows(work: Location, shard: Shard, stage: Stage, inputs: Mapping[str, str]) -> Iterator[Row]:
    """The shard's index rows, each with the columns of the stages that are read; a few rows in memory at a time."""
    streams = {
        name: _stream(part_folder(work, name, mark) / shard.file_name, ["id", "status", *stage.reads[name]])
        for name, mark in inputs.items()
    }
    for record in _stream(work / "index" / shard.file_name, ["id", *stage.index_columns]):
        row = {**record, **{name: next(stream) for name, stream in streams.items()}}
        assert all(row[name]["id"] == row["id"] for name in streams), "a part is not aligned with the index"
        yield row


def _stream(part: Location, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    with open_parquet(part) as file:
        for batch in file.iter_batches(batch_size=64, columns=columns):
            cells = [_values(column) for column in batch.columns]
            for values in zip(*cells, strict=True):
                yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """A column's cells; points as rows of one array, which a Python number each would cost more than all the rest."""
    if pa.types.is_fixed_size_list(column.type) and not column.null_count:
        return list(column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size))
    if pa.types.is_struct(column.type) and not column.null_count:
        names = [field.name for field in column.type]
        return [dict(zip(names, cells, strict=True)) for cells in zip(*map(_values, column.flatten()), strict=True)]
    if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
        inner = iter(_values(column.flatten()))
        lengths = column.value_lengths().to_pylist()
        return [None if length is None else list(islice(inner, length)) for length in lengths]
    cells: list[Any] = column.to_pylist()
    return cells


def _batches(
    items: Iterator[tuple[Item, Row | None]], size: int, alone: frozenset[int]
) -> Iterator[list[tuple[Item, Row | None]]]:
    batch: list[tuple[Item, Row | None]] = []
    for entry in items:
        if entry[0].place in alone:
            if batch:
                yield batch
            yield [entry]
            batch = []
            continue
        batch.append(entry)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _blocked(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "status": "blocked", "reason": None, "message": None, "attempts": 0}


def _tally(results: Sequence[Mapping[str, Any]]) -> Tally:
    return Tally(
        statuses=Counter(row["status"] for row in results),
        reasons=Counter(row["reason"] for row in results if row["reason"] is not None),
    )


def _table(results: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [_column([row.get(field.name) for row in results], field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """Cells as a column; a failed row's is null, or NaN points where the column cannot be null."""
    if field.nullable or not pa.types.is_fixed_size_list(field.type):
        return pa.array(values, field.type)
    missing = missing_points(field.type.list_size // 3).ravel()
    numbers = np.concatenate([missing, *(missing if value is None else value for value in values)], dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers[len(missing) :]), type=field.type)
