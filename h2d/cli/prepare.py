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
from h2d.cli.output import print_json

if TYPE_CHECKING:
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
    _pictures("sample", int | None, "selection.sample", "N pictures at random, the gesture distribution kept."),
    _pictures("seed", int | None, "selection.seed", "Seed of --sample. Default: 0."),
    _models(
        "mask",
        str | None,
        "mask.name",
        "sam, grabcut, given (the dataset's own), none, or auto: SAM if its weights and a GPU are there, "
        "else GrabCut. Default: auto.",
    ),
    _models("sam", str | None, "mask.options.model", "Size of SAM: vit_h, vit_l or vit_b. Default: vit_h."),
    _models("sam_checkpoint", Path | None, "mask.options.checkpoint", "SAM's official checkpoint file."),
    _models("caption", str | None, "caption.name", "template (no model), llava, endpoint, none. Default: template."),
    _models("caption_model", str | None, "caption.options.model", "The captioner's model name."),
    _models("caption_url", str | None, "caption.options.url", "An OpenAI-compatible server, for --caption endpoint."),
    _models("caption_prompt", str | None, "caption.options.prompt", "What the captioner is asked."),
    _running("shard_size", int | None, "run.shard_size", "Pictures per part file, the unit of commit. Default: 512."),
    _running("executor", str | None, "run.executor", "auto, inline (this process) or ray. Default: auto."),
    _running("workers", int | None, "run.workers", "Processes. Default: one per core."),
    _running("address", str | None, "run.address", "A running Ray cluster that sees the same files."),
    _running("gpus", float | None, "run.gpus", "GPUs per worker of a GPU stage; 0.5: two share one. Default: 1."),
    _running("timeout", float | None, "run.timeout", "Seconds for a picture. Default: 20 x the median, 300 at least."),
    _running("config", Path | None, "", "YAML file of options; the command line goes before it."),
    _Option(
        "overrides",
        list[str] | None,
        "Any option by its place, as in a YAML file: --set crops.scale=1.8",
        panel=_RUNNING,
        spelling=("--set",),
    ),
    _flag("fresh", "--fresh", "Delete what an earlier run made in --out, and start over."),
    _flag("extend", "--extend", "Add the pictures that are new since the plan was made; what is done stays."),
    _flag("dry_run", "--dry-run", "Say what would be done; write nothing."),
    _flag("as_json", "--json", "Print the outcome as JSON."),
)

_HAGRID = (
    _pictures("split", str | None, "source_options.split", "train, val, test or subsample; all when not given."),
    _pictures("gestures", str | None, "source_options.gestures", "Only these, comma-separated: call,fist."),
    _pictures("images", Path | None, "source_options.images", "Folder of the pictures, if apart from --root."),
    _pictures("annotations", Path | None, "source_options.annotations", "Folder of the JSON files, if apart."),
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
        _Option("root", Path, "The dataset's folder.", "root", default=Path("data") / source),
        _Option("out", Path, "The manifest's folder.", "out", default=Path("manifests") / source),
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
    from h2d.pipelines.choices import PrepareConfig
    from h2d.pipelines.prepare import prepare, survey

    if isinstance(places.get("source_options.gestures"), str):
        names = [name.strip() for name in places["source_options.gestures"].split(",")]
        places = {**places, "source_options.gestures": [name for name in names if name]}
    places = {**places, **_implied(places)}
    choices = load_config(
        PrepareConfig, {"source": source, **places}, file=flags["config"], overrides=flags["overrides"] or ()
    )
    if flags["dry_run"]:
        _tell_survey(survey(choices), as_json=flags["as_json"])
        return
    progress = JobProgress(quiet=flags["as_json"])
    with progress.watching():
        outcome = prepare(choices, progress, fresh=flags["fresh"], extend=flags["extend"])
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
        f"{counts['indexed']} pictures = {counts['images']} accepted + {counts['rejects']} rejected; "
        f"{counts['hands']} hand crops.  {', '.join(outcome.stages)}",
        soft_wrap=True,
    )
    for reason, count in outcome.reject_reasons.items():
        console.print(f"  rejected: {count} {reason}", soft_wrap=True)
    for kind, count in outcome.findings.items():
        console.print(f"  noticed: {count} {kind} (named in {out / 'unmatched.parquet'})", soft_wrap=True)
    if outcome.mask_was_chosen:
        console.print("  masks: GrabCut, because SAM's weights or a GPU are not here (`h2d doctor` says which)")
    console.print(f"Look at it:  {out / 'report.html'}", soft_wrap=True)
    console.print(f"Next:        h2d manifest validate {out}", soft_wrap=True)


def _tell_survey(found: "Survey", *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "dry_run": True})
        return
    console.print(f"{found.description}: {found.num_pictures} pictures in {found.num_shards} shards", soft_wrap=True)
    for kind, count in found.findings.items():
        console.print(f"  noticed: {count} {kind}", soft_wrap=True)
    for stage in found.stages:
        console.print(f"  would run: {stage}", soft_wrap=True)
    console.print("Nothing was written.")


for _source, _about, _own in (
    ("hagrid", "HaGRID v1, 2.0 or v2-1M, full size or 512 px, as downloaded.", _HAGRID),
    ("laion-human", "LAION-Human as HumanSD hands it out, its pictures downloaded.", _LAION_HUMAN),
    ("folder", "Any folder of pictures.", _FOLDER),
):
    app.command(_source)(_command(_source, _about, _own))
