"""P3: hand masks, ours beside a bare loop on the same crops, alternating, in one process.

GrabCut: our segmenter beside OpenCV's own call on the whole crop with a box. SAM: batched encoder with fused attention
beside the package's predictor, picture by picture in float32; on CUDA ours is bfloat16, on the CPU only one view is
measured. The crops are drawn, the weights random unless `--checkpoint` is given: neither changes the time. Prints one
JSON line, then a table.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from h2d.annotate.base import HandView
from h2d.annotate.masks.grabcut import GrabCutSegmenter
from h2d.annotate.masks.prompts import hand_prompts
from h2d.annotate.masks.sam import SamSegmenter
from h2d.pose.layouts import HAND_BONES

CROP_PX = 512


def drawn_views(count: int) -> list[HandView]:
    """Crops with a hand of skin colour on noise, and its points."""
    rng = np.random.default_rng(0)
    views = []
    for _ in range(count):
        lean = rng.uniform(-0.3, 0.3)
        xy = [(256.0, 380.0)]
        for finger in range(5):
            base, way = np.array([170.0 + 40 * finger, 280.0]), np.array([lean + 0.2 * (finger - 2), -1.0])
            xy += [tuple(base + way * 45 * step) for step in range(4)]
        points = np.concatenate([np.array(xy), np.ones((21, 1))], axis=1).astype(np.float32)
        picture = rng.integers(40, 110, (CROP_PX, CROP_PX, 3), dtype=np.uint8)
        for start, end in HAND_BONES:
            first, last = points[start, :2].astype(int).tolist(), points[end, :2].astype(int).tolist()
            cv2.line(picture, first, last, (205, 150, 120), 26)
        views.append(HandView(picture=picture, hands={"right": points}))
    return views


def alternating(ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each round of both; one round before is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for call, taken in zip((ours, bare), times, strict=True):
            start = time.perf_counter()
            call()
            if number:
                taken.append(time.perf_counter() - start)
    return times


def grabcut(views: Sequence[HandView], rounds: int) -> dict[str, Any]:
    """Milliseconds per hand."""
    segmenter = GrabCutSegmenter()
    segmenter.setup()

    def bare() -> None:
        for view in views:
            xy = view.hands["right"][:, :2]
            (left, top), (right, bottom) = xy.min(axis=0).astype(int) - 20, xy.max(axis=0).astype(int) + 20
            labels = np.zeros(view.picture.shape[:2], np.uint8)
            box, models = (int(left), int(top), int(right - left), int(bottom - top)), np.zeros((2, 1, 65))
            cv2.grabCut(view.picture, labels, box, models[0], models[1], segmenter.iterations, cv2.GC_INIT_WITH_RECT)

    return summary("grabcut", "ms/hand", len(views), *alternating(lambda: segmenter.segment(views), bare, rounds))


def sam(views: Sequence[HandView], rounds: int, model: str, checkpoint: Path, batch_size: int) -> dict[str, Any]:
    """Milliseconds per view, one hand each."""
    import torch
    from segment_anything import SamPredictor, sam_model_registry

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    views = views if device.type == "cuda" else views[:1]
    segmenter = SamSegmenter(model=model, checkpoint=checkpoint, batch_size=batch_size)
    segmenter.setup()
    theirs = sam_model_registry[model]()
    theirs.load_state_dict(torch.load(checkpoint, weights_only=True, mmap=True))
    predictor = SamPredictor(theirs.to(device).eval())

    def bare() -> None:
        for view in views:
            prompt = hand_prompts(view.hands, margin=0.15, size_hw=(CROP_PX, CROP_PX))["right"]
            predictor.set_image(view.picture)
            asked = {"point_coords": prompt.points, "point_labels": prompt.labels, "box": np.array(prompt.box_xyxy)}
            for many in (False, True):
                predictor.predict(**asked, multimask_output=many)

    result = summary(
        f"sam {model}", "ms/view", len(views), *alternating(lambda: segmenter.segment(views), bare, rounds)
    )
    return {**result, "device": str(device), "batch_size": batch_size, "torch": torch.__version__}


def summary(name: str, unit: str, count: int, ours: Sequence[float], bare: Sequence[float]) -> dict[str, Any]:
    """Medians, spread and ratio."""
    scale = 1000 / count
    return {
        "name": name,
        "unit": unit,
        "ours": round(statistics.median(ours) * scale, 2),
        "bare": round(statistics.median(bare) * scale, 2),
        "ours_spread": [round(min(ours) * scale, 2), round(max(ours) * scale, 2)],
        "bare_spread": [round(min(bare) * scale, 2), round(max(bare) * scale, 2)],
        "ratio": round(statistics.median(bare) / statistics.median(ours), 2),
        "rounds": len(ours),
    }


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=["vit_h", "vit_l", "vit_b"], help="measure SAM too")
    parser.add_argument("--checkpoint", type=Path, help="its official file; without it the weights are random")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    if options.checkpoint and not options.model:
        parser.error("--checkpoint needs --model")
    views = drawn_views(options.views)
    results = [grabcut(views, options.rounds)]
    if options.model:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = options.checkpoint or random_checkpoint(options.model, Path(folder))
            results.append(sam(views, options.rounds, options.model, checkpoint, options.batch_size))
    print(json.dumps(results))
    print(f"{'':12} {'ours':>9} {'bare':>9} {'ratio':>6}")
    for result in results:
        print(f"{result['name']:12} {result['ours']:9} {result['bare']:9} {result['ratio']:6}  {result['unit']}")


def random_checkpoint(model: str, folder: Path) -> Path:
    """Random weights in the official format."""
    import torch
    from segment_anything import sam_model_registry

    file = folder / f"{model}.pth"
    torch.save(sam_model_registry[model]().state_dict(), file)
    return file


if __name__ == "__main__":
    main()
