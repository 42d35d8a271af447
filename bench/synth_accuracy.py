"""How well drawn people stand in for photographs, and how well our annotators do where the truth is known.

    python bench/synth_accuracy.py [--count 200] [--seed 0] [--size 512] [--markdown]

Draws the pictures that `h2d synth hagrid` draws and looks at them with the pose stage's detector (the dataset's boxes
as hints, as in `h2d prepare`) and with GrabCut, seeded by the true joints. Printed, overall and by gesture:
body    pictures in which Holistic finds the body
hand    gesturing hands that are found: joints on average less than half a hand's size away
side    found hands whose own side is the one that is reported there; of two hands that touch, both may lie near
error   mean distance of a found hand's 21 joints from the truth, in hand sizes (longer side of the true joints' box)
IoU     GrabCut masks against exact masks, on plain and gradient and on cluttered backgrounds
"""

import argparse
import json
import multiprocessing
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.annotate.masks.grabcut import GrabCutSegmenter
from h2d.eval.annotators import judged_hand, mask_agreement, mask_box
from h2d.machine import num_cores
from h2d.pose.layouts import HANDS, SIDES
from h2d.synth.layouts.base import scene_seed
from h2d.synth.layouts.hagrid import CLASSES_V2_1M
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene

GOALS = {"body": 0.95, "hand": 0.85, "side": 0.98, "error": 0.06, "iou_plain": 0.85, "iou_cluttered": 0.70}


@dataclass(kw_only=True)
class Found:
    """What was found in one picture."""

    gesture: str
    background: str
    body: bool
    hands: list[bool] = field(default_factory=list)
    sides: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)


def main() -> None:
    """Draw, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--markdown", action="store_true", help="the table by gesture as Markdown")
    arguments = parser.parse_args()
    work = [(arguments.seed, index, arguments.size) for index in range(arguments.count)]
    with multiprocessing.get_context("spawn").Pool(num_cores(), _open) as pool:
        found = pool.map(look, work, chunksize=5)
    total = summary(found)
    by_gesture = defaultdict(list)
    for item in found:
        by_gesture[item.gesture].append(item)
    rows = [(gesture, summary(items)) for gesture, items in sorted(by_gesture.items())]
    line = "| {:<18}|" + "{:>9} |" * 6 if arguments.markdown else "{:<18}" + "{:>9}" * 6
    print(line.format("gesture", "pictures", "body", "hand", "side", "error", "IoU"))
    if arguments.markdown:
        print("|---|" + "---|" * 6)
    for gesture, values in (*rows, ("all", total)):
        shown = [_shown(values[name]) for name in ("body", "hand", "side", "error", "iou")]
        print(line.format(gesture, values["pictures"], *shown))
    for name, goal in GOALS.items():
        met = total[name] <= goal if name == "error" else total[name] >= goal
        print(f"{name:<14}{total[name]:8.3f}   goal {goal:.2f}   {'met' if met else 'MISSED'}")
    print(json.dumps({"all": total, "by_gesture": dict(rows)}))


def look(work: tuple[int, int, int]) -> Found:
    """Draw one picture and look at it."""
    seed, index, size = work
    gesture = CLASSES_V2_1M[index % len(CLASSES_V2_1M)]
    scene = sample_scene(scene_seed(seed, index), frame="selfie", size_hw=(size, size), gesture=gesture)
    drawing = render(scene)
    person = drawing.people[0]
    seen = [side for side in SIDES if side in person.hand_masks and person.hand_masks[side].sum() > 16]
    boxes = np.array([mask_box(person.hand_masks[side]) for side in seen], np.float32).reshape(-1, 4)
    answer = _detector.detect(drawing.picture, boxes)
    found = Found(gesture=gesture, background=scene.background_kind, body=answer.num_persons == 1)
    for side in scene.gesture_sides:
        true = person.points[HANDS[side]]
        judged = judged_hand(answer.hands, side, true)
        found.hands.append(judged["found"])
        if judged["found"]:
            found.sides.append(judged["own_side"])
            found.errors.append(judged["error"])
        agreement = mask_agreement(_segmenter, drawing.picture, true, side, person.hand_masks[side])
        found.ious += [agreement["iou"]] if agreement["iou"] is not None else []
    return found


def summary(items: Iterable[Found]) -> dict[str, Any]:
    """Means over pictures, hands, found hands and masks."""
    items = list(items)
    plain = [iou for item in items if item.background != "cluttered" for iou in item.ious]
    cluttered = [iou for item in items if item.background == "cluttered" for iou in item.ious]
    return {
        "pictures": len(items),
        "body": _mean(item.body for item in items),
        "hand": _mean(found for item in items for found in item.hands),
        "side": _mean(right for item in items for right in item.sides),
        "error": _mean(error for item in items for error in item.errors),
        "iou": _mean([*plain, *cluttered]),
        "iou_plain": _mean(plain),
        "iou_cluttered": _mean(cluttered),
    }


def _open() -> None:
    global _detector, _segmenter
    import torch

    torch.set_num_threads(1)
    _detector = HolisticDetector()
    _detector.setup()
    _segmenter = GrabCutSegmenter()
    _segmenter.setup()


def _mean(values: Iterable[float | bool]) -> float:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"


if __name__ == "__main__":
    main()
