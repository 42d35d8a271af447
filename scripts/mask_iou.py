"""The masks that a hand generator predicts beside the true ones of held-out crops: intersection over union.

python scripts/mask_iou.py RUN [-n 200]

RUN is a run of `h2d train hand`, whose own settings say where base and manifests lie. No mask is shown to the network;
the previews' twenty steps of DDIM, no guidance; cut at 0.5, nothing tidied.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from h2d.config import load_config, validate_config
from h2d.eval.annotators import iou
from h2d.infer.choosing import model_folder
from h2d.manifests.store import Manifest
from h2d.models.hand_generator import HandGenerator
from h2d.train.config import TrainConfig
from h2d.train.hand import HandOptions, HandStage
from h2d.train.loading import fixed_batch, on_device
from h2d.train.rows import divide

BATCH = 20


def main() -> None:
    """Print mean, median and tenth percentile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("-n", "--count", type=int, default=200)
    arguments = parser.parse_args()
    ious = mask_ious(arguments.run, arguments.count)
    tenth, middle = np.percentile(ious, [10, 50])
    print(f"{len(ious)} held-out crops: mean IoU {ious.mean():.3f}, median {middle:.3f}, tenth percentile {tenth:.3f}")


@torch.no_grad()
def mask_ious(run: Path, count: int) -> np.ndarray:
    """Of the first `count` held-out crops, or of all there are."""
    config = load_config(TrainConfig, {}, file=run / "config.json")
    stage = HandStage(validate_config(HandOptions, config.options, where="options"), size_px=config.size_px)
    networks = stage.build(seed=0)
    networks.trained["generator"] = HandGenerator.from_pretrained(model_folder(run)).eval()
    manifests = [Manifest(path) for path in config.data.manifests]
    held_out = divide(manifests, stage, seed=0, held_out_share=config.data.held_out_share, window_groups=1).validation
    if held_out is None:
        raise SystemExit(f"{run}: its manifests have no held-out crops")
    found: list[float] = []
    for first in range(0, min(count, len(held_out)), BATCH):
        indices = range(first, min(first + BATCH, count, len(held_out)))
        batch = on_device(fixed_batch(held_out, stage.examples(), indices, seed=0), torch.device("cpu"))
        _, predicted = stage.sample(networks, batch)
        found += overlaps(predicted, batch["mask"])
    return np.array(found)


def overlaps(predicted: torch.Tensor, truth: torch.Tensor) -> list[float]:
    """Of each mask of a batch, cut at 0.5, with the true one; 1 where both are empty."""
    pairs = zip(predicted[:, 0] >= 0.5, truth[:, 0] >= 0.5, strict=True)
    return [iou(one.numpy(), other.numpy()) for one, other in pairs]


if __name__ == "__main__":
    main()
