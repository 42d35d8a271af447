"""What an export promises, and the walk that all share: row by row into a folder that appears when it is whole."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

from h2d.errors import UserError
from h2d.manifests.derive import folder_made_whole
from h2d.manifests.export import EXPORTS
from h2d.manifests.io import Location
from h2d.manifests.store import Manifest
from h2d.registry import resolve

Row: TypeAlias = dict[str, Any]
_LONGEST_NAME: Final = 120


@runtime_checkable
class Export(Protocol):
    """Writes one table of one split after another into a folder."""

    tables: ClassVar[tuple[str, ...]]
    """The tables that it can write, the default first."""

    def __init__(self, manifest: Manifest, folder: Path, table: str) -> None: ...

    def write(self, split: str, rows: Iterator[Row]) -> None:
        """Write the rows of one split; each has every column of the table."""

    def close(self) -> None:
        """Write what describes the whole."""


def export(
    root: Location,
    out: Path,
    form: str,
    *,
    table: str | None = None,
    split: str | None = None,
    on_row: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Write a manifest's table to `out` in another form; returns rows by split.

    Raises `UserError` for an unknown form, table or split, or when `out` is there already.
    """
    manifest = Manifest(root)
    writer_class = resolve(EXPORTS, form, kind="export")
    table = table or writer_class.tables[0]
    if table not in writer_class.tables:
        raise UserError(f"table {table!r} cannot be exported to {form}: choose one of {', '.join(writer_class.tables)}")
    splits = manifest.splits(table)
    if split is not None and split not in splits:
        raise UserError(f"{root}: no rows of {table} in split {split!r}: it has {', '.join(splits) or 'none'}")
    counts: dict[str, int] = {}
    with folder_made_whole(out) as folder:
        writer = writer_class(manifest, folder, table)
        for name in [split] if split else splits:
            counts[name] = 0

            def counted(name: str = name) -> Iterator[Row]:
                for _, rows in manifest.row_groups(table, split=name):
                    for row in rows.to_pylist():
                        yield row
                        counts[name] += 1
                        on_row()

            writer.write(name, counted())
        writer.close()
    return counts


def file_stem(number: int, row: Row) -> str:
    """A file's name without its extension: the row's number keeps it unique, its id tells a person what it is."""
    return f"{number:07d}_{re.sub(r'[^0-9A-Za-z-]+', '_', row['id'])[-_LONGEST_NAME:].strip('_')}"


def extension(picture: bytes) -> str:
    """Of an encoded picture of a manifest."""
    return "jpg" if picture[:2] == b"\xff\xd8" else "png"
