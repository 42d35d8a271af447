"""P1 and P2: keypoints beside a bare loop, and what a picture costs apart from its models.

    python bench/keypoints.py [--pictures DIR] [--count 120] [--rounds 5]

P1  the pose stage on Ray with one worker per core, against a bare loop in one process that decodes and asks Holistic;
    alternating, start-up left out on both sides. Also its share of the limit: cores / CPU seconds of one bare picture.
P2  CPU milliseconds a 1080p picture spends in the pose and merge stages with a detector that answers at once: read,
    hash, decode, working picture, crop, encode, Parquet. Decoding alone is shown beside it.
Without --pictures, matplotlib's sample portrait is used, enlarged to 1080p for P2.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from h2d.annotate.base import Detection, FoundHand
from h2d.annotate.crops import CropConfig
from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.annotate.keypoints.quiet import quiet_native
from h2d.images import decode_rgb, encode_jpeg, load_rgb, resize
from h2d.machine import num_cores
from h2d.pipelines.executors.ray import RayExecutor
from h2d.pipelines.merge import MergeJob
from h2d.pipelines.plan import Plan, SelectionConfig, list_source, open_plan
from h2d.pipelines.sources.folder import FolderSource
from h2d.pipelines.stages.pose import PoseStage
from h2d.pipelines.worker import StageJob
from h2d.pipelines.working_picture import PictureConfig
from h2d.supervision.job import Care, Tally


@dataclass
class Timeline:
    """A watch that keeps when pictures were done, so that start-up can be left out."""

    points: list[tuple[float, int]]

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None: ...

    def pictures_worked(self, tally: Tally) -> None:
        self.points.append((time.monotonic(), self.points[-1][1] + sum(tally.statuses.values()) if self.points else 0))

    def job_ended(self, name: str) -> None: ...

    def should_stop(self) -> bool:
        return False

    def rate(self) -> float:
        """Pictures a second between the first and the last report."""
        (start, before), (end, after) = self.points[0], self.points[-1]
        return (after - before) / (end - start)


@dataclass(frozen=True, kw_only=True)
class InstantDetector:
    """Answers at once with a hand in the middle, so that only the work around the model is timed."""

    def identity(self) -> Mapping[str, Any]:
        return {}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: object = None) -> Detection:
        height, width = picture.shape[:2]
        points = np.ones((21, 3), np.float32)
        points[:, 0] = width / 2 + 100 * np.cos(np.arange(21))
        points[:, 1] = height / 2 + 100 * np.sin(np.arange(21))
        return Detection(num_persons=1, hands={"left": FoundHand(points=points, found_by="bench")})


def pose_job(work: Path, pictures: Path, detector: Any, shard_size: int) -> tuple[StageJob, Plan]:
    """The pose stage over a folder, planned afresh."""
    source = FolderSource(root=pictures)
    plan = open_plan(work, source, list_source(source, SelectionConfig(), shard_size))
    stage = PoseStage(root=pictures, annotator="bench", detector=detector, pictures=PictureConfig(), crops=CropConfig())
    return StageJob(stage=stage, work=work, fingerprint="bench", inputs={}), plan


def bare_loop(pictures: list[Path]) -> tuple[float, float]:
    """Wall and CPU seconds per picture of the shortest straight script."""
    from mediapipe.python.solutions.holistic import Holistic

    with quiet_native(), Holistic(static_image_mode=True, model_complexity=1) as holistic:
        holistic.process(load_rgb(pictures[0]))
        wall, cpu = time.perf_counter(), time.process_time()
        for file in pictures:
            picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
            holistic.process(picture)
        return (time.perf_counter() - wall) / len(pictures), (time.process_time() - cpu) / len(pictures)


def keypoints(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """P1."""
    cores = num_cores()
    files = sorted(folder.iterdir())[:count]
    ours, bare, cpu = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            job, plan = pose_job(work, folder, HolisticDetector(), shard_size=-(-count // (2 * cores)))
            executor = RayExecutor(num_workers=cores, address=None, scratch=work / "progress")
            line = Timeline(points=[])
            executor.run(job, plan.shards, line)
            executor.close()
        ours.append(line.rate())
        wall_s, cpu_s = bare_loop(files)
        bare.append(1 / wall_s)
        cpu.append(cpu_s)
    limit = cores / statistics.median(cpu)
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    return {
        "goal": "P1: >= 1.40x the bare loop, >= 0.85 of the limit, on 2 cores",
        "cores": cores,
        "pictures": count,
        "ours_per_s": ours,
        "bare_per_s": bare,
        "ratio_median": statistics.median(ratios),
        "ratios": ratios,
        "limit_per_s": limit,
        "share_of_limit": statistics.median(ours) / limit,
    }


def overhead(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """P2."""
    cv2.setNumThreads(1)
    files = sorted(folder.iterdir())[:count]
    pose_ms, merge_ms, decode_ms = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            job, plan = pose_job(work, folder, InstantDetector(), shard_size=4096)
            merge = MergeJob(work=work, fingerprint="bench", inputs={"pose": "bench"}, source="folder", facts={})
            for target, times in ((job, pose_ms), (merge, merge_ms)):
                target.setup()
                start = time.process_time()
                for shard in plan.shards:
                    target.run(shard, lambda tally: None, lambda places: None, Care())
                times.append(1000 * (time.process_time() - start) / count)
        data = [file.read_bytes() for file in files]
        start = time.process_time()
        for item in data:
            decode_rgb(item)
        decode_ms.append(1000 * (time.process_time() - start) / count)
    total = [pose + merge for pose, merge in zip(pose_ms, merge_ms, strict=True)]
    return {
        "goal": "P2: <= 5 ms a 1080p picture for everything but models",
        "pictures": count,
        "cpu_ms_per_picture": statistics.median(total),
        "of_which_decode_ms": statistics.median(decode_ms),
        "of_which_merge_ms": statistics.median(merge_ms),
        "ratio_to_decode": statistics.median(total) / statistics.median(decode_ms),
        "rounds_ms": total,
    }


def sample_portrait() -> np.ndarray:
    """A photograph of a person that every installation has."""
    import matplotlib

    return load_rgb(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")


def fill(folder: Path, pictures: list[bytes], count: int) -> None:
    """Write `count` files, the pictures in turn."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(pictures[number % len(pictures)])


