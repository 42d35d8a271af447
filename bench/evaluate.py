"""E1 to E3: measures beside the programs that define them.

    python bench/evaluate.py [--only E1 E2 E3] [--counts 500 10000] [--pictures DIR] [--rounds 5]

E1  AP and AR of 133 points: matching and averaging, beside `evaluate` and `accumulate` of pycocotools on the same
    people; the numbers must agree to 1e-9.
E2  Inception features of width 192 of 512 x 512 pictures, both resize modes, beside torchmetrics' network on the same
    batch; the Frechet distance beside torchmetrics'. The weights are random, which changes no time.
E3  from pictures to figures, by the evaluation's own code: real pictures and a method's, which are the mirrored ones,
    through every look (keypoints, SAM, features whole and foreground, CLIP), then all measures with bootstrap intervals
    and the results on disk, less what a run of one picture takes, which is told apart; beside it the same looks alone
    on pictures in memory. MediaPipe and Inception are as they are; SAM and CLIP are the real classes, small, of random
    weights: of full size they would take more, and what is around them less of the whole. `overlap`: how much of what
    could be hidden behind the longest part is; 0 is one after the other. Without --pictures, matplotlib's portrait.
torch computes with one thread on both sides. Ours and theirs alternate; medians, and CPU seconds where the machine is
shared. Prints one JSON line, then a table.
"""

import argparse
import contextlib
import io
import json
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from segment_anything import sam_model_registry

from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.annotate.people.sam import SamPeople
from h2d.eval.average_precision import AveragePrecision, AverageRecall
from h2d.eval.generate import method_folder
from h2d.eval.image_quality import quality_measures
from h2d.eval.inception import load_inception, random_inception
from h2d.eval.looking import Looks
from h2d.eval.looks.base import SHARD, Look, Seen, answers_folder, read_answers
from h2d.eval.looks.features import FeaturesLook, Region
from h2d.eval.looks.foreground import ForegroundLook
from h2d.eval.looks.pose import PoseLook
from h2d.eval.looks.text import PictureLook, PromptLook
from h2d.eval.matching import match
from h2d.eval.measure import measure_run
from h2d.eval.oks import SIGMAS_133, Found, Truth
from h2d.eval.options import MeasureConfig
from h2d.eval.picture_list import Entry, PictureList
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.placing import Silent
from h2d.images import load_rgb, resize
from h2d.machine import device_named
from h2d.manifests.rle import decode_rle
from h2d.manifests.store import points_array
from h2d.models.tiny import tiny_sam, write_tiny_clip
from h2d.pose.pose import Pose

NO_BOXES = np.zeros((0, 4), np.float32)
SIZE_PX = 512
MIRRORED = "mirrored"


def people(count: int) -> tuple[Truth, Found]:
    """One person in each picture, a tenth of the points missing, detections off by some pixels."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(50, 450, (count, 133, 2))
    truth = Truth(
        picture=np.arange(count),
        xy=xy,
        labelled=rng.random((count, 133)) < 0.9,
        area=rng.uniform(5e4, 2e5, count),
        box_xywh=np.tile([50.0, 50, 400, 400], (count, 1)),
    )
    off = rng.normal(0, 1, xy.shape) * rng.exponential(6, (count, 1, 1))
    return truth, Found(picture=np.arange(count), xy=xy + off, scores=rng.random(count))


def pycocotools_evaluation(truth: Truth, found: Found, count: int) -> Any:
    """Their objects, with everything read in."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def triples(xy: np.ndarray, labelled: np.ndarray) -> list[float]:
        return np.column_stack([np.where(labelled[:, None], xy, 0), labelled * 2.0]).ravel().tolist()

    notes = [
        {
            "id": row + 1, "image_id": row, "category_id": 1, "iscrowd": 0, "area": float(truth.area[row]),
            "bbox": truth.box_xywh[row].tolist(), "num_keypoints": int(truth.labelled[row].sum()),
            "keypoints": triples(truth.xy[row], truth.labelled[row]),
        }
        for row in range(count)
    ]  # fmt: skip
    answers = [
        {
            "image_id": row, "category_id": 1, "score": float(found.scores[row]),
            "keypoints": triples(found.xy[row], np.ones(133, bool)),
        }
        for row in range(count)
    ]  # fmt: skip
    ground = COCO()
    images = [{"id": row} for row in range(count)]
    ground.dataset = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "person"}]}
    ground.createIndex()
    evaluation = COCOeval(ground, ground.loadRes(answers), "keypoints")
    evaluation.params.kpt_oks_sigmas = SIGMAS_133
    # All sizes alone, as ours: their default would do the same work three times.
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    return evaluation


