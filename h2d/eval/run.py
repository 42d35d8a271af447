"""A run's folder from list to report: real pictures, methods' pictures, looks, numbers, pages.

    <out>/list.jsonl  real/  methods/<name>/{made.json,pictures,looks}  results.json  per_picture.parquet  report.*

Whatever is there and unchanged is not made again, so that the same command goes on where it was stopped.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from h2d.errors import UserError
from h2d.eval.generate import make_pictures, method_folder
from h2d.eval.given import Match, matched_files, take_folder
from h2d.eval.looking import choose_looks
from h2d.eval.measure import measure_run
from h2d.eval.methods import METHODS, MethodOptions, make_method
from h2d.eval.options import MeasureConfig
from h2d.eval.picture_list import LIST_FILE, PictureList, read_list
from h2d.eval.pictures import MADE_FILE, METHODS_FOLDER, REAL, PictureFolder, copy_real
from h2d.eval.placing import Watch, placed_device
from h2d.eval.report import write_reports
from h2d.eval.results import Results
from h2d.manifests.files import refuse_unwritable
from h2d.manifests.io import Location

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")


@dataclass(frozen=True, kw_only=True)
class Placing:
    """Where the work is done."""

    workers: int = 1
    address: str | None = None
    manifest: Location | None = None
    """Where the list's manifest lies now, if that has changed."""


def evaluate_methods(
    names: Sequence[str],
    pictures: PictureList,
    out: Path,
    options: MethodOptions,
    choices: MeasureConfig,
    watch: Watch,
    placing: Placing,
    *,
    fresh: bool = False,
) -> Results | None:
    """Make the pictures of the named methods, measure every method of the run, write the report; None when stopped."""
    device = placed_device(options.device, workers=placing.workers, address=placing.address)
    options = replace(options, device=device)
    for name in names:
        make_method(name, options).identity()  # raises before anything is written
    choose_looks(choices.look).check()
    _open(pictures, out)
    for name in names if fresh else ():
        shutil.rmtree(method_folder(out, name).path, ignore_errors=True)
    if not _copy_real(pictures, out, watch, placing):
        return None
    for name in names:
        made = make_pictures(name, pictures, out, options, watch, workers=placing.workers, address=placing.address)
        if not made:
            return None
    return measure_and_report(pictures, out, choices, watch, placing)


def evaluate_folder(
    source: Path,
    pictures: PictureList,
    out: Path,
    choices: MeasureConfig,
    watch: Watch,
    placing: Placing,
    *,
    name: str | None = None,
    match: Match = "auto",
    fresh: bool = False,
) -> Results | None:
    """Take over the pictures of another program as a method of the run, measure and report; None when stopped."""
    title = name or source.resolve().name
    name = re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-.")
    if not _NAME.fullmatch(name) or name == REAL:
        raise UserError(f"--name {title!r}: give a name of letters, digits and dashes, other than {REAL}")
    if name in METHODS:
        raise UserError(f"--name {title!r}: that is one of our own methods: give another name")
    matched_files(source, pictures, match)
    choose_looks(choices.look).check()
    _open(pictures, out)
    folder = method_folder(out, name)
    if fresh:
        shutil.rmtree(folder.path, ignore_errors=True)
    if not take_folder(source, pictures, folder, watch, name=name, title=title, match=match):
        return None
    if not _copy_real(pictures, out, watch, placing):
        return None
    return measure_and_report(pictures, out, choices, watch, placing)


def measure_and_report(
    pictures: PictureList, out: Path, choices: MeasureConfig, watch: Watch, placing: Placing
) -> Results | None:
    """Measure every method whose pictures are all there, and write the report; None when stopped.

    Of the others the report says what they lack. Raises `UserError` where no method is whole, or a real picture lacks.
    """
    names, unfinished = methods_of(out, pictures), unfinished_of(out, pictures)
    if not names:
        lacking = next((f"{name}: {why}" for name, why in unfinished.items()), "make some: h2d evaluate run")
        raise UserError(f"{out}: no method's pictures are all there: {lacking}")
    real = PictureFolder(path=out / REAL)
    if why := _lacks(real, pictures):
        raise UserError(f"{real.path}: {why}")
    results = measure_run(
        pictures, out, names, choices, watch,
        unfinished=unfinished, workers=placing.workers, address=placing.address,
    )  # fmt: skip
    if results is not None:
        write_reports(results, pictures, out)
    return results


def methods_of(out: Path, pictures: PictureList) -> list[str]:
    """Methods of a run with all their pictures: others' first by name, then ours, the whole method last."""
    ours = {name: place for place, name in enumerate(reversed(METHODS))}
    names = [
        path.parent.name
        for path in (out / METHODS_FOLDER).glob(f"*/{MADE_FILE}")
        if not PictureFolder(path=path.parent).lacking(pictures.entries)
    ]
    return sorted(names, key=lambda name: (ours.get(name, -1), name))


def unfinished_of(out: Path, pictures: PictureList) -> dict[str, str]:
    """Methods that a run began and whose pictures are not all there: which lack, and what makes them."""
    begun = {path.parent for part in (MADE_FILE, "pictures") for path in (out / METHODS_FOLDER).glob(f"*/{part}")}
    return {path.name: why for path in sorted(begun) if (why := _lacks(PictureFolder(path=path), pictures))}


def _lacks(folder: PictureFolder, pictures: PictureList) -> str:
    if not folder.is_claimed:
        return f"no {MADE_FILE} says how its pictures were made: delete {folder.path}"
    return folder.lack(pictures.entries)


def list_of(out: Path) -> PictureList:
    """The list of a run; raises `UserError` where the folder is none."""
    if not (out / LIST_FILE).is_file():
        raise UserError(f"{out}: not a run of h2d evaluate: it has no {LIST_FILE}")
    return read_list(out / LIST_FILE)


def _open(pictures: PictureList, out: Path) -> None:
    """Keep the list with the run; raises `UserError` where the folder is another list's."""
    if (out / LIST_FILE).is_file():
        there = list_of(out)
        if there.sha256 != pictures.sha256:
            raise UserError(
                f"{out}: holds a run of another list ({len(there)} pictures, sha256 {there.sha256[:12]}): give another"
                " --out"
            )
        return
    refuse_unwritable(out)
    pictures.write(out / LIST_FILE)


def _copy_real(pictures: PictureList, out: Path, watch: Watch, placing: Placing) -> bool:
    return copy_real(pictures, PictureFolder(path=out / REAL), watch, manifest=placing.manifest)
