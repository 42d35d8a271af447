"""C1 to C3: what `h2d prepare` costs a picture apart from its models, from ten thousand records to a million.

    python bench/scale.py [--counts 10000 1000000] [--dir FOLDER]   (a million: half an hour, 12 GB)

A source that makes records up and stages that answer at once, so that everything measured is ours: listing, sorting,
plan, parts, joining, the tables. One process a count, its stages in a process beside it (`inline`). Pictures are black,
2 KB: their size costs disk, not us.

C1  milliseconds a record by the wall and by the CPU of driver and workers, and the ratio of the largest count to the
    smallest. A worker's start, a second for each stage, is within: at 10,000 it tells, at a million it does not.
C2  peak memory of the driver, of the largest worker, and of all processes at one moment; the driver's until the tables
    are published is told apart from that with the card and the report.
C3  seconds until a run over finished parts knows that nothing is left to do: listing and comparing with the plan, then
    the scan of every stage's parts. And the same with the manifest in place.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pyarrow as pa

from h2d.images import encode_jpeg
from h2d.manifests.rle import encode_rle
from h2d.pipelines import prepare as walk
from h2d.pipelines.choices import PrepareConfig, RunConfig
from h2d.pipelines.sources.base import Record
from h2d.pipelines.stages.caption import CaptionStage
from h2d.pipelines.stages.mask import MaskStage
from h2d.pipelines.stages.pose import PoseStage
from h2d.supervision.job import Tally

POINTS = np.tile(np.array([300, 200, 1], np.float32), 21)
MASK = np.zeros((512, 512), bool)
MASK[100:130, 100:130] = True
CROP_RLE, PICTURE_RLE = encode_rle(MASK), encode_rle(MASK[:480])
CROP, PICTURE = (encode_jpeg(np.zeros((height, 512, 3), np.uint8), quality=1) for height in (512, 480))
ANSWERS: dict[str, dict[str, Any]] = {
    "pose": {
        "source_sha256": "0" * 64,
        **dict.fromkeys(("source_width", "width"), 512),
        **dict.fromkeys(("source_height", "height"), 480),
        **{"image_scale": 1.0, "persons": 1, "keypoint_source": "none", "picture": PICTURE},
        **{"body": np.tile(POINTS[:3], 133), "hand_left": POINTS, "hand_right": POINTS},
        **dict.fromkeys(("hand_left_found", "hand_right_found"), True),
        **dict.fromkeys(("hand_left_checks", "hand_right_checks"), ()),
        **dict.fromkeys(("hand_left_by", "hand_right_by"), "none"),
        "hand_boxes_xywh": [[1.0, 2.0, 3.0, 4.0]] * 2,
        "gesture_boxes_xywh": [[1.0, 2.0, 3.0, 4.0]],
        "crops": [
            {
                "hands": "left",
                "crop_box_xywh": [0.0, 0.0, 512.0, 512.0],
                "image": CROP,
                "keypoints_left": POINTS,
                "keypoints_right": POINTS,
            }
        ],
    },
    "mask": {
        **dict.fromkeys(("mask_left", "mask_right"), PICTURE_RLE),
        **dict.fromkeys(("mask_left_px", "mask_right_px"), 900),
        **dict.fromkeys(("mask_left_quality", "mask_right_quality"), 0.9),
        **{"segmenter": "none", "crop_masks": [CROP_RLE], "crop_mask_px": [900]},
    },
    "caption": {"caption": "a person showing a hand", "captioner": "none"},
}

_CAPTION_READS = {"pose": ("hand_left_found", "hand_right_found", "picture")}
"""As a captioner that looks at pictures has it."""


@dataclass(frozen=True, kw_only=True)
class MadeUpSource:
    """So many records, gesture by gesture, in the shuffled order in which a folder is listed."""

    root: Path
    count: int
    name: ClassVar[str] = "made_up"
    follow_links: ClassVar[bool] = False

    def describe(self) -> str:
        return "made-up records"

    def options(self) -> Mapping[str, Any]:
        return {}

    def records(self) -> Iterator[Record]:
        box = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
        for number in range(self.count):
            name = f"gesture{number * 20 // self.count:02d}/{number * 7919 % 10**9:09d}-1f3a-4c1c-9ad2"
            yield Record(
                id=f"made_up/{name}",
                split="train",
                path=f"{name}.jpg",
                size_bytes=100_000,
                gesture="call",
                subject=f"{number % 1000:040x}",
                boxes_xywh=box,
                box_labels=("call",),
                box_landmarks=(None,),
            )


@dataclass(frozen=True, kw_only=True)
class FreeStage:
    """Answers at once with a real stage's columns."""

    name: str
    schema: pa.Schema
    index_columns: tuple[str, ...]
    reads: Mapping[str, tuple[str, ...]]
    version: ClassVar[int] = 1
    batch_size: ClassVar[int] = 8
    annotator: ClassVar[str] = "none"
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False

    def identity(self) -> Mapping[str, Any]:
        return {}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def process(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [ANSWERS[self.name]] * len(rows)


@dataclass
class Clock:
    """A watch that notes when each job began, and the peak memory at its end."""

    begun: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    worked: int = 0
    stop_at: str | None = None

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        self.begun[name] = time.perf_counter()

    def pictures_worked(self, tally: Tally) -> None:
        self.worked += sum(tally.statuses.values())

    def job_ended(self, name: str) -> None:
        self.peak_mb[name] = _peak_mb()

    def should_stop(self) -> bool:
        return self.stop_at is not None and self.stop_at in self.peak_mb


class Family(threading.Thread):
    """Watches this process and its descendants: the CPU time that each has used and the memory that each has had."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._cpu_s: dict[int, float] = {}
        self._peak_mb: dict[int, float] = {}
        self.peak_of_all_mb = 0.0

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.look()

    def look(self) -> None:
        parents, now_mb = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                values = (folder / "stat").read_text().rpartition(")")[2].split()
                memory = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            except OSError:
                continue
            pid = int(folder.name)
            parents[pid] = int(values[1])
            if "VmHWM" in memory and self._is_mine(pid, parents):
                self._cpu_s[pid] = (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")
                self._peak_mb[pid] = int(memory["VmHWM"].split()[0]) / 1024
                now_mb[pid] = int(memory["VmRSS"].split()[0]) / 1024
        self.peak_of_all_mb = max(self.peak_of_all_mb, sum(now_mb.values()))

    @staticmethod
    def _is_mine(pid: int, parents: Mapping[int, int]) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    def end(self) -> None:
        self._ended.set()
        self.join()

    @property
    def cpu_s(self) -> float:
        """Of all so far, those that are gone as they were last seen."""
        return sum(self._cpu_s.values())

    @property
    def peak_of_a_worker_mb(self) -> float:
        return max((peak for pid, peak in self._peak_mb.items() if pid != os.getpid()), default=0.0)


def main() -> None:
    """Run each count in a process of its own and print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--dir", type=Path, help="Where to work; 8 KB a record.")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps((_resumed if arguments.again else _first)(arguments.one, arguments.dir)))
        return
    figures = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
            figures.append({"count": count, **_process(count, folder), "resumed": _process(count, folder, "--again")})
            print(json.dumps(figures[-1]), flush=True)
    small, large = figures[0], figures[-1]
    for clock in ("ms_a_record", "cpu_ms_a_record"):
        print(f"C1  {clock}: {large[clock]:.3f}, {large[clock] / small[clock]:.2f} of the smallest")
    for when in ("peak_mb", "peak_mb_with_report", "peak_of_a_worker_mb", "peak_of_all_mb"):
        print(f"C2  {when}: {large[when]:.0f} MB, {large[when] - small[when]:+.0f} MB over the smallest")
    print(f"C3  {large['resumed']}")


def _process(count: int, folder: str, *extra: str) -> dict[str, Any]:
    code = "import scale; scale.main()"  # by name, so that worker processes can import the stages too
    command = [sys.executable, "-c", code, "--one", str(count), "--dir", folder, *extra]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])}
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=here).stdout)
    return answer


