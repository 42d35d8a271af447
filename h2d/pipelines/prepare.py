"""`h2d prepare`: the walk from a dataset's folder to a manifest, one stage after another, each resumable alone."""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from h2d.errors import JobError, UserError
from h2d.machine import num_cores, version_of
from h2d.manifests.card import write_card
from h2d.manifests.files import write_json
from h2d.manifests.io import Location, remove_tree
from h2d.manifests.masks import DEFAULT_DILATION
from h2d.manifests.report import write_report
from h2d.manifests.schema import TABLES
from h2d.pipelines.choices import PrepareConfig, RunConfig, build_source, build_stages
from h2d.pipelines.executors import EXECUTORS
from h2d.pipelines.executors.base import Executor, Watch
from h2d.pipelines.limits import ErrorLimit
from h2d.pipelines.lock import locked
from h2d.pipelines.merge import MERGE_VERSION, MergeJob, is_published, publish
from h2d.pipelines.parts import fingerprint, remove_leftovers
from h2d.pipelines.plan import Listing, Plan, Shard, list_source, open_plan
from h2d.pipelines.progress_file import RecordedWatch
from h2d.pipelines.retry import set_failures_aside
from h2d.pipelines.stages.base import Stage
from h2d.pipelines.worker import Job, StageJob
from h2d.registry import resolve
from h2d.supervision.job import Tally

logger = logging.getLogger(__name__)

AUTO_RAY_MIN_PICTURES: Final = 400
"""Fewer pictures than this are done before a local Ray has started."""

