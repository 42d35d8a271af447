"""The last stage: join a shard's parts into rows of `images` and `hands`, or a row of `rejects`, and publish them.

Every planned picture ends in exactly one of `images` and `rejects`; publishing checks the sum.
Axis legend: n pictures.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from h2d.errors import JobError
from h2d.manifests.files import TEMPORARY, write_bytes, write_json, write_parquet
from h2d.manifests.io import Address, Location, open_parquet, remove_tree
from h2d.manifests.schema import SCHEMA_VERSION, TABLES, with_metadata
from h2d.pipelines.joining import hand_columns, image_columns
from h2d.pipelines.parts import part_folder
from h2d.pipelines.plan import Plan, Shard, read_index_table
from h2d.pose.layouts import SIDES
from h2d.supervision.job import Care, OnBegin, OnPictures, Tally

MERGE_VERSION: Final = 2

_OUTCOME: Final = ("status", "reason", "message", "attempts")
_RULED: Final = ("persons", *(f"hand_{side}_{what}" for side in SIDES for what in ("found", "checks")))


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """Makes the three tables' files of each shard under `work/merge/<fingerprint>`."""

    name: ClassVar[str] = "merge"
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False

    work: Location
    fingerprint: str
    inputs: Mapping[str, str]
    """Stage name -> fingerprint, in the order of the stages."""
    source: str
    facts: Mapping[str, Any]
    """What every table says of itself."""

    @property
    def folder(self) -> Location:
        """Where the tables are put together before they are published."""
        return self.work / "merge" / self.fingerprint

    def is_done(self, shard: Shard) -> bool:
        """Whether the shard's marker, written last, is there and of these pictures."""
        try:
            return bool(json.loads(self._marker(shard).read_text())["shard"] == shard.sha256)
        except FileNotFoundError:
            return False

    def tally(self, shard: Shard) -> Tally:
        """What the marker says."""
        counts = json.loads(self._marker(shard).read_text())
        return Tally(statuses=Counter(counts["statuses"]), reasons=Counter(counts["reasons"]))

    def forget(self, shard: Shard) -> None:
        """Have the shard merged once more: its rows of a table may then be none."""
        self._marker(shard).unlink(missing_ok=True)
        for table in TABLES:
            self._file(table, shard).unlink(missing_ok=True)

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def run(self, shard: Shard, on_pictures: OnPictures, on_begin: OnBegin, care: Care) -> Tally:
        """Write the shard's rows of each table, then its marker."""
        del on_begin, care  # no annotator is at work here
        index, parts = read_index_table(self.work, shard), self._parts(shard)
        assert all(part["id"].equals(index["id"]) for part in parts.values()), "a part is not aligned with the index"
        kept = _is_accepted(parts)
        rejects = self._rejects(index, parts, np.flatnonzero(~kept))
        if rejects:
            chosen = pa.array(kept)
            index, parts = index.filter(chosen), {name: part.filter(chosen) for name, part in parts.items()}
        columns = {
            "images": image_columns(index, parts, self.source),
            "hands": hand_columns(index, parts, self.source),
            "rejects": {name: [row[name] for row in rejects] for name in TABLES["rejects"].names},
        }
        for table, members in columns.items():
            if len(members["id"]):
                schema = with_metadata(TABLES[table], {**self.facts, "table": table})
                write_parquet(self._file(table, shard), _table(members, schema))
        tally = Tally(
            statuses=Counter({"ok": len(index)}) + Counter(row["status"] for row in rejects),
            reasons=Counter(row["reason"] for row in rejects),
        )
        write_json(self._marker(shard), {"shard": shard.sha256, "statuses": tally.statuses, "reasons": tally.reasons})
        on_pictures(tally)
        return tally

    def _parts(self, shard: Shard) -> dict[str, pa.Table]:
        parts = {}
        for name, mark in self.inputs.items():
            with open_parquet(part_folder(self.work, name, mark) / shard.file_name) as file:
                parts[name] = file.read()
        return parts

    def _rejects(
        self, index: pa.Table, parts: Mapping[str, pa.Table], places: Int64[np.ndarray, " n"]
    ) -> list[dict[str, Any]]:
        """The rows of `rejects`: those of the pictures at these places."""
        outcomes = {name: part.select([*_OUTCOME]).take(places).to_pylist() for name, part in parts.items()}
        pose = parts["pose"].select([*_RULED]).take(places).to_pylist()
        num_crops = pc.list_value_length(parts["pose"]["crops"]).take(places).to_pylist()
        rejects = []
        for number, name in enumerate(index.select(["id", "split", "path"]).take(places).to_pylist()):
            why = _why_not({stage: rows[number] for stage, rows in outcomes.items()}, pose[number], num_crops[number])
            base = {"id": name["id"], "source": self.source, "split": name["split"], "source_path": name["path"]}
            rejects.append({**base, **why})
        return rejects

    def _marker(self, shard: Shard) -> Location:
        return self.folder / "done" / f"part-{shard.number:05d}.json"

    def _file(self, table: str, shard: Shard) -> Location:
        return self.folder / table / shard.split / shard.file_name


