"""I1: how fast a dataset is listed, and in how much memory, at 20k and 100k entries, or as many as told.

    python bench/index.py [--sources interhand] [--counts 100000 1000000] [--rounds 3] [--scratch FOLDER]

The files are made up: label files of the right form and empty pictures, as listing opens no picture. Every measurement
is a process of its own; the median of `--rounds` is told. "all" makes a record of every picture, "sample" of 60,000.
Prints a table as it goes, then one JSON line.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h2d.config import validate_config
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.sources import SOURCES
from h2d.registry import resolve

SAMPLE = 60_000
FRAMES, CAMERAS = 125, 20
"""In each sequence; a picture is a frame seen by a camera."""

_IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
_VALID = json.dumps([[1]] * 42)


def touch(folder: Path, names: list[str]) -> None:
    """Empty files."""
    folder.mkdir(parents=True)
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o644))


def joints(random: np.random.Generator) -> list[list[float]]:
    """42 of them, a metre before the camera."""
    values: list[list[float]] = random.uniform((-150, -150, 850), (150, 150, 1150), (42, 3)).round(4).tolist()
    return values


def write_interhand(root: Path, count: int) -> None:
    """One split; sequences of a capture follow one another. 6.8 million entries are 3.7 GB."""
    random = np.random.default_rng(0)
    labels = root / "annotations" / "train"
    labels.mkdir(parents=True)
    start = labels / "InterHand2.6M_train"
    cameras: dict[str, dict[str, dict[str, list]]] = {}
    num_sequences = count // (FRAMES * CAMERAS)
    data, notes = (labels / "data.part").open("w"), (labels / "notes.part").open("w")
    joint_file = start.with_name(f"{start.name}_joint_3d.json").open("w")
    number, last = 0, -1
    for sequence in range(num_sequences):
        capture = sequence * min(26, num_sequences) // num_sequences
        first = sequence * FRAMES
        for frame in range(first, first + FRAMES):
            values = {
                "world_coord": joints(random), "joint_valid": [[True]] * 42, "hand_type": "interacting",
                "hand_type_valid": True, "seq": f"{sequence:04d}_move",
            }  # fmt: skip
            opening = ", " if capture == last else f'{"}, " if number else "{"}"{capture}": {{'
            joint_file.write(f'{opening}"{frame}": {json.dumps(values)}')
            last = capture
        for camera in range(400000, 400000 + CAMERAS):
            below = f"Capture{capture}/{sequence:04d}_move/cam{camera}"
            touch(root / "images" / "train" / below, [f"image{frame}.jpg" for frame in range(first, first + FRAMES)])
            values = {"campos": [0, 0, 0], "camrot": _IDENTITY, "focal": [1200.0, 1200.0], "princpt": [167.0, 256.0]}
            for key, value in values.items():
                cameras.setdefault(str(capture), {}).setdefault(key, {})[str(camera)] = value
            for frame in range(first, first + FRAMES):
                comma = ", " if number else ""
                data.write(
                    f'{comma}{{"id": {number}, "file_name": "{below}/image{frame}.jpg", "width": 334, "height": 512, '
                    f'"capture": {capture}, "subject": {capture}, "seq_name": "{sequence:04d}_move", '
                    f'"camera": "{camera}", "frame_idx": {frame}}}'
                )
                notes.write(
                    f'{comma}{{"id": {number}, "image_id": {number}, "bbox": [1.5, 2.5, 300.1, 200.2], '
                    f'"joint_valid": {_VALID}, "hand_type": "interacting", "hand_type_valid": 1}}'
                )
                number += 1
    joint_file.write("}}")
    for file in (joint_file, data, notes):
        file.close()
    with start.with_name(f"{start.name}_data.json").open("w") as file:
        for opening, part in (('{"images": [', "data"), ('], "annotations": [', "notes")):
            file.write(opening)
            with (labels / f"{part}.part").open() as stream:
                while block := stream.read(1 << 20):
                    file.write(block)
            (labels / f"{part}.part").unlink()
        file.write("]}")
    start.with_name(f"{start.name}_camera.json").write_text(json.dumps(cameras))


def write_reinterhand(root: Path, count: int) -> None:
    """Fixed cameras with masks and 42 joints a frame."""
    random = np.random.default_rng(0)
    num_captures = max(1, count // 100_000)
    frames = [f"{frame:06d}" for frame in range(count // num_captures // CAMERAS)]
    names = [f"{frame}.png" for frame in frames]
    for number in range(num_captures):
        capture = root / f"m--20230313--1433--TXB{number:03d}--pilot"
        for camera in range(CAMERAS):
            for kind in ("images", "masks"):
                touch(capture / "Mugsy_cameras" / "envmap_per_segment" / kind / f"400{camera:03d}", names)
        params = {"R": _IDENTITY, "t": [0, 0, 0], "focal": [1200.0, 1200.0], "princpt": [333.0, 512.0]}
        every = {f"400{camera:03d}": params for camera in range(CAMERAS)}
        (capture / "Mugsy_cameras" / "cam_params.json").write_text(json.dumps(every))
        (capture / "frame_list.txt").write_text("".join(f"0 {int(frame)}\n" for frame in frames))
        folder = capture / "keypoints_orig" / "keypoints_orig"
        folder.mkdir(parents=True)
        for frame in frames:
            (folder / f"{int(frame)}.json").write_text(json.dumps(joints(random)))


def write_laion_human(root: Path, count: int) -> None:
    """Shards of ten thousand keys; every link is alive."""
    folder = root / "Aesthetics_Human"
    folder.mkdir(parents=True)
    with (folder / "mapping_file_training.json").open("w") as file:
        for shard in range(-(-count // 10_000)):
            keys = [f"{key:09d}" for key in range(shard * 10_000, min((shard + 1) * 10_000, count))]
            touch(folder / "images" / f"{shard:05d}", [f"{key}.jpg" for key in keys])
            touch(folder / "pose" / f"{shard:05d}", [f"{key}.npz" for key in keys])
            links = pa.table({"url": [f"https://pictures.invalid/{key}.jpg" for key in keys], "key": keys})
            pq.write_table(links, folder / "images" / f"{shard:05d}.parquet")
            for key in keys:
                file.write("{" if key == "000000000" else ", ")
                below = f"Aesthetics_Human/{{}}/{shard:05d}/{key}"
                file.write(
                    f'"{shard:05d}_{key}": {{"img_path": "{below.format("images")}.jpg", '
                    f'"pose_path": "{below.format("pose")}.npz", "prompt": "a photo of a person by the sea, {key}"}}'
                )
        file.write("}")


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "interhand": write_interhand,
    "reinterhand": write_reinterhand,
    "laion-human": write_laion_human,
}
"""How a dataset of so many entries is made up: a line per source."""


def measure(source: str, root: Path, sample: int | None) -> None:
    """List, sort, cut and hash once, and print seconds, records and peak memory."""
    reader = validate_config(resolve(SOURCES, source, kind="source"), {"root": root}, where=source)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, cpu = time.perf_counter(), time.process_time()
    listing = list_source(reader, SelectionConfig(sample=sample), 512)
    num_pictures = sum(shard.num_pictures for shard in listing.shards)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "s": seconds,
        "cpu_s": cpu_seconds,
        "records": num_pictures,
        "peak_mb": peak_mb,
        "idle_mb": before_mb,
    }
    assert not listing.num_findings, listing.num_findings
    print(json.dumps(row))


def measured(source: str, root: Path, sample: int | None, rounds: int) -> dict[str, float]:
    """Medians of some processes."""
    command = [sys.executable, __file__, "--measure", source, "--root", str(root), "--sample", str(sample or 0)]
    rows = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main() -> None:
    """Make up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", nargs="+", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--counts", nargs="+", type=int, default=[20_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="Folder for the made-up files. Default: the temporary folder.")
    parser.add_argument("--measure", choices=WRITERS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.root, options.sample or None)
        return
    print(f"{'source':14}{'entries':>9} {'mode':8}{'entries/s':>10}{'µs CPU/entry':>14}{'peak MB':>9}{'x first':>9}")
    rows: list[dict[str, Any]] = []
    for source in options.sources:
        firsts: dict[str, float] = {}
        for count in options.counts:
            with tempfile.TemporaryDirectory(dir=options.scratch) as root:
                WRITERS[source](Path(root), count)
                for mode, sample in (("all", None), ("sample", SAMPLE)):
                    row = measured(source, Path(root), sample, options.rounds)
                    rows.append({"source": source, "entries": count, "mode": mode, **row})
                    cost = 1e6 * row["cpu_s"] / count
                    ratio = cost / firsts.setdefault(mode, cost)
                    print(
                        f"{source:14}{count:9} {mode:8}{count / row['s']:10.0f}{cost:14.1f}{row['peak_mb']:9.0f}"
                        f"{ratio:9.2f}",
                        flush=True,
                    )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
