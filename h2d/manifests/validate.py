"""Whether a manifest is whole and means what it says: files, schemas, sums, names, then every row.

Reads row group by row group; in memory stay the ids alone. What the rows promise is in `row_checks.py`.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from h2d.errors import UserError
from h2d.manifests.files import read_facts
from h2d.manifests.io import Location, below
from h2d.manifests.row_checks import ROW_CHECKS
from h2d.manifests.schema import SCHEMA_VERSION, TABLES
from h2d.manifests.store import Manifest, open_part, read_group

MAX_PER_CHECK: Final = 20
"""Of one kind of problem so many are told one by one; the rest are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong."""

    check: str
    """The kind: "schema", "sum", "mask" ..."""
    where: str
    """The file below the manifest's folder, or the row's id."""
    message: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: {' '.join(self.message.split())}"


def validate(root: Location, source_root: Location | None = None) -> list[Problem]:
    """Everything that is wrong with a manifest, at most `MAX_PER_CHECK` of a kind and a count of the others.

    With `source_root`, the dataset's own folder, the originals are hashed too. Raises `UserError` where nothing can be
    checked: no folder, no manifest, or a newer one.
    """
    if source_root is not None and not source_root.is_dir():
        raise UserError(f"{source_root}: no such folder: give the dataset's root")
    manifest = Manifest(root)
    found = _Found()
    names = {table: _check_table(manifest, table, source_root, found) for table in TABLES}
    _check_sums(manifest, names, found)
    _check_names(names, found)
    return found.all()


class _Found:
    """Problems as they are found, a limited number of each kind."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(self, check: str, where: object, message: str) -> None:
        self._counts[check] += 1
        if self._counts[check] <= MAX_PER_CHECK:
            self._problems.append(Problem(check=check, where=str(where), message=message))

    def all(self) -> list[Problem]:
        more = [
            Problem(check=check, where="manifest", message=f"{count - MAX_PER_CHECK:,} more of this kind")
            for check, count in self._counts.items()
            if count > MAX_PER_CHECK
        ]
        return self._problems + more


def _check_table(manifest: Manifest, table: str, source_root: Location | None, found: _Found) -> pa.Table:
    """Check the files of a table and their rows; gives the columns that name rows."""
    naming = [name for name in ("id", "split", "image_id") if name in TABLES[table].names]
    schema = pa.schema([TABLES[table].field(name) for name in naming])
    names = [schema.empty_table()]
    for path in manifest.parts(table):
        where = path.relative_to(str(manifest.root)).as_posix()
        try:
            if not _check_schema(path, where, table, found):
                continue
            with open_part(path) as file:
                for group in range(file.num_row_groups):
                    rows = read_group(file, path, group)
                    names.append(rows.select(naming).cast(schema))
                    _check_rows(table, rows, path.parent.name, source_root, found)
        except UserError as error:
            found.add("whole", where, str(error).removeprefix(f"{path}: "))
    return pa.concat_tables(names).combine_chunks()


def _check_schema(path: Location, where: str, table: str, found: _Found) -> bool:
    """Whether the file's columns are ours; an older or newer minor version may lack or add some that may be null."""
    with open_part(path) as file:
        schema = file.schema_arrow
    version = _minor(read_facts(path)["schema_version"])
    ours = _minor(SCHEMA_VERSION)
    wrong = []
    for field in TABLES[table]:
        if field.name not in schema.names:
            if version < ours and field.nullable:
                continue
            wrong.append(f"column {field.name} is missing")
        elif schema.field(field.name).type != field.type:
            wrong.append(f"column {field.name} is {schema.field(field.name).type}, not {field.type}")
        elif schema.field(field.name).nullable != field.nullable:
            wrong.append(f"column {field.name} {'must' if field.nullable else 'must not'} allow nulls")
    if version == ours:
        wrong += [f"column {name} is not one of ours" for name in schema.names if name not in TABLES[table].names]
    for message in wrong:
        found.add("schema", where, message)
    return not wrong


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _check_rows(table: str, rows: pa.Table, folder: str, source_root: Location | None, found: _Found) -> None:
    ids = rows["id"].to_pylist()
    for row in pc.indices_nonzero(pc.not_equal(rows["split"], folder).combine_chunks()).to_pylist():
        found.add("split", ids[row], f"says split {rows['split'][row].as_py()!r} in the folder {folder!r}")
    for check in ROW_CHECKS[table]:
        check(rows, lambda name, row, message: found.add(name, ids[row], message))
    if table == "images" and source_root is not None:
        _check_originals(rows, source_root, found)


def _check_originals(rows: pa.Table, source_root: Location, found: _Found) -> None:
    for row in rows.select(["id", "source_path", "source_sha256"]).to_pylist():
        if row["source_path"] is None or row["source_sha256"] is None:
            continue
        path = below(source_root, row["source_path"])
        if not path.is_file():
            found.add("original", row["id"], f"{path} is not there")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != row["source_sha256"]:
            found.add("original", row["id"], f"{path} is another file now: its SHA-256 differs")


def _check_sums(manifest: Manifest, names: dict[str, pa.Table], found: _Found) -> None:
    counts = manifest.counts
    for table, rows in names.items():
        if rows.num_rows != counts[table]:
            found.add("sum", table, f"{rows.num_rows:,} rows, manifest.json counts {counts[table]:,}")
    accepted, rejected = names["images"].num_rows, names["rejects"].num_rows
    if accepted + rejected != counts["indexed"]:
        message = f"{accepted:,} accepted + {rejected:,} rejected is not {counts['indexed']:,} indexed"
        found.add("sum", "manifest", message)


def _check_names(names: dict[str, pa.Table], found: _Found) -> None:
    images, hands, rejects = (names[table] for table in ("images", "hands", "rejects"))
    for group in (images["id"].chunks + rejects["id"].chunks, hands["id"].chunks):
        for name, count in _repeated(group):
            found.add("unique", name, f"{count} rows have this id, in images and rejects together or in hands")
    at = pc.index_in(hands["image_id"], value_set=images["id"].combine_chunks())
    for row in pc.indices_nonzero(pc.is_null(at).combine_chunks()).to_pylist():
        found.add("image_id", hands["id"][row], f"there is no image {hands['image_id'][row].as_py()!r}")
    other = pc.not_equal(images["split"].take(at), hands["split"])
    for row in pc.indices_nonzero(pc.fill_null(other, False).combine_chunks()).to_pylist():
        found.add("split", hands["id"][row], "is in another split than its image")


def _repeated(chunks: Sequence[pa.Array]) -> list[tuple[str, int]]:
    counted = pc.value_counts(pa.chunked_array(chunks, pa.string()))
    repeated = counted.filter(pc.greater(counted.field("counts"), 1))
    return [(entry["values"], entry["counts"]) for entry in repeated.to_pylist()]
