"""The plan: which pictures there are, cut into shards once, so that every later run does the same work.

`work/plan.json` holds each shard's size and a hash over its records; `work/index/part-NNNNN.parquet` holds one
shard's records. A run whose source lists other pictures than the plan stops and says what differs, or is told to
extend the plan: new pictures then form new shards at its end, and no old shard changes.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from h2d.config import config
from h2d.errors import UserError
from h2d.manifests.files import write_json, write_parquet, write_parquet_blocks
from h2d.manifests.io import Location, location, open_parquet
from h2d.pipelines.difference import Difference, difference
from h2d.pipelines.findings import FINDINGS, Findings
from h2d.pipelines.index import INDEX, ROWS_PER_RUN, SortedRows, digest, index_table
from h2d.pipelines.sources.base import Record, SelectiveSource, Source
from h2d.pipelines.sources.links import LEADS_OUT, REMEDY, within_bounds
from h2d.pipelines.sources.selection import select

PLAN_VERSION: Final = 2


_REMEDY: Final = "--fresh to start over, or another --out"


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
    sha256: str = ""
    """Over its records; stands in every part made of it, so that a part of other pictures is not taken for its own."""

    @property
    def title(self) -> str:
        """For messages."""
        return f"shard {self.number} (split {self.split})"

    @property
    def file_name(self) -> str:
        """The shard's part in every stage's folder."""
        return f"part-{self.number:05d}.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The work to do: what `work/plan.json` says."""

    source: str
    description: str
    root: Location
    choices: Mapping[str, Any]
    """Everything that decided which pictures are listed."""
    shards: tuple[Shard, ...]
    findings: Mapping[str, int]
    """What was noticed about the dataset, by kind; named in `work/findings.parquet`."""

    @property
    def index_sha256(self) -> str:
        """Over every record."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    @property
    def num_pictures(self) -> int:
        """Of all shards."""
        return sum(shard.num_pictures for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source lists, selected and in order; the rows lie on disk when they are many."""

    description: str
    rows: SortedRows
    has_masks: bool
    """Whether the dataset brings a mask of any of them ..."""
    has_meshes: bool
    """... or a mesh."""
    selection: SelectionConfig
    findings: Findings
    choices: Mapping[str, Any]
    shard_size: int

    @property
    def num_findings(self) -> dict[str, int]:
        """Findings by kind."""
        return dict(sorted(self.findings.counts.items()))

    @property
    def num_pictures(self) -> int:
        """Of those selected."""
        bounds = (self.rows.num_rows, self.selection.limit, self.selection.sample)
        return min(bound for bound in bounds if bound is not None)

    def blocks(self) -> Iterator[pa.Table]:
        """The selected pictures by split and id, a few hundred at a time."""
        chosen = self.selection
        return select(self.rows.blocks, limit=chosen.limit, sample=chosen.sample, seed=chosen.seed)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The whole listing, cut."""
        return tuple(shard for shard, _ in cut(self.blocks(), self.shard_size))


def list_source(source: Source, selection: SelectionConfig, shard_size: int) -> Listing:
    """Ask the source for every picture and select; raises `UserError` when there is none."""
    description = source.describe()
    rows, findings = SortedRows(), Findings()
    waiting: list[Record] = []
    has_masks = has_meshes = False
    items = (
        source.selected(limit=selection.limit, sample=selection.sample, seed=selection.seed)
        if isinstance(source, SelectiveSource)
        else source.records()
    )
    for item in within_bounds(items, source):
        if isinstance(item, Record):
            waiting.append(item)
            has_masks, has_meshes = has_masks or item.mask_path is not None, has_meshes or bool(item.meshes)
            if len(waiting) == ROWS_PER_RUN:
                rows.add(index_table(waiting))
                waiting.clear()
        else:
            findings.add(item)
    rows.add(index_table(waiting))
    if not rows.num_rows:
        kinds = ", ".join(sorted(findings.counts)) or "none"
        remedy = REMEDY if LEADS_OUT in findings.counts else ""
        raise UserError(f"{source.root}: no picture to prepare in {description} (findings: {kinds}){remedy}")
    return Listing(
        description=description,
        rows=rows,
        has_masks=has_masks,
        has_meshes=has_meshes,
        selection=selection,
        findings=findings,
        choices={**source.options(), **_selection_values(selection), "shard_size": shard_size},
        shard_size=shard_size,
    )


def cut(blocks: Iterable[pa.Table], shard_size: int, *, first: int = 0) -> Iterator[tuple[Shard, pa.Table]]:
    """Cut rows in order into shards of `shard_size` pictures of one split, numbered from `first`."""
    number = first
    waiting = INDEX.empty_table()
    for block in blocks:
        for split in block["split"].unique().to_pylist():
            if len(waiting) and waiting["split"][0].as_py() != split:
                yield _shard(number, waiting), waiting
                number, waiting = number + 1, INDEX.empty_table()
            waiting = pa.concat_tables([waiting, block.filter(pc.equal(block["split"], split))])
            while len(waiting) >= shard_size:
                members = waiting.slice(0, shard_size)
                yield _shard(number, members), members
                number, waiting = number + 1, waiting.slice(shard_size)
    if len(waiting):
        yield _shard(number, waiting), waiting


def open_plan(work: Location, source: Source, listing: Listing, *, extend: bool = False) -> Plan:
    """Make the plan of a listing, or check it against the one that is there, or add what is new to that.

    Raises `UserError` when the plan that is there has other pictures or choices: with `extend`, when one of its
    pictures is gone or has changed.
    """
    if not (work / "plan.json").exists():
        empty = Plan(source=source.name, description="", root=source.root, choices={}, shards=(), findings={})
        return _extended(work, empty, source, listing, listing.blocks())
    plan = read_plan(work)
    if plan.source != source.name:
        raise UserError(f"{work.parent} holds {plan.source} data, not {source.name}; give {_REMEDY}")
    if not extend and dict(plan.choices) != listing.choices:
        raise UserError(_changed_choices(work, plan, listing))
    if plan.shards == listing.shards:
        return plan
    found = difference(_sorted_index(work, plan), listing.blocks())
    if found.num_gone or found.num_changed or (found.new.num_rows and not extend):
        raise UserError(_changed_pictures(work, source, found))
    if extend and (found.new.num_rows or dict(plan.choices) != listing.choices):
        return _extended(work, plan, source, listing, found.new.blocks())
    return plan


def read_plan(work: Location) -> Plan:
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
            root=location(values["root"]),
            choices=values["choices"],
            shards=tuple(
                Shard(number=number, split=split, num_pictures=num_pictures, sha256=sha256)
                for number, (split, num_pictures, sha256) in enumerate(values["shards"])
            ),
            findings=values["findings"],
        )
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{file.parent.parent}: nothing was prepared here (no {file.name} in {file.parent})") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file}: damaged plan ({error!r}): start over with --fresh") from None


def read_index(work: Location, shard: Shard) -> list[dict[str, Any]]:
    """The records of one shard, in order."""
    rows: list[dict[str, Any]] = read_index_table(work, shard).to_pylist()
    return rows


def read_index_table(work: Location, shard: Shard) -> pa.Table:
    """The records of one shard as columns."""
    with open_parquet(work / "index" / shard.file_name) as file:
        return file.read().cast(INDEX)


def _shard(number: int, members: pa.Table) -> Shard:
    split = members["split"][0].as_py()
    return Shard(number=number, split=split, num_pictures=len(members), sha256=digest(members))


def _extended(work: Location, plan: Plan, source: Source, listing: Listing, new: Iterable[pa.Table]) -> Plan:
    """The plan with shards of the rows `new` at its end, written; its file comes last and makes it so."""
    shards = list(plan.shards)
    for shard, members in cut(new, listing.shard_size, first=len(shards)):
        write_parquet(work / "index" / shard.file_name, members, compression="LZ4")
        shards.append(shard)
    found = listing.findings.blocks()
    write_parquet_blocks(work / "findings.parquet", FINDINGS, found, rows_per_group=ROWS_PER_RUN)
    plan = replace(
        plan,
        description=listing.description,
        root=source.root.resolve(),
        choices=listing.choices,
        shards=tuple(shards),
        findings=listing.num_findings,
    )
    _write_plan(work, plan)
    return plan


def _sorted_index(work: Location, plan: Plan) -> Iterator[pa.Table]:
    rows = SortedRows()
    for shard in plan.shards:
        rows.add(read_index_table(work, shard))
    return rows.blocks()


def _write_plan(work: Location, plan: Plan) -> None:
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
            "shards": [[shard.split, shard.num_pictures, shard.sha256] for shard in plan.shards],
        },
    )


def _selection_values(selection: SelectionConfig) -> dict[str, Any]:
    seed = selection.seed if selection.sample is not None else None
    return {"limit": selection.limit, "sample": selection.sample, "seed": seed}


def _changed_choices(work: Location, plan: Plan, listing: Listing) -> str:
    """One line on how the choices differ from the plan's, with the remedy."""
    changed = [
        f"{key} was {plan.choices.get(key)!r} and is {listing.choices.get(key)!r}"
        for key in sorted(set(plan.choices) | set(listing.choices))
        if plan.choices.get(key) != listing.choices.get(key)
    ]
    extend = "--extend if they only add pictures, "
    return f"{work.parent} was planned with other choices: {', '.join(changed)}; give {extend}{_REMEDY}"


def _changed_pictures(work: Location, source: Source, found: Difference) -> str:
    """One line on how the source differs from the plan, with the remedy."""
    extend = "" if found.num_gone or found.num_changed else "--extend to add them, "
    return f"{source.root} lists other pictures than were planned in {work.parent}: {found}; give {extend}{_REMEDY}"