def oks_ap(count: int, rounds: int) -> dict[str, Any]:
    """E1."""
    truth, found = people(count)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = pycocotools_evaluation(truth, found, count)
    numbers: dict[str, tuple[float, float]] = {}

    def ours() -> None:
        matches = match(truth, found, SIGMAS_133, num_pictures=count)
        numbers["ours"] = AveragePrecision(matches=matches).on(), AverageRecall(matches=matches).on()

    def theirs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
        numbers["theirs"] = evaluation.eval["precision"].mean(), evaluation.eval["recall"].mean()

    repeats = max(1, 20_000 // count)  # so that a round of ours lasts long enough to be timed

    def ours_repeated() -> None:
        for _ in range(repeats):
            ours()

    scales = 1000 / repeats, 1000.0
    result = alternating(f"E1 AP and AR, {count} pictures", "ms", ours_repeated, theirs, rounds, scales=scales)
    difference = float(np.abs(np.subtract(numbers["ours"], numbers["theirs"])).max())
    assert difference < 1e-9, numbers
    return {**result, "ap": numbers["ours"][0], "difference": difference}


def features(count: int, rounds: int) -> list[dict[str, Any]]:
    """E2."""
    from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 512, 512, 3), dtype=np.uint8)
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(Path(folder))
        for resize in ("tensorflow", "antialias"):
            ours = load_inception(weights, (192,), resize=resize)
            theirs = NoTrainInceptionV3("inception-v3-compat", ["192"], str(weights), antialias=resize == "antialias")
            theirs.num_features = 192
            with torch.inference_mode():
                row = alternating(
                    f"E2 features 192, {resize}",
                    "ms/picture",
                    lambda ours=ours: ours.features(pictures, batch_size=count),
                    lambda theirs=theirs: theirs(batch),
                    rounds,
                    scales=(1000 / count, 1000 / count),
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                metric = FrechetInceptionDistance(theirs)
            half = count // 2
            metric.update(batch[:half], real=True)
            metric.update(batch[half:], real=False)
            sets = ours.features(pictures[:half]), ours.features(pictures[half:])
            value = quality_measures(*sets)["fid_192"].measured().value
            assert value is not None
            row["relative_difference"] = abs(value / float(metric.compute()) - 1)
            results.append(row)
    return results


def random_weights(folder: Path) -> Path:
    """Random numbers in the published format."""
    state = random_inception((64, 192, 768, 2048)).state_dict()
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


def end_to_end(pictures: Sequence[np.ndarray], rounds: int, folder: Path) -> dict[str, Any]:
    """E3."""
    looks = small_looks(folder)
    lists = {name: mirrored_run(some, folder / name) for name, some in (("many", pictures), ("one", pictures[:1]))}
    choices = MeasureConfig(resamples=200, distance_resamples=20)

    def evaluated(name: str) -> float:
        """Seconds from pictures that nobody has looked at to a run's results."""
        for looked in list((folder / name).rglob("looks")):
            shutil.rmtree(looked)
        start = time.perf_counter()
        measure_run(lists[name], folder / name, [MIRRORED], choices, Silent(), looks=looks)
        return time.perf_counter() - start

    evaluated("many")
    places = PictureFolder(path=folder / "many" / REAL), method_folder(folder / "many", MIRRORED)
    seen = [one for place in places for one in what_was_seen(place, lists["many"], looks)]
    alone = replace(looks, pose=PoseLook(HolisticDetector())).of(real=True)  # keypoints in this process
    ours: list[float] = []
    starts: list[float] = []
    parts: dict[str, list[float]] = {look.name: [] for look in alone}
    for _ in range(rounds):
        starts.append(evaluated("one"))
        ours.append(1000 * (evaluated("many") - starts[-1]) / (len(seen) - 2))
        for look in alone:
            parts[look.name].append(looked_alone(look, seen) * 1000 / len(seen))
    sums = [sum(taken) for taken in zip(*parts.values(), strict=True)]
    most = [max(taken) for taken in zip(*parts.values(), strict=True)]
    ratios = [beside / mine for mine, beside in zip(ours, sums, strict=True)]
    hidden = [(beside - mine) / (beside - longest) for mine, beside, longest in zip(ours, sums, most, strict=True)]
    return {
        "name": "E3 pictures to figures",
        "unit": "ms/picture",
        "ours": statistics.median(ours),
        "beside": statistics.median(sums),
        "ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "cpu_ratio": None,  # keypoints are found in another process, whose time is not this one's
        "rounds": rounds,
        "pictures": len(seen),
        "parts": {name: statistics.median(taken) for name, taken in parts.items()},
        "start_s": statistics.median(starts),
        "overlap": max(0.0, statistics.median(hidden)),
    }


def looked_alone(look: Look, seen: Sequence[Seen]) -> float:
    """Seconds for all pictures; prompts are read once for both of a pair."""
    some = seen[: len(seen) // 2] if look.name == PromptLook.name else seen
    look.setup()
    start = time.perf_counter()
    for first in range(0, len(some), SHARD):
        look.look(some[first : first + SHARD])
    taken = time.perf_counter() - start
    look.close()
    return taken


def small_looks(folder: Path) -> Looks:
    """All that an evaluation looks with: MediaPipe and Inception as they are, SAM and CLIP small, weights random."""
    write_tiny_clip(folder / "clip")
    sam_model_registry["vit_b"] = tiny_sam
    torch.manual_seed(0)
    torch.save(tiny_sam().state_dict(), folder / "sam.pth")
    device = device_named("auto")
    regions = get_args(Region)
    return Looks(
        pose=PoseLook(HolisticDetector(), in_child=True),
        foreground=ForegroundLook(SamPeople(model="vit_b", checkpoint=folder / "sam.pth", device=device)),
        features=tuple(
            FeaturesLook(region=region, width=192, resize="tensorflow", weights=None, device=device)
            for region in regions
        ),
        clip=PictureLook(folder / "clip", device=device),
        prompts=PromptLook(folder / "clip", device=device),
        missing={},
    )


def mirrored_run(pictures: Sequence[np.ndarray], out: Path) -> PictureList:
    """A run whose real pictures these are, and whose method mirrors them; asked for is who is found in them."""
    detector = HolisticDetector()
    detector.setup()
    poses: dict[int, Pose] = {}
    for picture in pictures:
        if id(picture) not in poses:
            found = detector.detect(picture, NO_BOXES)
            poses[id(picture)] = Pose(people=found.body[None], width=SIZE_PX, height=SIZE_PX)
    detector.close()
    listed = PictureList(
        entries=tuple(
            Entry(
                number=number, id=f"picture/{number}", pose=poses[id(picture)], prompt="A person looks at us.",
                seed=number, size=SIZE_PX,
            )
            for number, picture in enumerate(pictures)
        ),
        facts={"pose_of": "holistic"},
    )  # fmt: skip
    real, mirrored = PictureFolder(path=out / REAL), method_folder(out, MIRRORED)
    real.claim({"name": REAL, "list_sha256": listed.sha256})
    mirrored.claim({"name": MIRRORED, "title": "Mirrored", "list_sha256": listed.sha256})
    for entry, picture in zip(listed.entries, pictures, strict=True):
        real.write(entry.name, picture, {"id": entry.id})
        mirrored.write(entry.name, np.ascontiguousarray(picture[:, ::-1]), {"id": entry.id})
    return listed


def what_was_seen(folder: PictureFolder, listed: PictureList, looks: Looks) -> list[Seen]:
    """The pictures as every look gets them, with the points and masks that the others found."""
    tables = {
        name: read_answers(answers_folder(folder, name, looks.fingerprints[name]), len(listed))
        for name in (PoseLook.name, ForegroundLook.name)
    }
    found, masks = points_array(tables[PoseLook.name]["points"]), tables[ForegroundLook.name]["mask"]
    return [
        Seen(entry=entry, picture=folder.read(entry)[0], found=found[number], mask=decode_rle(masks[number].as_py()))
        for number, entry in enumerate(listed.entries)
    ]


def alternating(
    name: str,
    unit: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int,
    *,
    scales: tuple[float, float],
) -> dict[str, Any]:
    """Medians of wall and CPU time of both, after one round that is not counted."""
    wall: tuple[list[float], list[float]] = ([], [])
    cpu: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side, call in enumerate((ours, theirs)):
            start, used = time.perf_counter(), time.process_time()
            call()
            if number:
                wall[side].append((time.perf_counter() - start) * scales[side])
                cpu[side].append((time.process_time() - used) * scales[side])
    ratios = [bare / mine for mine, bare in zip(*wall, strict=True)]
    return {
        "name": name,
        "unit": unit,
        "ours": statistics.median(wall[0]),
        "beside": statistics.median(wall[1]),
        "ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "cpu_ratio": statistics.median(cpu[1]) / statistics.median(cpu[0]),
        "rounds": rounds,
    }


def pictures_of(folder: Path | None, count: int) -> list[np.ndarray]:
    """So many pictures of the folder, their middle squares at one size; again from the first where it has fewer."""
    if folder is None:
        from matplotlib.cbook import get_sample_data

        found = [load_rgb(Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False))))]
    else:
        found = [load_rgb(file) for file in sorted(folder.rglob("*.jpg"))]
    squares = [middle_square(picture) for picture in found]
    return [squares[number % len(squares)] for number in range(count)]


