"""The last stage: join a shard's parts into rows of `images` and `hands`, or a row of `rejects`, and publish them.

Every planned picture ends in exactly one of `images` and `rejects`; publishing checks the sum.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq

from h2d.errors import JobError
from h2d.manifests.files import TEMPORARY, write_json, write_parquet
from h2d.manifests.schema import SCHEMA_VERSION, TABLES, with_metadata
from h2d.pipelines.attempts import Care, OnBegin
from h2d.pipelines.parts import Tally
from h2d.pipelines.plan import Plan, Shard
from h2d.pipelines.stages.base import Row
from h2d.pipelines.worker import OnPictures, joined_rows
from h2d.pose.layouts import SIDES

MERGE_VERSION: Final = 2


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """Makes the three tables' files of each shard under `work/merge/<fingerprint>`."""

    name: ClassVar[str] = "merge"
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False

    work: Path
    fingerprint: str
    inputs: Mapping[str, str]
    """Stage name -> fingerprint, in the order of the stages."""
    source: str
    facts: Mapping[str, Any]
    """What every table says of itself."""

    @property
    def folder(self) -> Path:
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

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def run(self, shard: Shard, on_pictures: OnPictures, on_begin: OnBegin, care: Care) -> Tally:
        """Write the shard's rows of each table, then its marker."""
        del on_begin, care  # no annotator is at work here
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for row in joined_rows(self.work, shard, self.inputs):
            reject = self._reject(row)
            if reject:
                rows["rejects"].append(reject)
            else:
                rows["images"].append(_image(row, self.source))
                rows["hands"].extend(_hands(row, self.source))
        for table, members in rows.items():
            if members:
                schema = with_metadata(TABLES[table], {**self.facts, "table": table})
                write_parquet(self._file(table, shard), _table(members, schema))
        tally = Tally(
            statuses=Counter({"ok": len(rows["images"])}) + Counter(row["status"] for row in rows["rejects"]),
            reasons=Counter(row["reason"] for row in rows["rejects"]),
        )
        write_json(self._marker(shard), {"shard": shard.sha256, "statuses": tally.statuses, "reasons": tally.reasons})
        on_pictures(tally)
        return tally

    def _marker(self, shard: Shard) -> Path:
        return self.folder / "done" / f"part-{shard.number:05d}.json"

    def _file(self, table: str, shard: Shard) -> Path:
        return self.folder / table / shard.split / shard.file_name

    def _reject(self, row: Row) -> dict[str, Any] | None:
        """The row of `rejects` for a picture that has no result or no hand to learn from; None when it is accepted."""
        base = {"id": row["id"], "source": self.source, "split": row["split"], "source_path": row["path"]}
        for stage in self.inputs:
            part = row[stage]
            if part["status"] not in ("ok", "blocked"):
                return {
                    **base,
                    "stage": stage,
                    **{key: part[key] for key in ("status", "reason", "message", "attempts")},
                }
        rule = _rule_against(row["pose"])
        if rule is None:
            return None
        return {**base, "stage": "pose", "status": "skipped", "reason": rule[0], "message": rule[1], "attempts": 1}


def publish(job: MergeJob, plan: Plan, out: Path, *, created: str) -> dict[str, int]:
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
    shutil.copyfile(job.work / "findings.parquet", out / "unmatched.parquet")
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


def is_published(job: MergeJob, plan: Plan, out: Path) -> bool:
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


def count_rows(out: Path, table: str) -> int:
    """Rows of a published table, from the files' footers."""
    return sum(pq.read_metadata(file).num_rows for file in (out / table).glob("*/part-*.parquet"))


def _lay(fresh: Path, target: Path) -> None:
    """Put the tree `fresh` at `target` by hard links, or by copies where the file system has none."""
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


def _rule_against(pose: Mapping[str, Any]) -> tuple[str, str] | None:
    """The rule that leaves a picture out and a line on it, or None."""
    found = [side for side in SIDES if pose[f"hand_{side}_found"]]
    if not found:
        return ("no_hand", "no hand found") if pose["persons"] else ("no_person", "neither a person nor a hand found")
    if not pose["crops"]:
        failed = "; ".join(f"{side}: {', '.join(pose[f'hand_{side}_checks'])}" for side in found)
        return "no_usable_hand", f"every hand fails its checks ({failed})"
    return None


def _image(row: Row, source: str) -> dict[str, Any]:
    pose = row["pose"]
    extension = "jpg" if pose["picture"][:2] == b"\xff\xd8" else "png"
    return {
        **row.get("mask", {}),
        **row.get("caption", {}),
        **pose,
        "id": row["id"],
        "source": source,
        "split": row["split"],
        "source_path": row["path"],
        "gesture": row["gesture"],
        "subject": row["subject"],
        "gesture_box_labels": row["box_labels"],
        "original_caption": row["original_caption"],
        "image": {"bytes": pose["picture"], "path": f"{row['id'].replace('/', '_')}.{extension}"},
    }


def _hands(row: Row, source: str) -> Iterator[dict[str, Any]]:
    crops = row["pose"]["crops"]
    masks = row.get("mask", {})
    for number, crop in enumerate(crops):
        name = f"{row['id']}/{crop['hands']}"
        yield {
            "id": name,
            "image_id": row["id"],
            "source": source,
            "split": row["split"],
            "subject": row["subject"],
            "gesture": row["gesture"],
            "crop_box_xywh": crop["crop_box_xywh"],
            "hands": crop["hands"],
            "image": {"bytes": crop["image"], "path": f"{name.replace('/', '_')}.jpg"},
            "keypoints_left": crop["keypoints_left"],
            "keypoints_right": crop["keypoints_right"],
            "mask": masks["crop_masks"][number] if masks else None,
            "mask_px": masks["crop_mask_px"][number] if masks else None,
            "caption": row.get("caption", {}).get("caption"),
        }


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
