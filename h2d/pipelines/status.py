"""What is done of a preparation, read from its parts; works while it runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from h2d.errors import UserError
from h2d.manifests.io import Location
from h2d.pipelines.parts import is_done, part_folder, read_tally
from h2d.pipelines.plan import Plan, read_plan
from h2d.pipelines.progress_file import read_running
from h2d.supervision.job import Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class StageStatus:
    """One stage's share of the plan."""

    name: str
    num_shards_done: int
    tally: Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """The plan and how far each stage is."""

    plan: Plan
    stages: tuple[StageStatus, ...]
    counts: Mapping[str, int] | None
    """Rows by table once the manifest is published."""
    running: Mapping[str, Any] | None
    """What `work/status.json` says while a preparation runs."""


def read_status(out: Location) -> Status:
    """Look at a folder that `h2d prepare` works or worked in; raises `UserError` when it is none."""
    work = out / "work"
    plan = read_plan(work)
    try:
        marks: dict[str, str] = json.loads((work / "stages.json").read_text())
    except FileNotFoundError:
        raise UserError(f"{out}: planned, but no stage has begun: run h2d prepare again") from None
    stages = []
    for name, mark in marks.items():
        if name == "merge":
            continue
        folder = part_folder(work, name, mark)
        done = [shard for shard in plan.shards if is_done(folder / shard.file_name, shard)]
        tally = sum((read_tally(folder / shard.file_name) for shard in done), Tally())
        stages.append(StageStatus(name=name, num_shards_done=len(done), tally=tally))
    manifest = out / "manifest.json"
    counts = json.loads(manifest.read_text())["counts"] if manifest.exists() else None
    return Status(plan=plan, stages=tuple(stages), counts=counts, running=read_running(work))
