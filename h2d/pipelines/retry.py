"""`--retry`: parts that hold failures are set aside and made anew, from their good rows and a try at the others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from h2d.errors import UserError
from h2d.manifests.io import Address, Location
from h2d.pipelines.merge import MergeJob
from h2d.pipelines.parts import set_aside
from h2d.pipelines.plan import Plan, Shard
from h2d.pipelines.worker import StageJob

RETRYABLE: Final = {"errors": "error", "crash": "crash", "timeout": "timeout"}
"""What a user calls them -> the status of their rows."""


def retried_statuses(text: str) -> frozenset[str]:
    """Read "errors,crash,timeout"; raises `UserError` for another word."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in RETRYABLE:
            raise UserError(f"--retry {text}: {word!r} cannot be retried: choose from {', '.join(RETRYABLE)}")
    return frozenset(RETRYABLE[word] for word in words)


def set_failures_aside(jobs: Sequence[StageJob], merge: MergeJob, plan: Plan, out: Location) -> int:
    """Make every shard wait for work that has a failure to retry; returns how many.

    The part itself goes last: killed before that, the next retry finds it again; killed after, nothing but the
    other try is lost, for its rows are taken over.
    """
    num_shards = 0
    for shard in plan.shards:
        again = _jobs_to_repeat(jobs, shard)
        if again:
            num_shards += 1
            (out / "manifest.json").unlink(missing_ok=True)
            merge.forget(shard)
        for job in reversed(again):
            if job.is_done(shard):
                _move(job.part(shard), set_aside(job.part(shard)))
    return num_shards


def _jobs_to_repeat(jobs: Sequence[StageJob], shard: Shard) -> list[StageJob]:
    """Those with a failure, and those that read one of these."""
    again: list[StageJob] = []
    names: set[str] = set()
    for job in jobs:
        failed = job.is_done(shard) and job.retry & job.tally(shard).statuses.keys()
        if failed or names & set(job.inputs):
            again.append(job)
            names.add(job.name)
    return again


def _move(file: Location, target: Location) -> None:
    if isinstance(file, Path) and isinstance(target, Path):
        file.replace(target)
        return
    assert isinstance(file, Address)
    assert isinstance(target, Address), "both lie in one folder"
    file.copy_to(target)
    file.unlink()