_SOFTWARE: Final = (
    "hand-to-diffusion",
    "mediapipe",
    "segment-anything",
    "transformers",
    "torch",
    "opencv-python-headless",
    "pyarrow",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a run left behind."""

    out: Location
    plan: Plan
    stages: tuple[str, ...]
    """Each stage with the annotator that it uses: "mask: grabcut"."""
    findings: Mapping[str, int]
    """What was noticed about the dataset, by kind."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by table, "indexed" beside them; empty when the run was interrupted."""
    reject_reasons: Mapping[str, int] = field(default_factory=dict)
    did_nothing: bool = False
    mask_was_chosen: bool = False
    """Whether "auto" decided for GrabCut."""

    @property
    def interrupted(self) -> bool:
        """Whether it stopped before the manifest was complete."""
        return not self.counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a run would do."""

    description: str
    num_pictures: int
    num_shards: int
    stages: tuple[str, ...]
    findings: Mapping[str, int]


def survey(choices: PrepareConfig) -> Survey:
    """List the source and find the models, and write nothing. Raises what `prepare` would."""
    source = build_source(choices)
    stages = build_stages(choices)
    listing = list_source(source, choices.selection, choices.run.shard_size)
    _refuse_absent_masks(stages, listing)
    return Survey(
        description=listing.description,
        num_pictures=listing.num_pictures,
        num_shards=len(listing.shards),
        stages=_names(stages),
        findings=listing.num_findings,
    )


def prepare(
    choices: PrepareConfig,
    watch: Watch,
    *,
    fresh: bool = False,
    extend: bool = False,
    retry: frozenset[str] = frozenset(),
) -> Outcome:
    """Run what is not done yet; `extend` adds pictures that are new since the plan was made.

    `retry` has pictures worked on again whose rows have one of these statuses: error, crash, timeout.

    Raises `UserError` for a wrong folder, option or model before any work, and `JobError` when work cannot go on.
    """
    source = build_source(choices)
    stages = build_stages(choices)
    listing = list_source(source, choices.selection, choices.run.shard_size)
    _refuse_absent_masks(stages, listing)
    work = choices.out / "work"
    with locked(choices.out), _disk_errors_as_one_line(choices.out):
        if fresh:
            _clear(choices.out)
        remove_leftovers(choices.out)
        plan = open_plan(work, source, listing, extend=extend)
        jobs, merge = _jobs(work, stages, plan, retry)
        if retry:
            set_failures_aside(jobs, merge, plan, choices.out)
        outcome = Outcome(
            out=choices.out,
            plan=plan,
            stages=_names(stages),
            findings=plan.findings,
            mask_was_chosen=choices.mask.name == "auto" and any(stage.annotator == "grabcut" for stage in stages),
        )
        done = is_published(merge, plan, choices.out)
        if not done:
            write_json(work / "stages.json", {**merge.inputs, "merge": merge.fingerprint})
            everything: list[Job] = [*jobs, merge]
            with ExitStack() as executors:
                place = _Placement(run=choices.run, scratch=_scratch(work, executors), executors=executors)
                recorded = RecordedWatch(watch, work)
                executors.callback(recorded.close)
                guarded = ErrorLimit(recorded, max_error_rate=choices.run.max_error_rate)
                for job in everything:
                    _run(job, plan, place, guarded)
                    if watch.should_stop():
                        return outcome
            publish(merge, plan, choices.out, created=datetime.now(timezone.utc).isoformat(timespec="seconds"))
        if not done or not (choices.out / "report.html").exists():
            write_card(choices.out)
            write_report(choices.out, source_root=source.root)
    manifest = json.loads((choices.out / "manifest.json").read_text())
    return replace(outcome, counts=manifest["counts"], reject_reasons=manifest["reject_reasons"], did_nothing=done)


@contextmanager
def _disk_errors_as_one_line(out: Location) -> Iterator[None]:
    """A disk that is full, read-only or gone stops the run at once; nothing is half-written, so it can go on later."""
    try:
        yield
    except OSError as error:
        where = error.filename or out
        raise JobError(
            f"{where}: {error.strerror or error}; finished shards are kept: remove the cause and run the same command"
        ) from error


def _refuse_absent_masks(stages: Sequence[Stage], listing: Listing) -> None:
    """Raise `UserError` when masks or meshes are to be read and no picture has any."""
    annotator = next((stage.annotator for stage in stages if stage.name == "mask"), None)
    if annotator == "given" and not listing.has_masks:
        tried = "; ".join(listing.findings.names("folder_without_masks", "missing_mask"))
        raise UserError(
            f"--mask given: {listing.description} has no masks{f' ({tried})' if tried else ''}: choose --mask sam, "
            "--mask grabcut, or --mask mano where the dataset has mano_fits/meshes"
        )
    if annotator == "mano" and not listing.has_meshes:
        raise UserError(
            f"--mask mano: {listing.description} has no meshes (mano_fits/meshes/<frame>_<side>.ply): choose --mask "
            "given, sam or grabcut"
        )


def _names(stages: Sequence[Stage]) -> tuple[str, ...]:
    return tuple(f"{stage.name}: {stage.annotator}" for stage in stages)


def _jobs(
    work: Location, stages: Sequence[Stage], plan: Plan, retry: frozenset[str]
) -> tuple[list[StageJob], MergeJob]:
    """A job per stage, chained by fingerprints, and the job that joins them; parts name their pictures themselves."""
    marks: dict[str, str] = {}
    jobs: list[StageJob] = []
    for stage in stages:
        inputs = {name: marks[name] for name in stage.reads}
        mark = fingerprint(stage.name, stage.version, stage.identity(), [plan.source, *inputs.values()])
        marks[stage.name] = mark
        jobs.append(StageJob(stage=stage, work=work, fingerprint=mark, inputs=inputs, retry=retry))
    facts = {
        "source": plan.source,
        "description": plan.description,
        "stages": {
            stage.name: {"annotator": stage.annotator, "fingerprint": marks[stage.name], "options": stage.identity()}
            for stage in stages
        },
        "coordinate_spaces": {
            "images": "pixels of the stored picture",
            "hands": "pixels of the crop; crop_box_xywh: pixels of the source picture",
        },
        "dilation_px_when_read": DEFAULT_DILATION,
        "software": _software(),
    }
    merge_mark = fingerprint("merge", MERGE_VERSION, {}, [plan.source, *marks.values()])
    return jobs, MergeJob(work=work, fingerprint=merge_mark, inputs=marks, source=plan.source, facts=facts)


def _run(job: Job, plan: Plan, place: "_Placement", watch: Watch) -> None:
    """Run the shards of a job that are not done."""
    done, waiting = list[Shard](), list[Shard]()
    for shard in plan.shards:
        (done if job.is_done(shard) else waiting).append(shard)
    before = sum((job.tally(shard) for shard in done), Tally())
    watch.job_started(job.name, plan.num_pictures, before)
    if waiting:
        place.executor(job, sum(shard.num_pictures for shard in waiting)).run(job, waiting, watch)
    watch.job_ended(job.name)


@dataclass(kw_only=True)
class _Placement:
    """Where each job runs; an executor is started when a job first needs it, and serves the later ones too."""

    run: RunConfig
    scratch: Path
    executors: ExitStack
    started: dict[str, Executor] = field(default_factory=dict)

    def executor(self, job: Job, num_pictures: int) -> Executor:
        num_workers = self.run.workers or num_cores()
        name = self.run.executor
        if name == "auto":
            worth_it = num_pictures >= AUTO_RAY_MIN_PICTURES and num_workers > 1
            name = "ray" if worth_it or self.run.address else "inline"
        if job.name == "merge" or job.uses_all_cores:
            name = "inline"
        logger.info("%s: %d pictures, %s executor", job.name, num_pictures, name)
        if name not in self.started:
            start = resolve(EXECUTORS, name, kind="executor")
            executor = start(
                num_workers=num_workers,
                address=self.run.address,
                scratch=self.scratch,
                gpus=self.run.gpus,
                timeout_s=self.run.timeout,
            )
            self.executors.callback(executor.close)
            self.started[name] = executor
        return self.started[name]


def _scratch(work: Location, executors: ExitStack) -> Path:
    """Where workers note how far they are within a shard: beside the work, or on this machine when that is a store."""
    if isinstance(work, Path):
        return work / "progress"
    return Path(executors.enter_context(tempfile.TemporaryDirectory(prefix="h2d-progress-")))


def _clear(out: Location) -> None:
    """Delete what an earlier preparation made, and nothing else."""
    for name in ("manifest.json", "report.html", "README.md", "unmatched.parquet"):
        (out / name).unlink(missing_ok=True)
    for name in ("work", *TABLES):
        remove_tree(out / name)


def _software() -> dict[str, Any]:
    return {name: version for name in _SOFTWARE if (version := version_of(name))}
