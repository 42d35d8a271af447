"""E1 to E3: measures beside the programs that define them.

    python bench/evaluate.py [--counts 500 10000] [--pictures DIR] [--rounds 5]

E1  AP and AR of 133 points: matching and averaging, beside `evaluate` and `accumulate` of pycocotools on the same
    people; the numbers must agree to 1e-9.
E2  Inception features of width 192 of 512 x 512 pictures, both resize modes, beside torchmetrics' network on the same
    batch; the Frechet distance beside torchmetrics'. The weights are random, which changes no time.
E3  from pictures to figures: keypoints on as many threads as there are cores, features beside them, then all pose
    measures, both distances and bootstrap intervals; beside it keypoints and features alone, one after the other. On a
    CPU their sum is the limit. The generated pictures are the mirrored ones. Without --pictures, matplotlib's sample
    portrait.
torch computes with one thread on both sides. Ours and theirs alternate; medians, and CPU seconds where the machine is
shared. Prints one JSON line, then a table.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.eval.average_precision import AveragePrecision, AverageRecall
from h2d.eval.image_quality import quality_measures
from h2d.eval.inception import Inception, load_inception, random_inception
from h2d.eval.intervals import with_interval
from h2d.eval.matching import match
from h2d.eval.oks import SIGMAS_133, Found, Truth
from h2d.eval.pose_accuracy import pose_measures
from h2d.eval.poses import PoseSet
from h2d.images import load_rgb
from h2d.machine import num_cores
from h2d.pose.pose import Pose

NO_BOXES = np.zeros((0, 4), np.float32)


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


def end_to_end(pictures: Sequence[np.ndarray], rounds: int) -> dict[str, Any]:
    """E3."""
    detectors = [HolisticDetector() for _ in range(num_cores())]
    network = random_inception((192,))
    mirrored = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
    with ThreadPoolExecutor(len(detectors)) as pool:
        for detector in detectors:
            detector.setup()
        truth, real = poses_of(detectors, pool, pictures), network.features(pictures)
        steps: dict[str, float] = {}

        def whole() -> None:
            with ThreadPoolExecutor(1) as beside:
                made = beside.submit(network.features, mirrored)
                found = poses_of(detectors, pool, mirrored)
                figures(truth, found, network, real, made.result(), steps)

        def parts() -> None:
            poses_of(detectors, pool, mirrored)
            network.features(mirrored)

        scales = 1000 / len(pictures), 1000 / len(pictures)
        result = alternating("E3 pictures to figures", "ms/picture", whole, parts, rounds, scales=scales)
        for detector in detectors:
            detector.close()
    return {**result, "pictures": len(pictures), "measures_s": steps["measures"]}


def poses_of(detectors: Sequence[Any], pool: ThreadPoolExecutor, pictures: Sequence[np.ndarray]) -> PoseSet:
    """The most prominent person of each picture; each thread has a detector of its own."""

    def work(number: int) -> list[Pose | None]:
        poses: list[Pose | None] = []
        for picture in pictures[number :: len(detectors)]:
            found = detectors[number].detect(picture, NO_BOXES)
            height, width = picture.shape[:2]
            poses.append(Pose(people=found.body[None], width=width, height=height) if found.num_persons else None)
        return poses

    poses: list[Pose | None] = [None] * len(pictures)
    for number, part in enumerate(pool.map(work, range(len(detectors)))):
        poses[number :: len(detectors)] = part
    return PoseSet.of(poses)


def figures(truth: PoseSet, found: PoseSet, network: Inception, real: Any, made: Any, steps: dict[str, float]) -> None:
    """All measures, and intervals of those that have one."""
    start = time.perf_counter()
    for measure in pose_measures(truth, found).values():
        with_interval(measure, rng=np.random.default_rng(0), resamples=200)
    for measure in quality_measures(real, made).values():
        with_interval(measure, rng=np.random.default_rng(0), resamples=20, method="centred")
    steps["measures"] = time.perf_counter() - start


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
    """So many pictures of the folder, again from the first where it has fewer."""
    if folder is None:
        from matplotlib.cbook import get_sample_data

        found = [load_rgb(Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False))))]
    else:
        found = [load_rgb(file) for file in sorted(folder.rglob("*.jpg"))]
    return [found[number % len(found)] for number in range(count)]


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 10_000])
    parser.add_argument("--pictures", type=Path, help="photographs for E3")
    parser.add_argument("--num-pictures", type=int, default=120, help="of E3")
    parser.add_argument("--batch", type=int, default=16, help="of E2")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = [oks_ap(count, options.rounds) for count in options.counts]
    results += features(options.batch, options.rounds)
    results.append(end_to_end(pictures_of(options.pictures, options.num_pictures), options.rounds))
    print(json.dumps(results))
    print(f"{'':32} {'ours':>9} {'beside':>9} {'ratio':>7} {'CPU ratio':>9}")
    for row in results:
        print(
            f"{row['name']:32} {row['ours']:9.2f} {row['beside']:9.2f} {row['ratio']:7.2f} {row['cpu_ratio']:9.2f}"
            f"  {row['unit']}"
        )


if __name__ == "__main__":
    main()
