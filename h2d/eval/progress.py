"""How far an evaluation is, read from its folder: also while it runs, on another machine, without a model."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from h2d.eval.picture_list import LIST_FILE, PictureList, read_list
from h2d.eval.pictures import METHODS_FOLDER, REAL, PictureFolder
from h2d.eval.results import RESULTS_FILE, read_results

_PACE_OVER: Final = 64
"""Pictures: several batches, and short enough to forget a pause. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderProgress:
    """One method's pictures, or the real ones."""

    title: str
    num_made: int
    is_measured: bool
    """Whether the results hold it, and are newer than its pictures."""
    seconds_per_picture: float | None
    """Of the clock, between the last ones; None where fewer than two were made."""
    seconds_ago: float | None
    """Since the last picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationProgress:
    """A run of `h2d evaluate`."""

    num_pictures: int
    folders: tuple[FolderProgress, ...]
    """The real pictures first, then the methods by name."""


def is_evaluation(out: Path) -> bool:
    """Whether `h2d evaluate` works or worked in a folder; a list that lies there alone is none of a run."""
    return (out / LIST_FILE).is_file() and ((out / REAL).is_dir() or (out / METHODS_FOLDER).is_dir())


def read_progress(out: Path) -> EvaluationProgress:
    """Look at a folder of which `is_evaluation` holds; raises `UserError` where its list or its results are damaged."""
    pictures = read_list(out / LIST_FILE)
    measured_at: dict[str, float] = {}
    if (out / RESULTS_FILE).is_file():
        when = (out / RESULTS_FILE).stat().st_mtime
        measured_at = {method.name: when for method in read_results(out).methods}
    folders = [PictureFolder(path=path) for path in (out / REAL, *sorted((out / METHODS_FOLDER).glob("*")))]
    return EvaluationProgress(
        num_pictures=len(pictures),
        folders=tuple(
            _progress(folder, pictures, measured_at.get(folder.path.name)) for folder in folders if folder.is_claimed
        ),
    )


def _progress(folder: PictureFolder, pictures: PictureList, measured_at: float | None) -> FolderProgress:
    lacking = set(folder.lacking(pictures.entries))
    made_at = sorted(
        folder.picture(entry.name).stat().st_mtime for entry in pictures.entries if entry.number not in lacking
    )
    last = made_at[-_PACE_OVER:]
    return FolderProgress(
        title=folder.made.get("title", REAL),
        num_made=len(made_at),
        is_measured=not lacking and measured_at is not None and measured_at >= made_at[-1],
        seconds_per_picture=(last[-1] - last[0]) / (len(last) - 1) if len(last) > 1 else None,
        seconds_ago=max(0.0, time.time() - made_at[-1]) if made_at else None,
    )
