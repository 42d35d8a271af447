"""A manifest made of rows of others: copied file by file, so that one file's rows are all that memory holds.

It is put together beside its place under a temporary name and renamed when it is whole.
"""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from h2d.errors import UserError
from h2d.manifests.card import write_card
from h2d.manifests.files import TEMPORARY, write_json, write_parquet
from h2d.manifests.report import write_report
from h2d.manifests.schema import SCHEMA_VERSION, TABLES, with_metadata
from h2d.manifests.store import MANIFEST_FILE, UNMATCHED_FILE, Manifest, open_part, part_path

ROWS_PER_FILE: Final = 512
_KEPT_FACTS: Final = ("source", "stages", "coordinate_spaces", "dilation_px_when_read")
_FINDINGS: Final = pa.schema([("kind", pa.string()), ("split", pa.string()), ("name", pa.string())])


@dataclass(kw_only=True)
class TableWriter:
    """Cuts rows into files, split by split."""

    root: Path
    table: str
    facts: Mapping[str, Any]
    counts: Counter[str] = field(default_factory=Counter)
    """Rows by split."""
    _waiting: dict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    _num_files: Counter[str] = field(default_factory=Counter)

    def add(self, split: str, rows: pa.Table) -> None:
        """Take rows, and write those that fill a file."""
        self.counts[split] += len(rows)
        self._waiting[split].append(as_current(rows, self.table))
        while sum(map(len, self._waiting[split])) >= ROWS_PER_FILE:
            waiting = pa.concat_tables(self._waiting[split])
            self._write(split, waiting.slice(0, ROWS_PER_FILE))
            self._waiting[split] = [waiting.slice(ROWS_PER_FILE)]

    def close(self) -> None:
        """Write what is left."""
        for split, waiting in self._waiting.items():
            if rows := sum(map(len, waiting)):
                assert rows < ROWS_PER_FILE
                self._write(split, pa.concat_tables(waiting))

    def _write(self, split: str, rows: pa.Table) -> None:
        schema = with_metadata(TABLES[self.table], {**self.facts, "table": self.table})
        path = part_path(self.root, self.table, split, self._num_files[split])
        assert isinstance(path, Path)
        write_parquet(path, rows.cast(schema))
        self._num_files[split] += 1


def as_current(rows: pa.Table, table: str) -> pa.Table:
    """The columns of this version, in its order; those that an older one lacks are null."""
    schema = TABLES[table].remove_metadata()
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


@contextmanager
def folder_made_whole(out: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the name `out` on leaving without an error.

    Raises `UserError` when something is there, or nothing can be written there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already: delete it, or give another --out")
    temporary = out.absolute().with_name(f".{out.name}{TEMPORARY}made")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{out}: cannot write here ({error.strerror}): choose another --out") from None
    try:
        yield temporary
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def facts_in_common(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """What all of them say alike; of sources and stages, what any says, a stage only where none says otherwise."""
    facts = {
        name: manifests[0].facts[name]
        for name in _KEPT_FACTS
        if all(name in one.facts and one.facts[name] == manifests[0].facts.get(name) for one in manifests)
    }
    stages: dict[str, Any] = {}
    for name in {name for one in manifests for name in one.facts.get("stages", {})}:
        said = [one.facts.get("stages", {}).get(name) for one in manifests]
        if all(stage == said[0] for stage in said):
            stages[name] = said[0]
    sources = dict.fromkeys(str(one.facts["source"]) for one in manifests)
    return {**facts, "source": " + ".join(sources), "stages": stages}


def finish(root: Path, writers: Iterable[TableWriter], facts: Mapping[str, Any], findings: pa.Table) -> dict[str, int]:
    """Write the findings, `manifest.json`, the card and the report; returns the counts."""
    by_table = {writer.table: writer for writer in writers}
    for writer in by_table.values():
        writer.close()
    counts = {table: sum(by_table[table].counts.values()) for table in TABLES}
    counts = {"indexed": counts["images"] + counts["rejects"], **counts}
    accepted, left_out = by_table["images"].counts, by_table["rejects"].counts
    write_parquet(root / UNMATCHED_FILE, findings.cast(_FINDINGS))
    write_json(
        root / MANIFEST_FILE,
        {
            "schema_version": SCHEMA_VERSION,
            **facts,
            "counts": counts,
            "splits": {
                split: {"indexed": accepted[split] + left_out[split], "images": accepted[split]}
                for split in sorted({*accepted, *left_out})
            },
            "reject_reasons": _reject_reasons(root),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )
    write_card(root)
    write_report(root)
    return counts


def _reject_reasons(root: Path) -> dict[str, int]:
    reasons: Counter[str] = Counter()
    for path in sorted((root / "rejects").glob("*/part-*.parquet")):
        with open_part(path) as file:
            reasons.update(file.read(columns=["reason"])["reason"].to_pylist())
    return dict(reasons.most_common())
