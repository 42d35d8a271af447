"""Samples a second out of Parquet, as training reads them, beside the same examples made in a bare loop.

Pictures are made up, but are JPEG files of a photograph's size; masks and skeletons are those of a hand and a person.
With --manifest they are those of real rows.
The limit is what the cores would give if the loader cost nothing but its examples. Prints one JSON line, then tables.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch

from h2d.images import decode_rgb, encode_jpeg
from h2d.manifests.files import write_json, write_parquet
from h2d.manifests.masks import dilate, read_mask
from h2d.manifests.rle import decode_joined, encode_rle
from h2d.manifests.schema import SCHEMA_VERSION, TABLES, with_metadata
from h2d.manifests.store import Manifest, part_path
from h2d.pose.draw import draw_skeleton
from h2d.pose.layouts import HAND_BONES, HANDS
from h2d.train.batches import draw_noise, mask_plane, planes, shift_colours, shrink_mask, to_square
from h2d.train.hand import HandOptions, HandStage
from h2d.train.loading import Share, step_batches
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.rows import Rows, divide
from h2d.train.text import caption_tokens

GOALS = {"hand": 400, "outpaint": 250}
BATCH = 32
PICTURE_HW = (768, 576)


def picture(size_hw: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Something whose JPEG is as large as a photograph's: shapes, and a little grain."""
    height, width = size_hw
    coarse = random.integers(0, 255, (height // 24, width // 24, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def hand(middle: tuple[float, float], length: float) -> np.ndarray:
    """An open hand: the wrist, then four points a finger."""
    points = [(0.0, 0.0)]
    for angle in (-50, -16, -2, 12, 27):
        turned = np.deg2rad(angle)
        points += [(np.sin(turned) * reach, -np.cos(turned) * reach) for reach in (0.4, 0.65, 0.8, 0.95)]
    placed = np.array(points) * length + middle
    return np.column_stack([placed, np.ones(21)]).astype(np.float32)


def mask_of(points: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The hand's fingers and palm."""
    canvas = np.zeros(size_hw, np.uint8)
    width = max(2, round(float(np.ptp(points[:, 1])) / 8))
    for start, end in HAND_BONES:
        cv2.line(canvas, *(tuple(points[joint, :2].astype(int).tolist()) for joint in (start, end)), 1, width)
    return canvas.astype(bool)


def hand_row(number: int, random: np.random.Generator) -> dict[str, Any]:
    """A row of `hands`."""
    points = hand((256 + random.uniform(-30, 30), 400), 300)
    nothing = np.tile(np.float32([np.nan, np.nan, 0]), (21, 1))
    mask = mask_of(points, (512, 512))
    return {
        **{"id": f"bench/{number:06d}/left", "image_id": f"bench/{number:06d}", "source": "bench", "split": "train"},
        **{"subject": f"person-{number}", "crop_box_xywh": [0.0, 0.0, 512.0, 512.0], "hands": "left"},
        "image": {"bytes": encode_jpeg(picture((512, 512), random)), "path": None},
        "keypoints_left": points.ravel(),
        "keypoints_right": nothing.ravel(),
        "mask": encode_rle(mask),
        "mask_px": int(mask.sum()),
        "caption": "A person in a grey shirt raises an open hand in front of a wall.",
    }


def image_row(number: int, random: np.random.Generator) -> dict[str, Any]:
    """A row of `images`: a person who shows both hands."""
    height, width = PICTURE_HW
    body = np.column_stack([random.uniform((100, 50), (width - 100, height - 50), (133, 2)), np.ones(133)])
    hands = {"left": hand((400, 400), 90), "right": hand((180, 400), 90)}
    for side, points in hands.items():
        body[HANDS[side]] = points
    masks = {side: mask_of(points, PICTURE_HW) for side, points in hands.items()}
    sides = {
        name: value
        for side in hands
        for name, value in {
            f"hand_{side}": hands[side].ravel(),
            f"hand_{side}_found": True,
            f"mask_{side}": encode_rle(masks[side]),
            f"mask_{side}_px": int(masks[side].sum()),
        }.items()
    }
    return {
        **{"id": f"bench/{number:06d}", "source": "bench", "split": "train", "subject": f"person-{number}"},
        **{"source_width": width, "source_height": height, "width": width, "height": height, "image_scale": 1.0},
        "image": {"bytes": encode_jpeg(picture(PICTURE_HW, random)), "path": None},
        "persons": 1,
        "body": body.astype(np.float32).ravel(),
        "keypoint_source": "bench",
        "caption": "A person in a grey shirt raises both hands in front of a wall.",
        **sides,
    }


def write_manifest(root: Path, num_rows: int) -> Manifest:
    """Both tables, as `h2d prepare` writes them."""
    random = np.random.default_rng(0)
    for table, make in (("hands", hand_row), ("images", image_row)):
        for part in range(-(-num_rows // 512)):
            rows = [make(number, random) for number in range(part * 512, min(num_rows, (part + 1) * 512))]
            schema = with_metadata(TABLES[table], {})
            write_parquet(part_path(root, table, "train", part), pa.Table.from_pylist(rows, schema))
    counts = {"indexed": num_rows, "images": num_rows, "rejects": 0, "hands": num_rows}
    write_json(root / "manifest.json", {"schema_version": SCHEMA_VERSION, "source": "bench", "counts": counts})
    return Manifest(root)


def stages() -> dict[str, Any]:
    """Both stages at full picture size; no network is built."""
    return {
        "hand": HandStage(HandOptions(base="tiny")),
        "outpaint": OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny")),
    }


class Timed:
    """Examples that tell whose process made them, and how much CPU time that has taken so far."""

    def __init__(self, examples: Any) -> None:
        self._examples = examples

    def __call__(self, row: Any, random: np.random.Generator, *, training: bool) -> dict[str, torch.Tensor]:
        example = self._examples(row, random, training=training)
        told = torch.tensor([os.getpid(), time.process_time()], dtype=torch.float64)
        return {**example, "told": told}


def loaded(rows: Rows, examples: Any, *, workers: int, num_batches: int) -> dict[str, float]:
    """Wall and CPU seconds a sample, of all processes; what comes before every worker's first batch is left out."""
    share = Share(global_batch=BATCH, micro_batch=BATCH)
    batches = step_batches(
        rows, Timed(examples), share, seed=0, first_step=0, last_step=num_batches + workers, workers=workers, pin=False
    )
    spent: dict[int, list[float]] = {}

    def take(batch: Any) -> int:
        for pid, cpu_s in batch["told"].tolist():
            spent.setdefault(int(pid), []).append(cpu_s)
        return len(batch)

    for _ in range(workers):
        take(next(batches))
    started, here = time.perf_counter(), time.process_time()
    count = sum(take(batch) for batch in batches)
    wall, own = time.perf_counter() - started, time.process_time() - here
    # Between a worker's first and last sample lies all that it does, joining and handing over included.
    made = sum(len(times) - 1 for times in spent.values())
    return {"wall_s": wall / count, "cpu_s": own / count + sum(times[-1] - times[0] for times in spent.values()) / made}


def bare(rows: Rows, examples: Any, num_samples: int) -> dict[str, float]:
    """The examples alone, one after the other in this process."""
    before, started = time.process_time(), time.perf_counter()
    for position in range(num_samples):
        examples(rows.row(position), np.random.default_rng(position), training=True)
    return {
        "wall_s": (time.perf_counter() - started) / num_samples,
        "cpu_s": (time.process_time() - before) / num_samples,
    }


def parts_ms(manifest: Manifest) -> dict[str, dict[str, float]]:
    """CPU milliseconds of each part of a sample, alone."""
    made = stages()
    rows = {
        name: divide([manifest], stage, seed=0, held_out_share=0, window_groups=2).training
        for name, stage in made.items()
    }
    crop, person = rows["hand"].row(0), rows["outpaint"].row(0)
    tokenizer = made["hand"].examples().tokenizer
    square, random = decode_rgb(crop["image"]), np.random.default_rng(0)
    batch = [made["hand"].examples()(crop, random, training=True) for _ in range(BATCH)]
    names = batch[0].keys()
    sides = [person[name] for name in ("mask_left", "mask_right") if person[name] is not None]
    whole = decode_rgb(person["image"])
    side = min(whole.shape[:2])
    portrait, grown = whole[:side, :side], dilate(decode_joined(sides))[:side, :side]
    return {
        "both": {
            "noise": _ms(lambda: draw_noise(random, latent_size=64)),
            "caption": _ms(lambda: caption_tokens(tokenizer, crop["caption"])),
            "colours": _ms(lambda: shift_colours(planes(square), random, probability=1)),
            "separate planes": _ms(lambda: planes(square)),
            "joined to a batch": _ms(lambda: [torch.stack([e[name] for e in batch]) for name in names], times=5)
            / BATCH,
        },
        "hand": {
            "read": _ms(lambda: [rows["hand"].row(n) for n in range(256)], times=1) / 256,
            "JPEG": _ms(lambda: decode_rgb(crop["image"])),
            "mask, a plane": _ms(lambda: mask_plane(read_mask(crop["mask"]))),
        },
        "outpaint": {
            "read": _ms(lambda: [rows["outpaint"].row(n) for n in range(256)], times=1) / 256,
            "JPEG": _ms(lambda: decode_rgb(person["image"])),
            "resized": _ms(lambda: to_square(portrait, 512)),
            "masks": _ms(lambda: dilate(decode_joined(sides))),
            "masks cut, shrunk, a plane": _ms(lambda: mask_plane(shrink_mask(grown.T, 512).T)),
            "skeleton": _ms(lambda: draw_skeleton(person["body"], (512, 512), style="v1.1")),
        },
    }


def measure(manifest: Manifest, *, rounds: int, workers: int, num_batches: int) -> dict[str, Any]:
    """The loader and the bare loop in turn, and their ratio."""
    result: dict[str, Any] = {"cores": os.cpu_count(), "workers": workers, "batch": BATCH}
    for name, stage in stages().items():
        rows = divide([manifest], stage, seed=0, held_out_share=0, window_groups=8).training
        examples = stage.examples()
        ours, beside = [], []
        for _ in range(rounds):
            ours.append(loaded(rows, examples, workers=workers, num_batches=num_batches))
            beside.append(bare(rows, examples, num_batches * BATCH // 4))
        median = {
            side: {unit: statistics.median(one[unit] for one in taken) for unit in ("wall_s", "cpu_s")}
            for side, taken in (("ours", ours), ("bare", beside))
        }
        cpu = median["ours"]["cpu_s"]
        result[name] = {
            "samples_per_s": round(1 / median["ours"]["wall_s"]),
            "goal": GOALS[name],
            "cpu_ms": round(cpu * 1000, 2),
            "samples_per_s_of_free_cores": round(workers / cpu),
            "bare_samples_per_s": round(1 / median["bare"]["wall_s"]),
            "bare_cpu_ms": round(median["bare"]["cpu_s"] * 1000, 2),
            "share_of_the_core_limit": round(median["bare"]["cpu_s"] / cpu, 2),
        }
    return result


def _ms(call: Callable[[], object], *, times: int = 30) -> float:
    call()
    started = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started) / times * 1000


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, help="rows that h2d prepared, instead of made-up ones")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("H2D_MODELS", f"{folder}/models")
        made_up = options.manifest is None
        manifest = write_manifest(Path(folder) / "manifest", options.rows) if made_up else Manifest(options.manifest)
        result = measure(manifest, rounds=options.rounds, workers=options.workers, num_batches=options.batches)
        result["parts, CPU ms a sample"] = parts_ms(manifest)
    print(json.dumps(result))
    for name in GOALS:
        print(f"\n{name}")
        for key, value in {**result[name], **result["parts, CPU ms a sample"][name]}.items():
            print(f"  {key:32} {value:.4g}")
    print("\nboth")
    for key, value in result["parts, CPU ms a sample"]["both"].items():
        print(f"  {key:32} {value:.4g}")


if __name__ == "__main__":
    main()
