"""`h2d prepare SOURCE`: from a dataset's folder to a manifest.

Every source has the same options beside its own, so the commands are made from one table instead of being written out.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import console
from h2d.cli.mix import mix
from h2d.cli.output import print_json
from h2d.cli.wording import counted, duration

if TYPE_CHECKING:
    from h2d.pipelines.estimate import Estimate
    from h2d.pipelines.prepare import Outcome, Survey

app = typer.Typer(no_args_is_help=True, help="Turn a dataset into a manifest: keypoints, masks, captions, hand crops.")


@dataclass(frozen=True, slots=True)
class _Option:
    """A command-line option and the place of its value in the configuration; no place: a flag of the run itself."""

    name: str
    kind: Any
    help: str
    place: str = ""
    panel: str = "Options"
    default: Any = None
    spelling: tuple[str, ...] = ()

    def parameter(self) -> inspect.Parameter:
        option = typer.Option(*self.spelling, help=self.help, rich_help_panel=self.panel)
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[self.kind, option], default=self.default
        )


_PICTURES, _MODELS, _RUNNING = "Which pictures", "Models", "How it runs"


def _pictures(name: str, kind: Any, place: str, about: str) -> _Option:
    return _Option(name, kind, about, place, _PICTURES)


def _models(name: str, kind: Any, place: str, about: str) -> _Option:
    return _Option(name, kind, about, place, _MODELS)


def _running(name: str, kind: Any, place: str, about: str) -> _Option:
    return _Option(name, kind, about, place, _RUNNING)


def _flag(name: str, spelling: str, about: str) -> _Option:
    return _Option(name, bool, about, panel=_RUNNING, default=False, spelling=(spelling,))


_SHARED = (
    _pictures("limit", int | None, "selection.limit", "Only the first N pictures."),
    _pictures(
        "sample",
        int | None,
        "selection.sample",
        "N pictures at random, spread as the dataset is: over gestures, or over captures, sequences and cameras.",
    ),
    _pictures("seed", int | None, "selection.seed", "Seed of --sample. Default: 0."),
    _Option(
        "follow_links",
        bool | None,
        "Read what links lead to outside --root too: only when they are your own.",
        "source_options.follow_links",
        _PICTURES,
        spelling=("--follow-links",),
    ),
    _models(
        "mask",
        str | None,
        "mask.name",
        "sam, grabcut, given (the dataset's own), mano (its meshes), none, or auto: reinterhand's own, else SAM if its "
        "weights and a GPU are there, else GrabCut. Default: auto.",
    ),
    _models("sam", str | None, "mask.options.model", "Size of SAM: vit_h, vit_l or vit_b. Default: vit_h."),
    _models("sam_checkpoint", Path | None, "mask.options.checkpoint", "SAM's official checkpoint file."),
    _models(
        "caption",
        str | None,
        "caption.name",
        "sequence (a table), template (no model), llava, endpoint, none, or auto: sequence for interhand and "
        "reinterhand, else template. Default: auto.",
    ),
    _models("caption_model", str | None, "caption.options.model", "The captioner's model name."),
    _models("caption_url", str | None, "caption.options.url", "An OpenAI-compatible server, for --caption endpoint."),
    _models("caption_prompt", str | None, "caption.options.prompt", "What the captioner is asked."),
    _running("shard_size", int | None, "run.shard_size", "Pictures per part file, the unit of commit. Default: 512."),
    _running("executor", str | None, "run.executor", "auto, inline (this process) or ray. Default: auto."),
    _running("workers", int | None, "run.workers", "Processes. Default: one per core."),
    _running("address", str | None, "run.address", "A running Ray cluster that sees the same files."),
    _running("gpus", float | None, "run.gpus", "GPUs per worker of a GPU stage; 0.5: two share one. Default: 1."),
    _running("timeout", float | None, "run.timeout", "Seconds for a picture. Default: 20 x the median, 300 at least."),
    _running(
        "max_error_rate",
        float | None,
        "run.max_error_rate",
        "Stop when more of a stage's pictures fail, after 1000. Default: 0.05.",
    ),
    _running("config", Path | None, "", "YAML file of options; the command line goes before it."),
    _Option(
        "overrides",
        list[str] | None,
        "Any option by its place, as in a YAML file: --set crops.scale=1.8",
        panel=_RUNNING,
        spelling=("--set",),
    ),
    _Option(
        "retry",
        str | None,
        "Try failed pictures once more: errors, crash, timeout, comma-separated. Their shards alone are rewritten.",
        panel=_RUNNING,
    ),
    _flag("resume", "--resume", "Go on where the last run stopped: what happens anyway, for scripts that say so."),
    _flag("fresh", "--fresh", "Delete what an earlier run made in --out, and start over."),
    _flag("extend", "--extend", "Add the pictures that are new since the plan was made; what is done stays."),
    _flag("estimate", "--estimate", "Measure a few of the pictures, and say what all of them would take."),
    _Option("estimate_for", int | None, "As --estimate, for so many pictures like these.", panel=_RUNNING),
    _flag("dry_run", "--dry-run", "Say what would be done, how long it takes and how much disk; write nothing."),
    _flag("as_json", "--json", "Print the outcome as JSON."),
)

_HAGRID = (
    _pictures("split", str | None, "source_options.split", "train, val, test or subsample; all when not given."),
    _pictures("gestures", str | None, "source_options.gestures", "Only these, comma-separated: call,fist."),
    _pictures("images", str | None, "source_options.images", "Folder of the pictures, if apart from --root."),
    _pictures("annotations", str | None, "source_options.annotations", "Folder of the JSON files, if apart."),
)

_CAPTIONS = _models(
    "captions", Path | None, "caption.options.captions", "CSV or YAML: captions or words by pattern of picture id."
)

_INTERHAND = (
    _pictures("split", str | None, "source_options.split", "train, val or test; all when not given."),
    _CAPTIONS,
)

_REINTERHAND = (
    _pictures("split", str | None, "source_options.split", "train or test; both when not given."),
    _pictures("rig", str | None, "source_options.rig", "Mugsy_cameras or Ego_cameras; both when not given."),
    _CAPTIONS,
)

_FOLDER = (_pictures("split", str | None, "source_options.split", "Name of the split they form. Default: train."),)


_LAION_HUMAN = (
    _pictures("mapping", Path | None, "source_options.mapping", "The mapping file, if not mapping_file_training.json."),
    _pictures("persons", int | None, "rules.persons", "People a picture must show; 0: any number. Default: 1."),
    _pictures(
        "min_hand_px",
        int | None,
        "rules.min_hand_px",
        "Pixels of hand mask a picture must have, its shorter side at 512; 0: any. Default: 2500.",
    ),
)


def _command(source: str, about: str, own: tuple[_Option, ...]) -> Callable[..., None]:
    """The command of one source."""
    where = (
        _Option("root", str, "The dataset's folder, or s3://bucket/folder.", "root", default=f"data/{source}"),
        _Option("out", str, "The manifest's folder, or an address.", "out", default=f"manifests/{source}"),
    )
    options = (*where, *own, *_SHARED)

    def command(**values: Any) -> None:
        places = {option.place: values[option.name] for option in options if option.place}
        _run(source, places, values)

    command.__doc__ = about
    command.__signature__ = inspect.Signature([option.parameter() for option in options])  # type: ignore[attr-defined]
    return command


def _run(source: str, places: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    from h2d.cli.progress import JobProgress
    from h2d.config import load_config
    from h2d.errors import UserError
    from h2d.pipelines.choices import PrepareConfig
    from h2d.pipelines.estimate import estimate
    from h2d.pipelines.prepare import prepare, survey
    from h2d.pipelines.retry import retried_statuses

    if isinstance(places.get("source_options.gestures"), str):
        names = [name.strip() for name in places["source_options.gestures"].split(",")]
        places = {**places, "source_options.gestures": [name for name in names if name]}
    places = {**places, **_implied(places)}
    choices = load_config(
        PrepareConfig, {"source": source, **places}, file=flags["config"], overrides=flags["overrides"] or ()
    )
    if flags["dry_run"] or flags["estimate"] or flags["estimate_for"]:
        found = survey(choices)
        measured = estimate(choices, flags["estimate_for"] or found.num_pictures)
        _tell_survey(found, measured, as_json=flags["as_json"])
        return
    if flags["fresh"] and (flags["resume"] or flags["retry"]):
        raise UserError("--fresh deletes what --resume and --retry go on from: give one of them")
    retry = retried_statuses(flags["retry"]) if flags["retry"] else frozenset[str]()
    progress = JobProgress(quiet=flags["as_json"])
    with progress.watching():
        outcome = prepare(choices, progress, fresh=flags["fresh"], extend=flags["extend"], retry=retry)
    if flags["as_json"]:
        print_json({"out": outcome.out, "counts": outcome.counts, "did_nothing": outcome.did_nothing})
    else:
        _tell(outcome)
    if outcome.interrupted:
        sys.exit(130)


def _implied(places: Mapping[str, Any]) -> dict[str, str]:
    """What an option that only one annotator has says of the annotator."""
    implied = {}
    if places["mask.name"] is None and (places["mask.options.model"] or places["mask.options.checkpoint"]):
        implied["mask.name"] = "sam"
    if places["caption.name"] is None and places["caption.options.url"]:
        implied["caption.name"] = "endpoint"
    return implied


def _tell(outcome: "Outcome") -> None:
    counts, out = outcome.counts, outcome.out
    if outcome.interrupted:
        console.print(f"Stopped. What is done is in {out}; the same command goes on from there.", soft_wrap=True)
        return
    if outcome.did_nothing:
        console.print(f"Nothing to do: {out} is complete and nothing has changed.", soft_wrap=True)
    console.print(
        f"{counted(counts['indexed'], 'picture')} = {counts['images']} accepted + {counts['rejects']} rejected; "
        f"{counted(counts['hands'], 'hand crop')}.  {', '.join(outcome.stages)}",
        soft_wrap=True,
    )
    for reason, count in outcome.reject_reasons.items():
        console.print(f"  rejected: {count} {reason}", soft_wrap=True)
    for kind, count in outcome.findings.items():
        console.print(f"  noticed: {count} {kind} (named in {out / 'unmatched.parquet'})", soft_wrap=True)
    if outcome.mask_was_chosen:
        why = "because SAM's weights or a GPU are not here (`h2d doctor` says which)"
        console.print(f"  masks: GrabCut, {why}", soft_wrap=True)
    console.print(f"Look at it:  {out / 'report.html'}", soft_wrap=True)
    console.print(f"Next:        h2d manifest validate {out}", soft_wrap=True)


def _tell_survey(found: "Survey", measured: "Estimate", *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "estimate": asdict(measured), "dry_run": True})
        return
    about = f"{counted(found.num_pictures, 'picture')} in {counted(found.num_shards, 'shard')}"
    console.print(f"{found.description}: {about}", soft_wrap=True)
    for kind, count in found.findings.items():
        console.print(f"  noticed: {count} {kind}", soft_wrap=True)
    for stage in found.stages:
        console.print(f"  would run: {stage}", soft_wrap=True)
    _tell_estimate(measured)
    console.print("Nothing was written.")


def _tell_estimate(measured: "Estimate") -> None:
    from h2d.machine import num_cores

    for kind, hours in (("core", measured.core_hours), ("GPU", measured.gpu_hours)):
        for stage, amount in hours.items():
            console.print(f"  {stage}: {amount:.3g} {kind} hours", soft_wrap=True)
    console.print(
        f"About {duration(measured.hours(num_cores()) * 3600)} on {num_cores()} cores and {measured.disk_gb:.3g} GB of "
        f"disk for {counted(measured.num_pictures, 'picture')}, by {measured.num_measured} that were measured here.",
        soft_wrap=True,
    )


for _source, _about, _own in (
    ("hagrid", "HaGRID v1, 2.0 or v2-1M, full size or 512 px, as downloaded.", _HAGRID),
    ("interhand", "InterHand2.6M, 5 or 30 pictures a second, as downloaded.", _INTERHAND),
    ("reinterhand", "Re:InterHand, fixed and head-mounted cameras, as downloaded.", _REINTERHAND),
    ("laion-human", "LAION-Human as HumanSD hands it out, its pictures downloaded.", _LAION_HUMAN),
    ("folder", "Any folder of pictures.", _FOLDER),
):
    app.command(_source)(_command(_source, _about, _own))
app.command("mix")(mix)
