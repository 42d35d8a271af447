"""From pictures to numbers: every method of a run against the list, with intervals, parts and differences.

Axis legend: n pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from h2d.errors import UserError
from h2d.eval.extras import hand_measures
from h2d.eval.generate import method_folder
from h2d.eval.image_quality import quality_measures
from h2d.eval.looking import Looks, choose_looks
from h2d.eval.looks.features import FeaturesLook, features_in
from h2d.eval.looks.text import PictureLook, PromptLook, embeddings_of, prompts_of
from h2d.eval.measured import Measures
from h2d.eval.options import MeasureConfig
from h2d.eval.pairing import paired_people
from h2d.eval.picture_list import PictureList
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.placing import Watch
from h2d.eval.pose_accuracy import pose_measures
from h2d.eval.poses import PoseSet
from h2d.eval.results import Results
from h2d.eval.summary import PER_PICTURE_FILE, Subject, per_picture_table, summarise, truth_of
from h2d.eval.taking import take_looks
from h2d.eval.text_alignment import alignment_measures
from h2d.manifests.files import write_parquet
from h2d.manifests.store import points_array
from h2d.pose.points import present
from h2d.pose.pose import Pose


def measure_run(
    pictures: PictureList,
    out: Path,
    names: Sequence[str],
    choices: MeasureConfig,
    watch: Watch,
    *,
    looks: Looks | None = None,
    unfinished: Mapping[str, str] | None = None,
    workers: int = 1,
    address: str | None = None,
) -> Results | None:
    """Look at the pictures of the real folder and of the named methods, and measure; None when stopped.

    `looks` stand for those that `choices` name; `unfinished` methods are told of in the results. Writes `results.json`
    and `per_picture.parquet` into `out`. Raises `UserError` where pictures are missing or were made for another list.
    """
    looks = looks or choose_looks(choices.look)
    folders = {REAL: PictureFolder(path=out / REAL), **{name: method_folder(out, name) for name in names}}
    for folder in folders.values():
        if folder.made["list_sha256"] != pictures.sha256:
            sha256 = folder.made["list_sha256"][:12]
            raise UserError(f"{folder.path}: made for another list (sha256 {sha256}): make it again")
    tables = take_looks(looks, pictures, folders, watch, workers=workers, address=address)
    if tables is None:
        return None
    subjects = [Subject(folder=folder, made=folder.made, tables=tables[name]) for name, folder in folders.items()]
    reference = subjects[0]
    for subject in subjects:
        subject.found = found_poses(subject.tables["pose"], pictures)
        subject.measures = _measures(subject, reference, pictures, looks, choices)
    results = summarise(subjects, pictures, looks, choices, watch)
    if results is None:
        return None
    results = replace(results, unfinished=unfinished or {})
    write_parquet(out / PER_PICTURE_FILE, per_picture_table(subjects, pictures))
    results.write(out)
    return results


def found_points(table: pa.Table) -> np.ndarray:
    """The points of the look at poses, in the list's order."""
    return points_array(table["points"])


def found_poses(table: pa.Table, pictures: PictureList) -> PoseSet:
    """Whom the look at poses found; the most prominent person of a picture, or nobody."""
    return PoseSet.of(
        [
            Pose(people=points[None], width=pictures.size, height=pictures.size) if present(points).any() else None
            for points in found_points(table).copy()
        ]
    )


def _measures(subject: Subject, real: Subject, pictures: PictureList, looks: Looks, choices: MeasureConfig) -> Measures:
    """All of a subject's; the real pictures have none of those that compare with them."""
    assert subject.found is not None
    by = {
        "asked_for_by": pictures.facts.get("pose_of"),
        "found_by": _detector_name(looks.pose.identity()),
        "found_fingerprint": looks.fingerprints[looks.pose.name],
        "picture_px": pictures.size,
        "enlarged_px": looks.pose.identity()["enlarged_px"],
    }
    truth = truth_of(pictures, choices.pose)
    posed = pose_measures(truth, subject.found, choices.pose) | hand_measures(paired_people(truth, subject.found))
    measures = {short: replace(measure, conventions={**measure.conventions, **by}) for short, measure in posed.items()}
    if looks.clip is not None:
        prompts = prompts_of(real.tables[PromptLook.name])
        pictures_seen = embeddings_of(subject.tables[PictureLook.name])
        aligned = alignment_measures(pictures_seen, prompts, model=looks.clip.model)
        measures |= {
            short: replace(measure, conventions={**measure.conventions, "picture_px": pictures.size})
            for short, measure in aligned.items()
        }
    if not subject.is_real:
        for look in looks.features:
            measures |= _quality(look, subject, real, pictures, looks, choices)
    return measures


def _quality(
    look: FeaturesLook, subject: Subject, real: Subject, pictures: PictureList, looks: Looks, choices: MeasureConfig
) -> Measures:
    region, by = "whole", {}
    notes: tuple[str, ...] = ()
    if look.region == "foreground":
        assert looks.foreground is not None
        identity = looks.foreground.identity()
        region = f"foreground by {identity['segmenter']['name']}, fill {look.fill}"
        by = {"segmented_fingerprint": looks.fingerprints[looks.foreground.name]}
        notes = _empty_notes(subject, real)
    measures = quality_measures(
        features_in(real.tables[look.name], look.identity()),
        features_in(subject.tables[look.name], look.identity()),
        replace(choices.quality, region=region),
    )
    return {
        short: replace(
            measure,
            conventions={**measure.conventions, "picture_px": pictures.size, **by},
            notes=(*measure.notes, *notes),
        )
        for short, measure in measures.items()
    }


def _empty_notes(subject: Subject, real: Subject) -> tuple[str, ...]:
    """How many foregrounds are nothing but the fill, for their distance is then of black pictures."""
    counts = [int((one.tables["foreground"]["mask_px"].to_numpy() == 0).sum()) for one in (subject, real)]
    if not any(counts):
        return ()
    return (f"nobody was found to keep in {counts[0]} generated and {counts[1]} real pictures, which are all fill",)


def _detector_name(identity: Mapping[str, Any]) -> str:
    detector = identity["detector"]
    name = str(detector.get("model", detector.get("name", "?")))
    return f"{name} {detector['mediapipe']}" if "mediapipe" in detector else name
