"""`h2d prepare mix`: a training set out of manifests, itself a manifest.

Drawn first, from light columns; then copied row group by row group, so that a file's rows are all that memory holds.
Files of the same draw that are there and whole are kept: a run that was stopped goes on. `manifest.json` comes last.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from h2d.config import as_plain
from h2d.errors import UserError
from h2d.manifests.card import write_card
from h2d.manifests.derive import as_current
from h2d.manifests.files import refuse_unwritable, write_json, write_parquet
from h2d.manifests.io import Location, open_parquet
from h2d.manifests.report import write_report
from h2d.manifests.schema import SCHEMA_VERSION, TABLES, with_metadata
from h2d.manifests.store import MANIFEST_FILE, UNMATCHED_FILE, Manifest, Place, open_part, part_path, read_group
from h2d.pipelines.mix_draw import DrawnPart, MixConfig, describe, draw
from h2d.pipelines.mix_page import write_page
from h2d.pipelines.parts import fingerprint, remove_leftovers

MIX_VERSION: Final = 1
SOURCE: Final = "mix"
MARK_FILE: Final = ".mix.json"
"""Says that a folder is a mix's, and of which draw, before it has a manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixed:
    """What a mix left behind."""

    out: Path
    parts: list[dict[str, Any]]
    counts: dict[str, int]
    did_nothing: bool = False


def survey(choices: MixConfig) -> list[dict[str, Any]]:
    """What would be drawn; writes nothing."""
    return describe(draw(choices))


def mix(choices: MixConfig, *, fresh: bool = False, tell: Callable[[str], None] = lambda line: None) -> Mixed:
    """Draw and copy; raises `UserError` for a wrong choice, too few pictures or a folder with something else."""
    parts = draw(choices)
    described = describe(parts)
    ids = [id for drawn in parts for id in drawn.rows["hand_id"]]
    mark = fingerprint(SOURCE, MIX_VERSION, {"shard_size": choices.shard_size, "ids": ids}, [str(described)])
    out = choices.out
    _claim(out, mark, fresh=fresh)
    counts = {"indexed": len(ids), "images": len(ids), "hands": len(ids), "rejects": 0}
    if (out / MANIFEST_FILE).exists():
        return Mixed(out=out, parts=described, counts=counts, did_nothing=True)
    remove_leftovers(out)
    facts = {"source": SOURCE, "description": _description(described), "mix": described, "fingerprint": mark}
    for table, column in (("images", "id"), ("hands", "hand_id")):
        for split in sorted({drawn.part.split for drawn in parts}):
            members = [drawn for drawn in parts if drawn.part.split == split]
            tell(f"{table}, {split}: {sum(len(drawn.rows) for drawn in members):,} rows")
            _copy(out, table, split, members, column, choices.shard_size, facts)
    _write_repeats(out, parts)
    splits = Counter(split for drawn in parts for split in [drawn.part.split] * len(drawn.rows))
    write_json(
        out / MANIFEST_FILE,
        {
            "schema_version": SCHEMA_VERSION,
            **facts,
            "stages": {},
            "counts": counts,
            "splits": {split: {"indexed": count, "images": count} for split, count in splits.items()},
            "reject_reasons": {},
            "options": as_plain(choices),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )
    write_card(out)
    write_report(out)
    write_page(Manifest(out), parts)
    return Mixed(out=out, parts=described, counts=counts)


def _claim(out: Path, mark: str, *, fresh: bool) -> None:
    """Take the folder for this draw; another draw's is cleared when asked, anything else is refused."""
    file = out / MARK_FILE
    try:
        there = json.loads(file.read_text())["fingerprint"] if file.is_file() else None
    except (ValueError, KeyError, TypeError):
        there = "damaged"
    if there is None and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: holds something else than a mix: give an empty folder with --out")
    if there not in (None, mark) and not fresh:
        raise UserError(f"{out}: holds another mix: give --fresh to replace it, or another --out")
    if there is not None and fresh:
        for name in (MANIFEST_FILE, UNMATCHED_FILE, "report.html", "mix.html", "README.md"):
            (out / name).unlink(missing_ok=True)
        for table in TABLES:
            shutil.rmtree(out / table, ignore_errors=True)
    refuse_unwritable(out)
    try:
        write_json(file, {"fingerprint": mark})
    except OSError as error:
        raise UserError(f"{out}: cannot write here ({error.strerror}): choose another --out") from None


def _description(described: Sequence[dict[str, Any]]) -> str:
    return " + ".join(f"{part['count']:,} {part['source']} ({part['split']})" for part in described)


def _copy(
    out: Path,
    table: str,
    split: str,
    parts: Sequence[DrawnPart],
    column: str,
    shard_size: int,
    facts: dict[str, Any],
) -> None:
    """Write one table of one split, file by file; files that are whole are not written again."""
    schema = with_metadata(TABLES[table], {**facts, "table": table})
    number = 0
    for drawn in parts:
        places = list(_places(drawn, table, split, column))
        for start in range(0, len(places), shard_size):
            path = part_path(out, table, split, number)
            number += 1
            wanted = places[start : start + shard_size]
            if not _is_whole(path, len(wanted)):
                write_parquet(path, as_current(pa.concat_tables(_rows(wanted)), table).cast(schema))


def _places(drawn: DrawnPart, table: str, split: str, column: str) -> Iterator[Place]:
    """Where the drawn rows lie, in the table's order."""
    wanted = pa.array(drawn.rows[column], pa.string())
    num_found = 0
    for place, names in drawn.manifest.row_groups(table, ["id"], split):
        for row in pc.indices_nonzero(pc.is_in(names["id"].combine_chunks(), value_set=wanted)).to_pylist():
            num_found += 1
            yield replace(place, row=row)
    assert num_found == len(wanted), f"{drawn.manifest.root}: {num_found} of {len(wanted)} rows of {table} found"


def _is_whole(path: Location, num_rows: int) -> bool:
    try:
        with open_parquet(path) as file:
            return bool(file.metadata.num_rows == num_rows)
    except (FileNotFoundError, pa.ArrowInvalid):
        return False


def _rows(places: Sequence[Place]) -> Iterator[pa.Table]:
    """The rows, one row group after another."""
    for (path, group), members in groupby(places, key=lambda place: (place.path, place.group)):
        with open_part(path) as file:
            rows = read_group(file, path, group)
        yield rows.take([place.row for place in members]).replace_schema_metadata(None)


def _write_repeats(out: Path, parts: Sequence[DrawnPart]) -> None:
    """Name what was left out as the same picture as another, as a manifest names what was noticed."""
    rows = [
        {"kind": "same_picture_as_another", "split": drawn.part.split, "name": f"{row['id']} = {row['same_as']}"}
        for drawn in parts
        for row in drawn.duplicates.to_dict(orient="records")
    ]
    schema = pa.schema([("kind", pa.string()), ("split", pa.string()), ("name", pa.string())])
    write_parquet(out / UNMATCHED_FILE, pa.Table.from_pylist(rows, schema))
