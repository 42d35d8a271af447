"""The networks of the miniature's runs, in half precision, as they lie in the package.

python scripts/pack_miniature.py [RUNS] [OUT]
"""

import argparse
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from h2d.annotate.keypoints.miniature import WEIGHTS
from h2d.annotate.keypoints.network import load_reader
from h2d.infer.baselines.base import SAMPLING_FILE
from h2d.infer.choosing import model_folder
from h2d.infer.loading import load_checkpoints
from h2d.models.outpainter import load_controlnet
from h2d.models.shipped import MINIATURE, SHIPPED, miniature_folder
from h2d.train.checkpoints import newest

LIMIT_BYTES = 40_000_000
OWN = {
    "guidance_scale": 1.0,  # by eye: hands lose their shape under more
    "expand_px": 16.0,  # of 512: with the usual 49 arms end before the hand
    "num_inference_steps": 25,  # 40 find no more hands
    "eta": 1.0,  # without noise of its own at every step, bodies keep the grain that small networks leave
    "controlnet_conditioning_scale": 2.0,  # bodies follow the skeleton, and more hands are found
}
"""What the pipeline is saved with: the first two by eye, the rest on people of the split `val` (docs/miniature.md)."""
STATED = {
    "miniature-base": {name: OWN[name] for name in ("eta", "guidance_scale", "num_inference_steps")},
    "miniature-control": {"control_scale": OWN["controlnet_conditioning_scale"]},
}
"""The same for the methods that it is compared with."""


def main() -> None:
    """Replace the folders by new ones; the model card stays as it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs/miniature"))
    parser.add_argument("out", type=Path, nargs="?", default=miniature_folder())
    arguments = parser.parse_args()
    runs, out = arguments.runs, arguments.out
    base = newest(runs / "base")
    if base is None:
        raise SystemExit(f"{runs / 'base'}: no checkpoint: run make miniature first")
    both = load_checkpoints(hand=runs / "hand", outpaint=runs / "outpaint")
    both.register_to_config(**OWN)
    text_to_image = StableDiffusionPipeline.from_pretrained(base / "model")
    both.register_modules(hand_vae=None, text_encoder=text_to_image.text_encoder, hand_text_encoder=None)
    networks = {
        MINIATURE: both,
        "miniature-base": text_to_image,
        "miniature-control": load_controlnet(model_folder(runs / "controlnet") / "controlnet"),
    }
    savers = {out / SHIPPED[name]: _saver(network, STATED.get(name)) for name, network in networks.items()}
    savers[out / WEIGHTS.name] = _saver(load_reader(model_folder(runs / "keypoints") / "network"))
    size = replace_folders(out, savers)
    print(f"{out}: {size / 1e6:.1f} MB")


def _saver(network: Any, stated: Mapping[str, float] | None = None) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        network.to(torch.float16).save_pretrained(folder, safe_serialization=True)
        if stated is not None:
            (folder / SAMPLING_FILE).write_text(json.dumps(stated, indent=2) + "\n")
        for file in folder.rglob("*.safetensors"):
            file.chmod(0o644)

    return save


def replace_folders(out: Path, savers: Mapping[Path, Callable[[Path], None]], *, limit_bytes: int = LIMIT_BYTES) -> int:
    """Save each folder of `out` aside, and put all in place once they are whole; the bytes that `out` then has.

    Raises `SystemExit`, and leaves all as it is, where that is more than `limit_bytes`.
    """
    aside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    for folder, save in savers.items():
        save(aside / folder.relative_to(out))
    others = (file for file in out.rglob("*") if not any(file.is_relative_to(folder) for folder in savers))
    size = sum(file.stat().st_size for file in (*aside.rglob("*"), *others) if file.is_file())
    if size > limit_bytes:
        raise SystemExit(f"{aside}: {size / 1e6:.1f} MB, more than {limit_bytes / 1e6:.0f} MB: {out} is as it was")
    for folder in savers:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        (aside / folder.relative_to(out)).rename(folder)
    shutil.rmtree(aside)
    return size


if __name__ == "__main__":
    main()
