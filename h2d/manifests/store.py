"""A manifest's folder, opened: its facts, its tables read lazily, single rows by name.

On disk: `<root>/<table>/<split>/part-NNNNN.parquet`, `<root>/unmatched.parquet`, and `<root>/manifest.json`, written
last. The folders are named plainly, not `split=train`: readers that know that custom would add a second column
`split`, of another type than the one in the files, and refuse the table.
Axis legend: n rows, p points.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32

from h2d.errors import UserError
from h2d.manifests.files import refuse_newer
from h2d.manifests.io import Location, open_parquet
from h2d.manifests.schema import TABLES

T = TypeVar("T")

MANIFEST_FILE: Final = "manifest.json"
UNMATCHED_FILE: Final = "unmatched.parquet"
_MAX_COMPARED: Final = 5000
"""Comparing names letter by letter is slow: an unknown name is compared with so many at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a row lies."""

    path: Location
    group: int
    row: int


def part_path(root: Location, table: str, split: str, number: int) -> Location:
    """The file of one part of a table."""
    assert table in TABLES, table
    return root / table / split / f"part-{number:05d}.parquet"


class Manifest:
    """A manifest on disk, opened for reading; raises `UserError` where there is none that this version can read."""

    def __init__(self, root: Location) -> None:
        self.root = root
        self.facts: dict[str, Any] = _read_manifest_file(root)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    @property
    def counts(self) -> dict[str, int]:
        """Rows by table, and `indexed`, as merge counted them."""
        return dict(self.facts["counts"])

    def parts(self, table: str, split: str | None = None) -> list[Location]:
        """The table's files in order; none when it has no rows."""
        assert table in TABLES, table
        return sorted((self.root / table).glob(f"{split or '*'}/part-*.parquet"))

    def splits(self, table: str) -> list[str]:
        """The splits in which the table has rows: train, val, test, then others by name."""
        names = {path.parent.name for path in self.parts(table)}
        usual = [name for name in ("train", "val", "test") if name in names]
        return usual + sorted(names - set(usual))

    def table(self, table: str, columns: Sequence[str] | None = None, split: str | None = None) -> pa.Table:
        """The whole table, or some of its columns, in memory; leave `image` out of a large one."""
        groups = [rows for _, rows in self.row_groups(table, columns, split)]
        if groups:
            return pa.concat_tables(groups)
        schema = TABLES[table].remove_metadata()
        fields = schema if columns is None else [_field(schema, table, name) for name in columns]
        return pa.schema(fields).empty_table()

    def row_groups(
        self, table: str, columns: Sequence[str] | None = None, split: str | None = None
    ) -> Iterator[tuple[Place, pa.Table]]:
        """Read row group by row group: the place of its first row, and its rows."""
        for path in self.parts(table, split):
            with open_part(path) as file:
                for name in columns or ():
                    _field(file.schema_arrow, table, name)
                for group in range(file.num_row_groups):
                    rows = read_group(file, path, group, columns)
                    yield Place(path=path, group=group, row=0), rows.replace_schema_metadata(None)

    def files(
        self, table: str, columns: Sequence[str], split: str | None = None
    ) -> Iterator[tuple[Location, pa.Table]]:
        """Read file by file; leave `image` out."""
        for path in self.parts(table, split):
            with open_part(path) as file:
                for name in columns:
                    _field(file.schema_arrow, table, name)
                yield path, _read(path, lambda: file.read(list(columns))).replace_schema_metadata(None)

    def num_rows(self, table: str, split: str | None = None) -> int:
        """Rows by the files' own word."""
        return sum(sum(sizes) for _, sizes in self._group_sizes(table, split))

    def places(self, table: str, numbers: Iterable[int]) -> dict[int, Place]:
        """Where rows lie that are known by their number in the table's order."""
        wanted = sorted(set(numbers))
        found: dict[int, Place] = {}
        first = 0
        for path, sizes in self._group_sizes(table):
            for group, size in enumerate(sizes):
                while len(found) < len(wanted) and wanted[len(found)] < first + size:
                    number = wanted[len(found)]
                    found[number] = Place(path=path, group=group, row=number - first)
                first += size
        return found

    def at(self, place: Place, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """One row as plain values; of its row group nothing is read that comes after it."""
        chosen = None if columns is None else list(columns)
        with open_part(place.path) as file:
            rows = file.iter_batches(place.row + 1, [place.group], columns=chosen, use_threads=False)
            row = _read(place.path, lambda: next(rows)).slice(place.row, 1)
        values: dict[str, Any] = row.to_pylist()[0]
        return values

    def row(self, name: str, table: str = "images") -> dict[str, Any]:
        """One row by its id or an ending of it that no other id has; raises `UserError` with the nearest names."""
        return self.at(self.find(name, table))

    def find(self, name: str, table: str = "images") -> Place:
        """Where the row lies whose id is `name` or, alone, ends with it; raises `UserError` with the nearest names."""
        endings = [
            (ids[row].as_py(), Place(path=place.path, group=place.group, row=row))
            for place, ids in self._ids(table)
            for row in pc.indices_nonzero(pc.ends_with(ids, name)).to_pylist()
        ]
        whole_name = [place for text, place in endings if text == name]
        whole_parts = [place for text, place in endings if text.endswith(f"/{name}")]
        for found in (whole_name, whole_parts, [place for _, place in endings]):
            if len(found) == 1:
                return found[0]
        raise UserError(self._why_not(name, table))

    def hands_of(self, image_id: str) -> list[dict[str, Any]]:
        """The rows of `hands` that were cut from a picture."""
        rows = []
        for place, part in self.row_groups("hands", ["image_id"]):
            for row in pc.indices_nonzero(pc.equal(part["image_id"].combine_chunks(), image_id)).to_pylist():
                rows.append(self.at(Place(path=place.path, group=place.group, row=row)))
        return rows

    @cached_property
    def unmatched(self) -> pa.Table:
        """What was found amiss in the dataset itself: kind, split, name."""
        path = self.root / UNMATCHED_FILE
        if not path.exists():
            return pa.table({name: pa.array([], pa.string()) for name in ("kind", "split", "name")})
        with open_part(path) as file:
            return _read(path, file.read)

    def findings(self) -> Iterator[pa.Table]:
        """As `unmatched`, some thousand rows at a time."""
        path = self.root / UNMATCHED_FILE
        if path.exists():
            with open_part(path) as file:
                for group in range(file.num_row_groups):
                    yield read_group(file, path, group)

    def _group_sizes(self, table: str, split: str | None = None) -> Iterator[tuple[Location, list[int]]]:
        for path in self.parts(table, split):
            with open_part(path) as file:
                yield path, [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]

    def _ids(self, table: str) -> Iterator[tuple[Place, pa.Array]]:
        for place, part in self.row_groups(table, ["id"]):
            yield place, part["id"].combine_chunks()

    def _why_not(self, name: str, table: str) -> str:
        ids: list[str] = self.table(table, ["id"])["id"].to_pylist()
        endings = [text for text in ids if text.endswith(name)]
        if endings:
            return f"{name!r} fits {len(endings)} rows of {table} in {self.root}: give more of it: {_first(endings)}"
        if table == "images":
            for place, rejected in self._ids("rejects"):
                for row in pc.indices_nonzero(pc.ends_with(rejected, name)).to_pylist():
                    reject = self.at(Place(path=place.path, group=place.group, row=row))
                    return f"{reject['id']} was left out at stage {reject['stage']}: {reject['reason']}"
        part = name.rsplit("/", 1)[-1]
        candidates = [text for text in ids if part in text] or [text for text in ids if f"/{part[:4]}" in text] or ids
        nearest = difflib.get_close_matches(name, candidates[:_MAX_COMPARED], n=3, cutoff=0.0)
        near = f"nearest: {_first(nearest)}" if nearest else "it has no rows"
        return f"{name!r}: no such row of {table} in {self.root}; {near}"


def points_array(column: pa.ChunkedArray | pa.Array) -> Float32[np.ndarray, "n p 3"]:
    """A column of fixed-size lists of x, y, confidence as one array."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = array.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(len(array), array.type.list_size // 3, 3)


def points_of(values: Sequence[float]) -> Float32[np.ndarray, "p 3"]:
    """The points of one row."""
    return np.asarray(values, np.float32).reshape(-1, 3)


def open_part(path: Location) -> pq.ParquetFile:
    """Open one Parquet file; raises `UserError` when it is not whole."""
    return _read(path, lambda: open_parquet(path))


def read_group(file: pq.ParquetFile, path: Location, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one row group; raises `UserError` when it is damaged."""
    return _read(path, lambda: file.read_row_group(group, columns=None if columns is None else list(columns)))


def _read(path: Location, read: Callable[[], T]) -> T:
    try:
        return read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{path}: damaged or cut short: {' '.join(str(error).split())}: prepare it again") from None


def _read_manifest_file(root: Location) -> dict[str, Any]:
    path = root / MANIFEST_FILE
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: give that of a manifest that h2d prepare or h2d synth manifest made")
    if not path.is_file():
        raise UserError(f"{root}: not a finished manifest, it has no {MANIFEST_FILE}: finish it by `h2d prepare`")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, counts = str(facts["schema_version"]), facts["counts"]
        counted = {name: int(counts[name]) for name in ("indexed", *TABLES)}
        refuse_newer(path, version)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({type(error).__name__}: {error}): prepare the manifest again") from None
    return {**facts, "counts": {**counts, **counted}}


def _field(schema: pa.Schema, table: str, name: str) -> pa.Field:
    if name not in schema.names:
        raise UserError(f"table {table} has no column {name!r}: choose from {', '.join(schema.names)}")
    return schema.field(name)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
