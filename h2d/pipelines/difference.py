"""What differs between the pictures that were planned and those that are listed now, by split and id."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from h2d.pipelines.index import SortedRows, digest, merge_sorted


@dataclass(kw_only=True, slots=True)
class Difference:
    """Counts, the first name of each kind, and the new rows themselves."""

    new: SortedRows = field(default_factory=SortedRows)
    num_gone: int = 0
    num_changed: int = 0
    groups: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Kind -> how many and the first."""

    def __str__(self) -> str:
        return ", ".join(f"{count} {kind} (first: {name})" for kind, (count, name) in self.groups.items())

    def _note(self, kind: str, names: pa.ChunkedArray) -> None:
        if len(names):
            count, first = self.groups.get(kind, (0, names[0].as_py()))
            self.groups[kind] = (count + len(names), first)


def difference(before: Iterator[pa.Table], now: Iterator[pa.Table]) -> Difference:
    """Compare two listings, both by split and id without repeats, a block at a time."""
    found = Difference()
    for block in merge_sorted([_marked(before, is_new=False), _marked(now, is_new=True)]):
        is_new = block["is_new"].to_numpy()
        same_as_next = np.zeros(len(block), bool)
        for name in ("split", "id"):
            same = pc.equal(block[name].slice(0, len(block) - 1), block[name].slice(1)).to_numpy()
            same_as_next[:-1] = same if name == "split" else same_as_next[:-1] & same
        rows = block.drop_columns("is_new")
        is_pair = same_as_next | np.roll(same_as_next, 1)
        alone_now = rows.filter(pa.array(is_new & ~is_pair))
        gone = rows.filter(pa.array(~is_new & ~is_pair))
        found.new.add(alone_now)
        found.num_gone += len(gone)
        found._note("new", alone_now["id"])
        found._note("gone", gone["id"])
        _compare(found, rows.filter(pa.array(same_as_next)), rows.filter(pa.array(np.roll(same_as_next, 1))))
    return found


def _compare(found: Difference, before: pa.Table, now: pa.Table) -> None:
    """Note the pictures of another size or with other labels; both tables name the same ones in the same order."""
    if digest(before) == digest(now):
        return
    resized = pc.not_equal(before["size_bytes"], now["size_bytes"]).to_numpy()
    differs = np.array([digest(before.slice(row, 1)) != digest(now.slice(row, 1)) for row in range(len(before))])
    found.num_changed += int(differs.sum())
    found._note("of another size", now["id"].filter(pa.array(resized)))
    found._note("with other labels", now["id"].filter(pa.array(differs & ~resized)))


def _marked(blocks: Iterator[pa.Table], *, is_new: bool) -> Iterator[pa.Table]:
    for block in blocks:
        yield block.append_column("is_new", pa.array(np.full(len(block), is_new)))
