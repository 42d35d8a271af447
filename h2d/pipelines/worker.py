"""What a worker does with a shard: read its rows, run a stage over them, write one part.

A picture that cannot be worked on becomes a row that says why; the shard goes on.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from h2d.errors import JobError, UserError
from h2d.images import DecodeError
from h2d.manifests.io import Location, open_parquet
from h2d.pipelines.parts import STATUS_COLUMNS, Tally, is_done, part_folder, read_tally, write_part
from h2d.pipelines.plan import Shard, read_index
from h2d.pipelines.stages.base import Row, Stage
from h2d.pose.points import missing_points

logger = logging.getLogger(__name__)

OnPictures: TypeAlias = Callable[[Tally], None]
"""Told of pictures as they are worked on, before their shard is written."""

MESSAGE_LENGTH: Final = 200
NUM_ATTEMPTS: Final = 2
_FATAL: Final = (UserError, JobError, MemoryError, pa.ArrowInvalid)


@runtime_checkable
class Job(Protocol):
    """Something done shard by shard; picklable before `setup`."""

    @property
    def name(self) -> str:
        """For progress and messages."""

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

    def setup(self) -> None:
        """Load weights; once per worker process."""

    def run(self, shard: Shard, on_pictures: OnPictures) -> Tally:
        """Do one shard and commit its result."""

    def close(self) -> None:
        """Give back what `setup` took."""


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """A stage over the shards of one folder."""

    stage: Stage
    work: Location
    fingerprint: str
    inputs: Mapping[str, str]
    """Stage name -> fingerprint of the parts that it reads."""

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
        return is_done(self._part(shard), shard)

    def tally(self, shard: Shard) -> Tally:
        """Count the part's rows."""
        return read_tally(self._part(shard))

    def setup(self) -> None:
        """Set the stage up."""
        self.stage.setup()

    def close(self) -> None:
        """Close the stage."""
        self.stage.close()

    def run(self, shard: Shard, on_pictures: OnPictures) -> Tally:
        """Work through the shard's pictures and commit its part."""
        results: list[dict[str, Any]] = []
        for batch in _batches(joined_rows(self.work, shard, self.inputs), self.stage.batch_size):
            done = self._attempt(batch)
            results.extend(done)
            on_pictures(_tally(done))
        schema = pa.schema([*STATUS_COLUMNS, *self.stage.schema])
        return write_part(self._part(shard), _table(results, schema), shard)

    def _part(self, shard: Shard) -> Location:
        return part_folder(self.work, self.stage.name, self.fingerprint) / shard.file_name

    def _attempt(self, batch: Sequence[Row]) -> list[dict[str, Any]]:
        """Results in order: blocked rows as such, the rest in one call, and one by one if that call raises."""
        ready = [row for row in batch if self._blocker(row) is None]
        answers: Iterator[dict[str, Any]]
        try:
            answers = iter([_ok(row, columns) for row, columns in zip(ready, self.stage.process(ready), strict=True)])
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a picture does to an annotator is that picture's result
            logger.info("%s: a batch of %d failed (%s), trying one by one", self.name, len(ready), error)
            answers = iter([self._attempt_one(row) for row in ready])
        return [_blocked(row) if self._blocker(row) else next(answers) for row in batch]

    def _attempt_one(self, row: Row) -> dict[str, Any]:
        for attempt in range(1, NUM_ATTEMPTS + 1):
            try:
                return _ok(row, self.stage.process([row])[0], attempts=attempt)
            except _FATAL:
                raise
            except (DecodeError, FileNotFoundError) as error:
                return _failed(row, "decode", error, attempts=attempt)
            except Exception as error:  # noqa: BLE001  # recorded with its class and message below
                failure = error
        return _failed(row, type(failure).__name__, failure, attempts=NUM_ATTEMPTS)

    def _blocker(self, row: Row) -> str | None:
        return next((name for name in self.inputs if row[name]["status"] != "ok"), None)


def joined_rows(work: Location, shard: Shard, inputs: Mapping[str, str]) -> Iterator[Row]:
    """The shard's index rows, each with the columns of the stages that are read; a few rows in memory at a time."""
    streams = {name: _stream(part_folder(work, name, mark) / shard.file_name) for name, mark in inputs.items()}
    for record in read_index(work, shard):
        row = {**record, **{name: next(stream) for name, stream in streams.items()}}
        assert all(row[name]["id"] == row["id"] for name in streams), "a part is not aligned with the index"
        yield row


def _stream(part: Location) -> Iterator[dict[str, Any]]:
    with open_parquet(part) as file:
        for batch in file.iter_batches(batch_size=64):
            columns = [_values(column) for column in batch.columns]
            for values in zip(*columns, strict=True):
                yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """A column's cells; points as rows of one array, which a Python number each would cost more than all the rest."""
    if pa.types.is_fixed_size_list(column.type) and not column.null_count:
        return list(column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size))
    cells: list[Any] = column.to_pylist()
    return cells


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _ok(row: Row, columns: Mapping[str, Any], *, attempts: int = 1) -> dict[str, Any]:
    return {"id": row["id"], "status": "ok", "reason": None, "message": None, "attempts": attempts, **columns}


def _blocked(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "status": "blocked", "reason": None, "message": None, "attempts": 0}


def _failed(row: Row, reason: str, error: Exception, *, attempts: int) -> dict[str, Any]:
    message = " ".join(str(error).split())[:MESSAGE_LENGTH]
    return {"id": row["id"], "status": "error", "reason": reason, "message": message, "attempts": attempts}


def _tally(results: Sequence[Mapping[str, Any]]) -> Tally:
    return Tally(
        statuses=Counter(row["status"] for row in results),
        reasons=Counter(row["reason"] for row in results if row["reason"] is not None),
    )


def _table(results: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([_cell(row, field) for row in results], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _cell(row: Mapping[str, Any], field: pa.Field) -> Any:
    """A failed row's cell: null, or NaN points where the column cannot be null."""
    value = row.get(field.name)
    if value is None and not field.nullable:
        return missing_points(field.type.list_size // 3).ravel()
    return value
