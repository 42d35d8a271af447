"""What a run's numbers were computed from, read back from its folder without a model, so that they can be resampled.

Axis legend: n pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from h2d.config import validate_config
from h2d.eval.extras import hand_measures
from h2d.eval.generate import method_folder
from h2d.eval.image_quality import QualityConventions, quality_measures
from h2d.eval.looks.base import answers_folder, read_answers, read_identity
from h2d.eval.looks.features import Region, features_in, look_name
from h2d.eval.looks.pose import PoseLook
from h2d.eval.looks.text import PictureLook, PromptLook, embeddings_of, prompts_of
from h2d.eval.measure import found_poses
from h2d.eval.measured import Measures, Statistic, Undefined
from h2d.eval.options import MeasureConfig
from h2d.eval.pairing import paired_people
from h2d.eval.picture_list import LIST_FILE, PictureList
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.pose_accuracy import pose_measures
from h2d.eval.results import RESULTS_FILE, Results
from h2d.eval.run import list_of
from h2d.eval.summary import groups_of, truth_of
from h2d.eval.text_alignment import clipsim


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Behind the numbers of one method of a run."""

    run: Path
    choices: MeasureConfig
    """How they were measured."""
    groups: Int64[np.ndarray, " n"] | None
    """Pictures that are drawn together."""
    statistics: Mapping[str, Statistic]
    """By the number's short name."""


def evidence_of(run: Path, results: Results, method: str) -> Evidence:
    """Of a method in a run's folder; raises `Undefined` where what was seen in its pictures is not there."""
    if not results.looks:
        raise Undefined(f"{run} was measured by an earlier h2d: h2d evaluate report {run}")
    if not (run / LIST_FILE).is_file():
        raise Undefined(f"{run} has no {LIST_FILE} beside its results")
    pictures = list_of(run)
    choices = validate_config(MeasureConfig, results.options, where=str(run / RESULTS_FILE))
    return Evidence(
        run=run,
        choices=choices,
        groups=groups_of(pictures),
        statistics=_statistics(run, results, method, pictures, choices),
    )


def _statistics(
    run: Path, results: Results, method: str, pictures: PictureList, choices: MeasureConfig
) -> dict[str, Statistic]:
    real, made = PictureFolder(path=run / REAL), method_folder(run, method)
    truth = truth_of(pictures, choices.pose)
    found = found_poses(_answers(made, PoseLook.name, results), pictures)
    measures = pose_measures(truth, found, choices.pose) | hand_measures(paired_people(truth, found))
    for region in get_args(Region):
        if look_name(region) in results.looks:
            measures |= _quality(real, made, region, results, choices.quality)
    statistics = {short: measure.statistic for short, measure in measures.items()}
    if PictureLook.name in results.looks:
        seen = embeddings_of(_answers(made, PictureLook.name, results))
        statistics["clipsim"] = clipsim(seen, prompts_of(_answers(real, PromptLook.name, results)))
    return statistics


def _quality(
    real: PictureFolder, made: PictureFolder, region: Region, results: Results, conventions: QualityConventions
) -> Measures:
    name = look_name(region)
    of_real, of_made = (
        features_in(_answers(folder, name, results), read_identity(answers_folder(folder, name, results.looks[name])))
        for folder in (real, made)
    )
    return quality_measures(of_real, of_made, replace(conventions, region=region))


def _answers(folder: PictureFolder, look: str, results: Results) -> pa.Table:
    """Of a look, for the whole list; raises `Undefined` where they are not all there."""
    place = answers_folder(folder, look, results.looks[look])
    try:
        return read_answers(place, int(results.picture_list["count"]))
    except (OSError, pa.ArrowInvalid):
        raise Undefined(f"{place} is not there, or not whole: h2d evaluate report makes it again") from None
