"""`h2d manifest merge`: several manifests as one, their rows unchanged."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from h2d.errors import UserError
from h2d.manifests.derive import TableWriter, facts_in_common, finish, folder_made_whole
from h2d.manifests.io import Location
from h2d.manifests.schema import SCHEMA_VERSION, TABLES
from h2d.manifests.store import Manifest


def merge(roots: Sequence[Location], out: Path) -> dict[str, int]:
    """Write the rows of all manifests to `out`; returns the counts.

    Raises `UserError` for one manifest alone, another major schema version, or an id that stands in two of them.
    """
    if len(roots) < 2:
        raise UserError(f"{', '.join(map(str, roots))}: merging needs two manifests or more")
    manifests = [Manifest(root) for root in roots]
    for manifest in manifests:
        _refuse_other_major(manifest)
    _refuse_repeated(manifests)
    merged = [{"manifest": manifest.name, "counts": manifest.counts} for manifest in manifests]
    facts: dict[str, Any] = {**facts_in_common(manifests), "merged": merged}
    with folder_made_whole(out) as folder:
        writers = [TableWriter(root=folder, table=table, facts=facts) for table in TABLES]
        for writer in writers:
            for manifest in manifests:
                for split in manifest.splits(writer.table):
                    for _, rows in manifest.row_groups(writer.table, split=split):
                        writer.add(split, rows)
        findings = pa.concat_tables([manifest.unmatched.replace_schema_metadata(None) for manifest in manifests])
        return finish(folder, writers, facts, findings)


def _refuse_other_major(manifest: Manifest) -> None:
    version = str(manifest.facts["schema_version"])
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise UserError(f"{manifest.root}: schema version {version}, not {SCHEMA_VERSION}: prepare it again")


def _refuse_repeated(manifests: Sequence[Manifest]) -> None:
    """Every picture stands in one manifest, as accepted or as left out."""
    seen: dict[str, Location] = {}
    repeated: list[tuple[str, Location, Location]] = []
    for manifest in manifests:
        for table in ("images", "rejects"):
            for name in manifest.table(table, ["id"])["id"].to_pylist():
                if name in seen:
                    repeated.append((name, seen[name], manifest.root))
                seen[name] = manifest.root
    if repeated:
        name, first, second = repeated[0]
        pairs = Counter((str(one), str(other)) for _, one, other in repeated)
        raise UserError(
            f"{name} stands in {first} and in {second} ({sum(pairs.values())} such ids): "
            "merge manifests of different pictures"
        )
