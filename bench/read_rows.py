"""Rows for training: `ManifestRows` and `Manifest.at` beside bare pyarrow on the same files, in one process, in turn.

The pictures are incompressible bytes of a photograph's size; decoding is left out on both sides. Prints one JSON line,
then a table. Wall times, and CPU times, which other programs on the machine change less.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h2d.manifests.files import write_json, write_parquet
from h2d.manifests.schema import HANDS, SCHEMA_VERSION, with_metadata
from h2d.manifests.store import Manifest, Place, part_path
from h2d.manifests.torch_dataset import ManifestRows

COLUMNS = ("id", "image", "keypoints_left", "keypoints_right", "mask", "caption")
ROWS_PER_PART = 512


def write_table(root: Path, num_rows: int, picture_bytes: int) -> Manifest:
    """A `hands` table as `h2d prepare` writes it."""
    rng = np.random.default_rng(0)
    for part in range(-(-num_rows // ROWS_PER_PART)):
        rows = []
        for row in range(part * ROWS_PER_PART, min(num_rows, (part + 1) * ROWS_PER_PART)):
            points = rng.uniform(0, 512, 63).astype(np.float32)
            rows.append(
                {
                    "id": f"bench/{row:07d}/left",
                    "image_id": f"bench/{row:07d}",
                    "source": "bench",
                    "split": "train",
                    "crop_box_xywh": [0.0, 0.0, 512.0, 512.0],
                    "hands": "left",
                    "image": {"bytes": rng.bytes(picture_bytes), "path": None},
                    "keypoints_left": points,
                    "keypoints_right": points,
                    "mask": {"size": [512, 512], "counts": "Q" * 900},
                    "caption": "A person in a grey shirt raises an open hand in front of a wall.",
                }
            )
        write_parquet(part_path(root, "hands", "train", part), pa.Table.from_pylist(rows, with_metadata(HANDS, {})))
    counts = {"indexed": 0, "images": 0, "rejects": 0, "hands": num_rows}
    write_json(root / "manifest.json", {"schema_version": SCHEMA_VERSION, "source": "bench", "counts": counts})
    return Manifest(root)


def bare_sequential(manifest: Manifest) -> int:
    """The shortest loop that gives each row's columns as Python and numpy values."""
    count = 0
    for path in manifest.parts("hands", "train"):
        file = pq.ParquetFile(path, memory_map=True)
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=list(COLUMNS))
            pictures = rows["image"].combine_chunks().field("bytes")
            left, right = (
                rows[f"keypoints_{side}"].combine_chunks().flatten().to_numpy().reshape(-1, 21, 3)
                for side in ("left", "right")
            )
            plain = [rows[name].to_pylist() for name in ("id", "mask", "caption")]
            for _ in zip(pictures.to_pylist(), left, right, *plain, strict=True):
                count += 1
    return count


def bare_row(place: Place) -> dict[str, Any]:
    """One row, its file opened for it."""
    rows = pq.ParquetFile(place.path, memory_map=True).read_row_group(place.group, columns=list(COLUMNS))
    return rows.slice(place.row, 1).to_pylist()[0]


def alternating(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """The median round of each, in seconds by the wall and of the CPU; one round before is not counted."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            call()
            if number:
                taken[name].append((time.perf_counter() - start, time.process_time() - cpu_start))
    return {name: (statistics.median(wall), statistics.median(cpu)) for name, (wall, cpu) in _columns(taken).items()}


def _columns(taken: dict[str, list[tuple[float, float]]]) -> dict[str, Sequence[Sequence[float]]]:
    return {name: list(zip(*rounds, strict=True)) for name, rounds in taken.items()}


def measure(manifest: Manifest, rounds: int, num_random: int) -> dict[str, Any]:
    """Rows a second one after the other, and milliseconds a row here and there."""
    num_rows = manifest.counts["hands"]
    rng = np.random.default_rng(1)
    groups = [(place, rows.num_rows) for place, rows in manifest.row_groups("hands", ["id"])]
    drawn = rng.integers(len(groups), size=num_random).tolist()
    places = [
        Place(path=place.path, group=place.group, row=int(rng.integers(count)))
        for place, count in (groups[at] for at in drawn)
    ]
    datasets = {
        name: ManifestRows(manifest, "hands", columns=COLUMNS, split="train", seed=seed)
        for name, seed in (("in order", None), ("shuffled", 0))
    }
    calls: dict[str, Callable[[], object]] = {
        "bare": lambda: bare_sequential(manifest),
        "in order": lambda: sum(1 for _ in datasets["in order"]),
        "shuffled": lambda: sum(1 for _ in datasets["shuffled"]),
        "bare row": lambda: [bare_row(place) for place in places],
        "row": lambda: [manifest.at(place, COLUMNS) for place in places],
    }
    taken = alternating(calls, rounds)
    result: dict[str, Any] = {"rows": num_rows, "rounds": rounds, "pyarrow": pa.__version__}
    for place, clock in enumerate(("wall", "CPU")):
        for name in ("bare", "in order", "shuffled"):
            result[f"{name}, rows/s, {clock}"] = round(num_rows / taken[name][place])
        for name in ("bare row", "row"):
            result[f"{name}, ms, {clock}"] = round(taken[name][place] / num_random * 1000, 3)
        for name, bare in (("in order", "bare"), ("shuffled", "bare"), ("row", "bare row")):
            result[f"ratio {name}, {clock}"] = round(taken[bare][place] / taken[name][place], 2)
    return result


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=6144)
    parser.add_argument("--picture-kb", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--random-rows", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_table(Path(folder), options.rows, options.picture_kb * 1024)
        result = measure(manifest, options.rounds, options.random_rows)
    print(json.dumps(result))
    for name, value in result.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
