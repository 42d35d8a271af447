"""The plan: which pictures there are, cut into shards once, so that every later run does the same work.

`work/plan.json` holds the shards' sizes and a hash over every record; `work/index/part-NNNNN.parquet` holds one
shard's records. A run whose source lists other pictures than the plan stops and says what differs.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h2d.config import config
from h2d.errors import UserError
from h2d.manifests.files import write_json, write_parquet
from h2d.pipelines.sources.base import Finding, Record, SelectiveSource, Source
from h2d.pipelines.sources.selection import select
from h2d.pose.layouts import SIDES

PLAN_VERSION: Final = 2

INDEX: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        ("gesture", pa.string()),
        ("subject", pa.string()),
        ("boxes_xywh", pa.list_(pa.list_(pa.float32()))),
        ("box_labels", pa.list_(pa.string())),
        ("box_landmarks", pa.list_(pa.list_(pa.float32()))),
        ("mask_path", pa.string()),
        ("given_left", pa.list_(pa.float32())),
        ("given_right", pa.list_(pa.float32())),
        ("mesh_left", pa.string()),
        ("mesh_right", pa.string()),
        ("camera", pa.list_(pa.float64())),
        ("stated_size_hw", pa.list_(pa.int32())),
    ]
)

FINDINGS: Final = pa.schema([("kind", pa.string()), ("split", pa.string()), ("name", pa.string())])


@config
class SelectionConfig:
    """Which of the listed pictures are worked on."""

    limit: int | None = None
    """The first N in the order of split and id."""
    sample: int | None = None
    """N at random, keeping each split's gesture distribution."""
    seed: int = 0
    """Of the random sample."""

    def __post_init__(self) -> None:
        for name in ("limit", "sample"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A run of pictures of one split: the unit of work, of commit and of resuming."""

    number: int
    split: str
    num_pictures: int

    @property
    def file_name(self) -> str:
        """The shard's part in every stage's folder."""
        return f"part-{self.number:05d}.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The work to do: what `work/plan.json` says."""

    source: str
    description: str
    root: Path
    choices: Mapping[str, Any]
    """Everything that decided which pictures are listed."""
    index_sha256: str
    shards: tuple[Shard, ...]
    findings: Mapping[str, int]
    """What was noticed about the dataset, by kind; named in `work/findings.parquet`."""

    @property
    def num_pictures(self) -> int:
        """Of all shards."""
        return sum(shard.num_pictures for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source lists, selected and in order."""

    description: str
    records: Sequence[Record]
    findings: Sequence[Finding]
    choices: Mapping[str, Any]
    shard_size: int

    @property
    def num_findings(self) -> dict[str, int]:
        """Findings by kind."""
        return dict(sorted(Counter(finding.kind for finding in self.findings).items()))

    def shards(self) -> list[tuple[Shard, Sequence[Record]]]:
        """Cut each split into shards of `shard_size` pictures."""
        shards: list[tuple[Shard, Sequence[Record]]] = []
        for split, group in groupby(self.records, key=lambda record: record.split):
            members = list(group)
            for start in range(0, len(members), self.shard_size):
                chunk = members[start : start + self.shard_size]
                shards.append((Shard(number=len(shards), split=split, num_pictures=len(chunk)), chunk))
        return shards


def list_source(source: Source, selection: SelectionConfig, shard_size: int) -> Listing:
    """Ask the source for every picture and select; raises `UserError` when there is none."""
    description = source.describe()
    records: list[Record] = []
    findings: list[Finding] = []
    items = (
        source.selected(limit=selection.limit, sample=selection.sample, seed=selection.seed)
        if isinstance(source, SelectiveSource)
        else source.records()
    )
    for item in items:
        if isinstance(item, Record):
            records.append(item)
        else:
            findings.append(item)
    if not records:
        kinds = ", ".join(sorted({finding.kind for finding in findings})) or "none"
        raise UserError(f"{source.root}: no picture to prepare in {description} (findings: {kinds})")
    return Listing(
        description=description,
        records=select(records, limit=selection.limit, sample=selection.sample, seed=selection.seed),
        findings=findings,
        choices={**source.options(), **_selection_values(selection), "shard_size": shard_size},
        shard_size=shard_size,
    )


def open_plan(work: Path, source: Source, listing: Listing) -> Plan:
    """Make the plan of a listing, or check it against the one that is there.

    Raises `UserError` when the plan that is there has other pictures or choices.
    """
    digest = _digest(listing.records)
    if (work / "plan.json").exists():
        plan = read_plan(work)
        if plan.index_sha256 != digest or dict(plan.choices) != listing.choices or plan.source != source.name:
            raise UserError(_difference(work, plan, source, listing))
        return plan
    shards = listing.shards()
    for shard, members in shards:
        write_parquet(work / "index" / shard.file_name, _index_table(members))
    write_parquet(work / "findings.parquet", _findings_table(listing.findings))
    plan = Plan(
        source=source.name,
        description=listing.description,
        root=source.root.resolve(),
        choices=listing.choices,
        index_sha256=digest,
        shards=tuple(shard for shard, _ in shards),
        findings=listing.num_findings,
    )
    _write_plan(work, plan)
    return plan


def read_plan(work: Path) -> Plan:
    """The plan that an earlier run wrote; raises `UserError` when there is none or it is damaged."""
    file = work / "plan.json"
    try:
        values = json.loads(file.read_text())
        if values["version"] != PLAN_VERSION:
            raise UserError(
                f"{file}: plan version {values['version']}, this h2d reads {PLAN_VERSION}: start over with --fresh"
            )
        return Plan(
            source=values["source"],
            description=values["description"],
            root=Path(values["root"]),
            choices=values["choices"],
            index_sha256=values["index_sha256"],
            shards=tuple(
                Shard(number=number, split=split, num_pictures=num_pictures)
                for number, (split, num_pictures) in enumerate(values["shards"])
            ),
            findings=values["findings"],
        )
    except FileNotFoundError:
        raise UserError(f"{file.parent.parent}: nothing was prepared here (no {file.name} in {file.parent})") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{file}: damaged plan ({error!r}): start over with --fresh") from None


def read_index(work: Path, shard: Shard) -> list[dict[str, Any]]:
    """The records of one shard, in order."""
    rows: list[dict[str, Any]] = pq.read_table(work / "index" / shard.file_name).to_pylist()
    return rows


def _digest(records: Iterable[Record]) -> str:
    """A hash over everything that a stage may read of the records."""
    digest = hashlib.sha256()
    for record in records:
        words = (
            record.id,
            record.split,
            record.path,
            record.size_bytes,
            record.gesture,
            record.subject,
            record.mask_path,
            record.stated_size_hw,
            sorted(record.meshes.items()),
            record.camera.numbers() if record.camera else None,
        )
        digest.update(repr((words, record.box_labels)).encode())
        digest.update(np.ascontiguousarray(record.boxes_xywh).tobytes())
        for landmarks in record.box_landmarks:
            digest.update(b"-" if landmarks is None else np.ascontiguousarray(landmarks).tobytes())
        for side in SIDES:
            digest.update(record.hands[side].tobytes() if side in record.hands else b"-")
    return digest.hexdigest()


def _index_table(records: Sequence[Record]) -> pa.Table:
    columns = {
        "id": [record.id for record in records],
        "split": [record.split for record in records],
        "path": [record.path for record in records],
        "size_bytes": [record.size_bytes for record in records],
        "gesture": [record.gesture for record in records],
        "subject": [record.subject for record in records],
        "boxes_xywh": [record.boxes_xywh.tolist() for record in records],
        "box_labels": [list(record.box_labels) for record in records],
        "box_landmarks": [
            [None if points is None else points.ravel().tolist() for points in record.box_landmarks]
            for record in records
        ],
        "mask_path": [record.mask_path for record in records],
        **{
            f"given_{side}": [record.hands[side].ravel() if side in record.hands else None for record in records]
            for side in SIDES
        },
        **{f"mesh_{side}": [record.meshes.get(side) for record in records] for side in SIDES},
        "camera": [record.camera.numbers() if record.camera else None for record in records],
        "stated_size_hw": [record.stated_size_hw for record in records],
    }
    return pa.table(columns, schema=INDEX)


def _findings_table(findings: Sequence[Finding]) -> pa.Table:
    ordered = sorted(findings, key=lambda finding: (finding.kind, finding.split, finding.name))
    return pa.table({name: [getattr(finding, name) for finding in ordered] for name in FINDINGS.names}, schema=FINDINGS)


def _write_plan(work: Path, plan: Plan) -> None:
    write_json(
        work / "plan.json",
        {
            "version": PLAN_VERSION,
            "source": plan.source,
            "description": plan.description,
            "root": str(plan.root),
            "choices": plan.choices,
            "num_pictures": plan.num_pictures,
            "findings": plan.findings,
            "index_sha256": plan.index_sha256,
            "shards": [[shard.split, shard.num_pictures] for shard in plan.shards],
        },
    )


def _selection_values(selection: SelectionConfig) -> dict[str, Any]:
    seed = selection.seed if selection.sample is not None else None
    return {"limit": selection.limit, "sample": selection.sample, "seed": seed}


def _difference(work: Path, plan: Plan, source: Source, listing: Listing) -> str:
    """One line on how the source differs from the plan, with the remedy."""
    remedy = "; give --fresh to start over, or another --out"
    if plan.source != source.name:
        return f"{work.parent} holds {plan.source} data, not {source.name}{remedy}"
    changed = [
        f"{key} was {plan.choices.get(key)!r} and is {listing.choices.get(key)!r}"
        for key in sorted(set(plan.choices) | set(listing.choices))
        if plan.choices.get(key) != listing.choices.get(key)
    ]
    if changed:
        return f"{work.parent} was planned with other choices: {', '.join(changed)}{remedy}"
    before = {row["id"]: row["size_bytes"] for shard in plan.shards for row in read_index(work, shard)}
    now = {record.id: record.size_bytes for record in listing.records}
    groups = {
        "new": [name for name in now if name not in before],
        "gone": [name for name in before if name not in now],
        "of another size": [name for name in now if name in before and before[name] != now[name]],
    }
    parts = [f"{len(names)} {label} (first: {names[0]})" for label, names in groups.items() if names]
    what = ", ".join(parts) or "the same pictures with other labels"
    return f"{source.root} no longer lists the pictures planned in {work.parent}: {what}{remedy}"
