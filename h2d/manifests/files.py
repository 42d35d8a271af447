"""Files written so that one that exists is whole: temporary name beside it, fsync, rename."""

import json
import os
import socket
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from h2d.errors import UserError
from h2d.manifests.io import Location, open_parquet
from h2d.manifests.schema import SCHEMA_VERSION

ROWS_PER_GROUP: Final = 128
"""7 to 15 MB of pictures: one random row is read in a few milliseconds."""

Compression: TypeAlias = Literal["ZSTD", "LZ4"]

TEMPORARY: Final = ".tmp-"
"""In the name of every file that is not finished; no reader matches it."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on leaving without an error it is fsynced and takes the name `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def refuse_unwritable(folder: Path) -> None:
    """Make a folder; raises `UserError` where that cannot be done or no file can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"{folder}: no folder that can be written into: {reason}: give another --out") from None


def write_text(path: Location, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Location, data: Any) -> None:
    """Write a file atomically: a store gets it in one request, a disk by way of a temporary name."""
    if not isinstance(path, Path):
        path.write_bytes(data)
        return
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Location, value: Any) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_parquet(path: Location, table: pa.Table, *, compression: Compression = "ZSTD") -> None:
    """Write a table atomically; encoded pictures uncompressed and without a dictionary.

    LZ4 takes a third less time than ZSTD, and more room for text: for what is read back soon.
    """
    write_parquet_blocks(path, table.schema, [table], compression=compression)


def write_parquet_blocks(
    path: Location,
    schema: pa.Schema,
    blocks: Iterable[pa.Table],
    *,
    rows_per_group: int = ROWS_PER_GROUP,
    compression: Compression = "ZSTD",
) -> None:
    """As `write_parquet`, from tables of any size that come one after another; a store gets them in one request."""
    if isinstance(path, Path):
        with written_whole(path) as temporary:
            _write_blocks(_writer(temporary, schema, compression), blocks, rows_per_group)
        return
    buffer = pa.BufferOutputStream()
    _write_blocks(_writer(buffer, schema, compression), blocks, rows_per_group)
    path.write_bytes(buffer.getvalue())


def _writer(target: Any, schema: pa.Schema, compression: Compression) -> pq.ParquetWriter:
    leaves = _leaf_columns(schema.remove_metadata())
    return pq.ParquetWriter(
        target,
        schema,
        compression={leaf: "NONE" if leaf in leaves.pictures else compression for leaf in leaves.all},
        use_dictionary=leaves.repeated,
        write_statistics=leaves.repeated,
    )


def _write_blocks(writer: pq.ParquetWriter, blocks: Iterable[pa.Table], rows_per_group: int) -> None:
    waiting: list[pa.Table] = []
    with writer:
        for block in blocks:
            waiting.append(block)
            num_rows = sum(map(len, waiting))
            if num_rows >= rows_per_group:
                rows, whole = pa.concat_tables(waiting), num_rows - num_rows % rows_per_group
                writer.write_table(rows.slice(0, whole), row_group_size=rows_per_group)
                waiting = [rows.slice(whole)] if whole < num_rows else []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=rows_per_group)


def read_facts(path: Location) -> dict[str, Any]:
    """What the file says of itself under the key `h2d`; raises `UserError` if it is not ours or newer than we are."""
    try:
        with open_parquet(path) as file:
            metadata = file.schema_arrow.metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a whole Parquet file ({' '.join(str(error).split())})") from None
    if b"h2d" not in metadata:
        raise UserError(f"{path}: not written by h2d: its schema has no 'h2d' metadata")
    facts: dict[str, Any] = json.loads(metadata[b"h2d"])
    refuse_newer(path, str(facts.get("schema_version", "0")))
    return facts


def refuse_newer(path: Location, version: str) -> None:
    """Raise `UserError` when a file's schema has a newer major version than this h2d reads."""
    if int(version.split(".")[0]) > int(SCHEMA_VERSION.split(".")[0]):
        raise UserError(f"{path}: schema version {version} is newer than {SCHEMA_VERSION}, which this is: upgrade h2d")


@lru_cache
def _leaf_columns(schema: pa.Schema) -> "_Leaves":
    """How each column within columns is written; asked of an empty file, for only Parquet knows their paths."""
    buffer = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), buffer)
    leaves = pq.ParquetFile(pa.BufferReader(buffer.getvalue())).schema
    columns = [leaves.column(index) for index in range(len(leaves))]
    is_raw = [column.physical_type == "BYTE_ARRAY" and column.logical_type.type == "NONE" for column in columns]
    return _Leaves(
        all=[column.path for column in columns],
        pictures=[column.path for column, raw in zip(columns, is_raw, strict=True) if raw],
        repeated=[
            column.path
            for column, raw in zip(columns, is_raw, strict=True)
            if not raw and column.physical_type not in ("FLOAT", "DOUBLE")
        ],
    )


class _Leaves(NamedTuple):
    all: list[str]
    pictures: list[str]
    """Nothing makes encoded pictures smaller."""
    repeated: list[str]
    """Those with a dictionary and statistics: neither pictures nor coordinates, of which no two are alike."""