def middle_square(picture: np.ndarray) -> np.ndarray:
    """At the list's size."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return resize(np.ascontiguousarray(picture[top : top + side, left : left + side]), (SIZE_PX, SIZE_PX))


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["E1", "E2", "E3"], default=["E1", "E2", "E3"])
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 10_000])
    parser.add_argument("--pictures", type=Path, help="photographs for E3")
    parser.add_argument("--num-pictures", type=int, default=60, help="of E3, each looked at twice")
    parser.add_argument("--batch", type=int, default=16, help="of E2")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: list[dict[str, Any]] = []
    if "E1" in options.only:
        results += [oks_ap(count, options.rounds) for count in options.counts]
    if "E2" in options.only:
        results += features(options.batch, options.rounds)
    if "E3" in options.only:
        with tempfile.TemporaryDirectory() as folder:
            pictures = pictures_of(options.pictures, options.num_pictures)
            results.append(end_to_end(pictures, options.rounds, Path(folder)))
    print(json.dumps(results))
    print(f"{'':32} {'ours':>9} {'beside':>9} {'ratio':>7} {'CPU ratio':>9}")
    for row in results:
        print(
            f"{row['name']:32} {row['ours']:9.2f} {row['beside']:9.2f} {row['ratio']:7.2f}"
            f" {row['cpu_ratio'] or float('nan'):9.2f}  {row['unit']}"
        )
        for name, taken in row.get("parts", {}).items():
            print(f"   {name + ' alone':39} {taken:9.2f}")
        if "overlap" in row:
            print(f"   start of a run {row['start_s']:.1f} s, overlap {row['overlap']:.2f}")


if __name__ == "__main__":
    main()