def publish(job: MergeJob, plan: Plan, out: Location, *, created: str) -> dict[str, int]:
    """Check the sum, lay the tables into `out`, and write `manifest.json` last; returns the counts.

    A manifest without `manifest.json` is unfinished: killed anywhere in here, the next run publishes again.
    """
    tallies = [(shard.split, job.tally(shard)) for shard in plan.shards]
    tally = sum((part for _, part in tallies), Tally())
    indexed, accepted = sum(tally.statuses.values()), tally.statuses["ok"]
    if indexed != plan.num_pictures:
        raise JobError(f"{out}: {indexed} of {plan.num_pictures} pictures are accounted for: start over with --fresh")
    (out / "manifest.json").unlink(missing_ok=True)
    for table in TABLES:
        _lay(job.folder / table, out / table)
    write_bytes(out / "unmatched.parquet", (job.work / "findings.parquet").read_bytes())
    counts = {"indexed": indexed, "images": accepted, "hands": count_rows(out, "hands"), "rejects": indexed - accepted}
    splits: dict[str, Counter[str]] = {}
    for split, part in tallies:
        splits.setdefault(split, Counter()).update(
            {"indexed": sum(part.statuses.values()), "images": part.statuses["ok"]}
        )
    write_json(
        out / "manifest.json",
        {
            "schema_version": SCHEMA_VERSION,
            **job.facts,
            "fingerprint": job.fingerprint,
            "index_sha256": plan.index_sha256,
            "counts": counts,
            "splits": splits,
            "reject_reasons": dict(tally.reasons.most_common()),
            "created": created,
        },
    )
    return counts


def is_published(job: MergeJob, plan: Plan, out: Location) -> bool:
    """Whether `out` holds this very manifest, with all its rows."""
    try:
        manifest = json.loads((out / "manifest.json").read_text())
        counts = manifest["counts"]
        made_of = manifest["fingerprint"], manifest["index_sha256"]
        return made_of == (job.fingerprint, plan.index_sha256) and all(
            count_rows(out, table) == counts[table] for table in TABLES
        )
    except (FileNotFoundError, json.JSONDecodeError, KeyError, pa.ArrowInvalid):
        return False


def count_rows(out: Location, table: str) -> int:
    """Rows of a published table, from the files' footers."""
    num_rows = 0
    for part in (out / table).glob("*/part-*.parquet"):
        with open_parquet(part) as file:
            num_rows += file.metadata.num_rows
    return num_rows


def _lay(fresh: Location, target: Location) -> None:
    """Put the tree `fresh` at `target` by hard links, or by copies where there are none."""
    if not (isinstance(fresh, Path) and isinstance(target, Path)):
        assert isinstance(fresh, Address), fresh
        assert isinstance(target, Address), target
        remove_tree(target)
        for part in fresh.glob("*/part-*.parquet"):
            part.copy_to(target / str(part.relative_to(fresh)))
        return
    temporary = target.with_name(f".{target.name}{TEMPORARY}publish")
    shutil.rmtree(temporary, ignore_errors=True)
    for file in sorted(fresh.glob("*/part-*.parquet")):
        link = temporary / file.relative_to(fresh)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, link)
        except OSError:
            shutil.copyfile(file, link)
    shutil.rmtree(target, ignore_errors=True)
    if temporary.exists():
        temporary.rename(target)


def _is_accepted(parts: Mapping[str, pa.Table]) -> Bool[np.ndarray, " n"]:
    """Whether each picture has every stage's result and a hand to learn from."""
    pose = parts["pose"]
    is_whole = [pc.is_in(part["status"], pa.array(["ok", "blocked"])) for part in parts.values()]
    has_hand = pc.or_(*(pose[f"hand_{side}_found"].fill_null(False) for side in SIDES))
    has_crop = pc.greater(pc.list_value_length(pose["crops"]).fill_null(0), 0)
    accepted: Bool[np.ndarray, " n"] = np.logical_and.reduce([*map(np.asarray, (*is_whole, has_hand, has_crop))])
    return accepted


def _why_not(
    outcomes: Mapping[str, Mapping[str, Any]], pose: Mapping[str, Any], num_crops: int | None
) -> dict[str, Any]:
    """The columns of `rejects` for a picture without a result or without a hand to learn from."""
    for stage, outcome in outcomes.items():
        if outcome["status"] not in ("ok", "blocked"):
            return {"stage": stage, **outcome}
    reason, message = _rule_against(pose, num_crops)
    return {"stage": "pose", "status": "skipped", "reason": reason, "message": message, "attempts": 1}


def _rule_against(pose: Mapping[str, Any], num_crops: int | None) -> tuple[str, str]:
    """The rule that leaves a picture out, and a line on it."""
    found = [side for side in SIDES if pose[f"hand_{side}_found"]]
    if not found:
        return ("no_hand", "no hand found") if pose["persons"] else ("no_person", "neither a person nor a hand found")
    assert not num_crops, pose
    failed = "; ".join(f"{side}: {', '.join(pose[f'hand_{side}_checks'])}" for side in found)
    return "no_usable_hand", f"every hand fails its checks ({failed})"


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """The columns in the schema's order and types; those that no stage wrote are null."""
    num_rows = len(columns["id"])
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            values = pa.nulls(num_rows, field.type)
        arrays.append(pa.array(values, field.type) if isinstance(values, list) else values.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
