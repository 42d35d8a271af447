"""Pictures a second that `h2d synth` draws, in one process and on two.

    python bench/synth.py [--count 24] [--rounds 5] [--sizes 256 512]

Selfie-like scenes of the first seeds, posing and background left out: the renderer alone, labels included; also its CPU
seconds a picture, which other work on the machine disturbs less. Beside it a bare loop over one hand of these scenes:
25 tapered capsules, sphere-traced over the whole picture, without blends, colours, edges or labels. One thread a
process; alternating; medians of the rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch

from h2d.pose.layouts import HAND_BONES
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene
from h2d.synth.scene import Scene

_STEPS = 40
_EXTRA = ((1, 5), (5, 9), (9, 13), (13, 17), (17, 0))


def scene_of(seed: int, size: int) -> Scene:
    """A HaGRID-like scene."""
    return sample_scene(seed, frame="selfie", size_hw=(size, size))


def bare_capsules(scene: Scene) -> None:
    """The gesturing hand of a scene by the shortest loop that shows it."""
    joints = torch.tensor(scene.people[0].hands[scene.gesture_sides[0]].joints, dtype=torch.float32)
    bones = torch.tensor([*HAND_BONES, *_EXTRA])
    starts, axes = joints[bones[:, 0]], joints[bones[:, 1]] - joints[bones[:, 0]]
    height, width = scene.camera.size_hw
    rotation = torch.tensor(scene.camera.rotation, dtype=torch.float32)
    eye = -rotation.T @ torch.tensor(scene.camera.translation, dtype=torch.float32)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    flat = [(values - middle) / focal for values, middle, focal in
            zip((x, y), scene.camera.principal, scene.camera.focal, strict=True)]  # fmt: skip
    rays = torch.nn.functional.normalize(torch.stack([*flat, torch.ones_like(x)], dim=-1).view(-1, 3) @ rotation, dim=1)

    def distance(points: torch.Tensor) -> torch.Tensor:
        local = points[:, None] - starts
        place = ((local * axes).sum(-1) / (axes * axes).sum(-1)).clamp(0, 1)
        return ((local - place[..., None] * axes).norm(dim=-1) - 10 + 3 * place).amin(dim=1)

    far = torch.full((len(rays),), float((joints - eye).norm(dim=1).min()) - 30)
    for _ in range(_STEPS):
        left = distance(eye + rays * far[:, None])
        far = far + left
        alive = (left > 0.2) & (far < 4000)
        if not alive.any():
            break
        if alive.sum() < len(rays) / 2:
            rays, far = rays[alive], far[alive]


def timed(draw: Callable[[Scene], object], seeds: list[int], size: int) -> tuple[float, float]:
    """Seconds of work on these scenes in this process, by the clock and of the processor."""
    torch.set_num_threads(1)
    scenes = [scene_of(seed, size) for seed in seeds]
    draw(scenes[0])
    start, start_cpu = time.perf_counter(), time.process_time()
    for scene in scenes:
        draw(scene)
    return time.perf_counter() - start, time.process_time() - start_cpu


def rate(
    draw: Callable[[Scene], object], count: int, size: int, processes: int, pool: ProcessPoolExecutor
) -> tuple[float, float]:
    """Pictures a second, and CPU seconds a picture; start-up and posing are left out."""
    parts = [list(range(first, count, processes)) for first in range(processes)]
    clock, cpu = zip(*pool.map(partial(timed, draw, size=size), parts), strict=True)
    return count / max(clock), sum(cpu) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    arguments = parser.parse_args()
    results = []
    with ProcessPoolExecutor(2) as pool:
        for size in arguments.sizes:
            rates: dict[str, list[float]] = {
                name: [] for name in ("one_process", "two_processes", "bare_loop", "cpu_s")
            }
            for _ in range(arguments.rounds):
                for processes, name in ((1, "one_process"), (2, "two_processes")):
                    pictures_per_s, cpu_s = rate(render, arguments.count, size, processes, pool)
                    rates[name].append(pictures_per_s)
                rates["cpu_s"].append(cpu_s)
                rates["bare_loop"].append(rate(bare_capsules, max(arguments.count // 8, 1), size, 1, pool)[0])
            medians = {name: round(statistics.median(values), 2) for name, values in rates.items()}
            ratio = round(medians["one_process"] / medians["bare_loop"], 2)
            results.append({"size": size, **medians, "over_bare_loop": ratio})
    print(json.dumps({"pictures_per_second": results, "numpy": np.__version__, "torch": torch.__version__}))
    print(f"{'size':>6} {'1 process':>10} {'2 processes':>12} {'bare loop':>10} {'ratio':>6} {'CPU s':>6}")
    for row in results:
        print(
            f"{row['size']:>6} {row['one_process']:>10} {row['two_processes']:>12} {row['bare_loop']:>10} "
            f"{row['over_bare_loop']:>6} {row['cpu_s']:>6}"
        )


if __name__ == "__main__":
    main()