def main() -> None:
    """Run both and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder of JPEG photographs, searched below")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    given = sorted(arguments.pictures.rglob("*.jpg")) if arguments.pictures else []
    photographs = [file.read_bytes() for file in given] or [encode_jpeg(sample_portrait())]
    large = encode_jpeg(resize(decode_rgb(photographs[0]), (1080, 1920)), quality=90)
    with tempfile.TemporaryDirectory() as temporary:
        fill(Path(temporary) / "photographs", photographs, arguments.count)
        fill(Path(temporary) / "large", [large], arguments.count)
        p1 = keypoints(Path(temporary) / "photographs", arguments.count, arguments.rounds)
        p2 = overhead(Path(temporary) / "large", arguments.count, arguments.rounds)
        shutil.rmtree(temporary, ignore_errors=True)
    print(f"{'P1 ours, pictures/s':<36}{statistics.median(p1['ours_per_s']):8.1f}")
    print(f"{'P1 bare loop, pictures/s':<36}{statistics.median(p1['bare_per_s']):8.1f}")
    print(f"{'P1 ratio (goal 1.40)':<36}{p1['ratio_median']:8.2f}")
    print(f"{'P1 share of the limit (goal 0.85)':<36}{p1['share_of_limit']:8.2f}")
    print(f"{'P2 ms per 1080p picture (goal 5)':<36}{p2['cpu_ms_per_picture']:8.2f}")
    print(f"{'P2 of which decoding, ms':<36}{p2['of_which_decode_ms']:8.2f}")
    print(json.dumps({"P1": p1, "P2": p2}, indent=2))


if __name__ == "__main__":
    main()