def _first(count: int, folder: Path) -> dict[str, Any]:
    clock, family, noted = Clock(), Family(), dict[str, float]()
    publish = walk.publish

    def noting(*arguments: Any, **named: Any) -> Any:
        counts = publish(*arguments, **named)
        family.look()
        noted.update(published=time.perf_counter(), cpu_s=family.cpu_s, peak_mb=_peak_mb())
        return counts

    family.look()
    family.start()
    began, cpu_began = time.perf_counter(), family.cpu_s
    with mock.patch.object(walk, "publish", noting):
        _walk(count, folder, clock)
    ended = time.perf_counter()
    family.end()
    times = [began, *clock.begun.values(), noted["published"], ended]
    names = ["plan", *clock.begun, "report"]
    return {
        "ms_a_record": (noted["published"] - began) / count * 1000,
        "cpu_ms_a_record": (noted["cpu_s"] - cpu_began) / count * 1000,
        "us_a_record": {
            name: round((after - before) / count * 1e6, 1)
            for name, before, after in zip(names, times, times[1:], strict=False)
        },
        "peak_mb": noted["peak_mb"],
        "peak_mb_with_report": _peak_mb(),
        "peak_of_a_worker_mb": family.peak_of_a_worker_mb,
        "peak_of_all_mb": family.peak_of_all_mb,
    }


def _resumed(count: int, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    _walk(count, folder, Clock())
    complete = time.perf_counter() - began
    (folder / "out" / "manifest.json").unlink()
    clock, began = Clock(stop_at="merge"), time.perf_counter()
    _walk(count, folder, clock)
    ended = time.perf_counter()
    assert clock.worked == 0
    shutil.rmtree(folder / "out")
    times = {"list_and_compare_s": clock.begun["pose"] - began, "scan_s": ended - clock.begun["pose"]}
    return {**times, "with_manifest_s": complete, "peak_mb": _peak_mb()}


def _walk(count: int, folder: Path, clock: Clock) -> None:
    stages = [
        FreeStage(name=stage.name, schema=stage.schema, index_columns=stage.index_columns, reads=reads)
        for stage, reads in ((PoseStage, {}), (MaskStage, MaskStage.reads), (CaptionStage, _CAPTION_READS))
    ]
    choices = PrepareConfig(source="folder", root=folder, out=folder / "out", run=RunConfig(executor="inline"))
    with (
        mock.patch.object(walk, "build_source", return_value=MadeUpSource(root=folder, count=count)),
        mock.patch.object(walk, "build_stages", return_value=stages),
    ):
        walk.prepare(choices, clock)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
