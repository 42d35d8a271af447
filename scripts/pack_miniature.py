"""The networks of the miniature's runs, in half precision, as they lie in the package.

python scripts/pack_miniature.py [RUNS] [OUT]
"""

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from h2d.annotate.keypoints.miniature import WEIGHTS
from h2d.annotate.keypoints.network import load_reader
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


def main() -> None:
    """Write each folder anew; the model card stays as it is."""
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
    folders = {out / SHIPPED[name]: network for name, network in networks.items()}
    folders[out / WEIGHTS.name] = load_reader(model_folder(runs / "keypoints") / "network")
    for folder, network in folders.items():
        shutil.rmtree(folder, ignore_errors=True)
        network.to(torch.float16).save_pretrained(folder, safe_serialization=True)
        for file in folder.rglob("*.safetensors"):
            file.chmod(0o644)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")
    if size > LIMIT_BYTES:
        raise SystemExit(f"more than {LIMIT_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
