"""`h2d manifest diff`: which rows and columns of two manifests differ. Column by column, so that memory holds one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from h2d.manifests.schema import TABLES
from h2d.manifests.store import Manifest, open_part, read_group


@dataclass(frozen=True, kw_only=True, slots=True)
class TableDifference:
    """What differs in one table."""

    table: str
    only_first: tuple[str, ...]
    """Ids that the second manifest lacks, in the first one's order."""
    only_second: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    """Column -> ids of rows that stand in both and differ in it."""

    @property
    def is_empty(self) -> bool:
        """Whether the tables hold the same rows."""
        return not (self.only_first or self.only_second or self.changed)


def differences(first: Manifest, second: Manifest) -> list[TableDifference]:
    """Compare the three tables; the order of rows and files does not count."""
    return [_table_difference(first, second, table) for table in TABLES]


def settings_that_differ(first: Manifest, second: Manifest) -> list[str]:
    """Stages whose annotator or options are not the same, and `source`."""
    names = ["source"] if first.facts["source"] != second.facts["source"] else []
    stages = [manifest.facts.get("stages", {}) for manifest in (first, second)]
    for name in sorted({*stages[0], *stages[1]}):
        one, other = (_said(stage.get(name)) for stage in stages)
        if one != other:
            names.append(name)
    return names


def _said(stage: Any) -> Any:
    return {key: value for key, value in stage.items() if key != "fingerprint"} if stage else None


def _table_difference(first: Manifest, second: Manifest, table: str) -> TableDifference:
    ids = [manifest.table(table, ["id"])["id"].to_pylist() for manifest in (first, second)]
    places = {name: row for row, name in enumerate(ids[1])}
    here = dict.fromkeys(ids[0])
    shared = [(row, places[name]) for row, name in enumerate(ids[0]) if name in places]
    changed: dict[str, tuple[str, ...]] = {}
    if shared:
        rows = [np.array(side) for side in zip(*shared, strict=True)]
        for name in TABLES[table].names:
            one, other = (_column(manifest, table, name) for manifest in (first, second))
            same = _same(one.take(rows[0]), other.take(rows[1]))
            if not same.all():
                changed[name] = tuple(ids[0][row] for row in rows[0][~same])
    return TableDifference(
        table=table,
        only_first=tuple(name for name in ids[0] if name not in places),
        only_second=tuple(name for name in ids[1] if name not in here),
        changed=changed,
    )


def _column(manifest: Manifest, table: str, name: str) -> pa.Array:
    """One column of all rows; of pictures, a digest of each; nulls where an older manifest lacks it."""
    field = TABLES[table].field(name)
    pieces: list[pa.Array] = []
    for path in manifest.parts(table):
        with open_part(path) as file:
            for group in range(file.num_row_groups):
                if name not in file.schema_arrow.names:
                    pieces.append(pa.nulls(file.metadata.row_group(group).num_rows, field.type))
                    continue
                values = read_group(file, path, group, [name])[name].combine_chunks()
                pieces.append(_digests(values.to_pylist()) if name == "image" else values)
    return pa.concat_arrays(pieces)


def _same(one: pa.Array, other: pa.Array) -> Bool[np.ndarray, " n"]:
    """Row by row; missing points equal missing points."""
    if pa.types.is_fixed_size_list(one.type) and one.type == other.type:
        width = one.type.list_size
        values = [side.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for side in (one, other)]
        return np.asarray(np.isclose(values[0], values[1], rtol=0, atol=0, equal_nan=True).all(axis=1))
    return np.array([repr(left) == repr(right) for left, right in zip(one.to_pylist(), other.to_pylist(), strict=True)])


def _digests(pictures: Sequence[dict[str, Any]]) -> pa.Array:
    return pa.array([hashlib.sha256(picture["bytes"]).hexdigest() for picture in pictures], pa.string())
