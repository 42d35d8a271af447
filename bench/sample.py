"""S1 to S5: the two stages beside two diffusers pipelines that do the same work with the same weights.

S1 latency of one picture, S2 what our loop adds to its networks a step, S3 a batch, S4 twenty steps of DPM-Solver++
beside fifty of DDIM, S5 the command from start to end. Weights are random: they change no time. The peer of stage 1 is
StableDiffusionPipeline with a U-Net of 4 input channels where ours has 15, of stage 2
StableDiffusionControlNetInpaintPipeline with our own networks. Both sides alternate in one process. `--full` builds the
networks of Stable Diffusion 1.5, for a GPU. Prints one JSON line, then a table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from h2d.infer.options import SampleOptions
from h2d.infer.two_stage import TwoStagePipeline
from h2d.models.base import load_text_encoder, load_tokenizer, load_unet, load_vae
from h2d.models.hand_generator import build_hand_generator
from h2d.models.outpainter import load_controlnet
from h2d.models.reading import quiet_libraries
from h2d.models.tiny import write_tiny
from h2d.pose.examples import read_example

POSE = "heart"
"""Both hands in one crop."""

PROMPT = "a person waves at the camera in a park"


class Tiny:
    """The miniature of h2d.models.tiny."""

    size_px = 128

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp())
        write_tiny(self.folder / "base-4")
        write_tiny(self.folder / "base-9", in_channels=9)

    def parts(self) -> dict[str, Any]:
        """By name."""
        text = load_text_encoder(self.folder / "base-9")
        return {
            "base": load_unet(self.folder / "base-4"),
            "unet": load_unet(self.folder / "base-9"),
            "controlnet": load_controlnet(self.folder / "base-9" / "controlnet"),
            "vae": load_vae(self.folder / "base-9"),
            "text_encoder": text,
            "tokenizer": load_tokenizer(self.folder / "base-9"),
        }


class Full(Tiny):
    """Stable Diffusion 1.5's sizes; the tokenizer stays the miniature's."""

    size_px = 512

    def parts(self) -> dict[str, Any]:
        """By name."""
        words = load_tokenizer(self.folder / "base-9")
        shape: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
        text = CLIPTextConfig(
            vocab_size=49_408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=512,
        )
        return {
            "base": UNet2DConditionModel(in_channels=4, **shape),
            "unet": UNet2DConditionModel(in_channels=9, **shape),
            "controlnet": ControlNetModel(cross_attention_dim=768, attention_head_dim=8),
            "vae": vae,
            "text_encoder": CLIPTextModel(text).eval(),
            "tokenizer": words,
        }


class Both:
    """Our pipeline and the peer's two, on the same networks."""

    def __init__(self, sizes: Tiny, device: torch.device, dtype: torch.dtype) -> None:
        parts = sizes.parts()
        base, size = parts.pop("base"), sizes.size_px
        scheduler = DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        )
        plain = UNet2DConditionModel.from_config(base.config)
        generator = build_hand_generator(base, random=torch.Generator().manual_seed(0))
        with torch.no_grad():
            bias = generator.mask_head.layers[-1].bias
            assert isinstance(bias, torch.Tensor)
            bias.fill_(1)  # a mask that passes the check, so that no hand is made twice
        self.ours = TwoStagePipeline(
            **parts,
            scheduler=scheduler,
            hand_scheduler=scheduler,
            hand_unet=generator.unet,
            mask_head=generator.mask_head,
            size_px=size,
            hand_size_px=size,
        ).to(device)
        without: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        shared = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer")}
        self.hands = StableDiffusionPipeline(**shared, unet=plain, scheduler=scheduler, **without).to(device)
        self.body = StableDiffusionControlNetInpaintPipeline(
            **shared, unet=parts["unet"], controlnet=parts["controlnet"], scheduler=scheduler, **without
        ).to(device)
        for pipe in (self.ours, self.hands, self.body):
            if dtype != torch.float32:
                pipe.to(dtype)
            pipe.set_progress_bar_config(disable=True)
        self.size, self.pose = size, read_example(POSE)
        random = np.random.default_rng(0)
        self.canvas, self.skeleton = (torch.from_numpy(random.random((1, 3, size, size), np.float32)) for _ in range(2))
        self.mask = torch.ones(1, 1, size, size)
        self.mask[..., size // 4 : size // 2, size // 4 : size // 2] = 0

    def run_ours(self, steps: int, *, batch: int = 1, scheduler: str | None = None) -> Any:
        """Pictures of one pose."""
        options = SampleOptions(
            num_inference_steps=steps, hand_attempts=1, scheduler=scheduler, height=self.size, width=self.size
        )
        return self.ours([PROMPT] * batch, self.pose, seed=1, options=options)

    def run_peer(self, steps: int, *, crops: int, batch: int = 1) -> None:
        """As many hands as ours made crops, then as many pictures."""
        size = self.size
        self.hands([PROMPT] * crops, num_inference_steps=steps, height=size, width=size, output_type="np")
        self.body(
            [PROMPT] * batch,
            image=self.canvas.repeat(batch, 1, 1, 1),
            mask_image=self.mask.repeat(batch, 1, 1, 1),
            control_image=self.skeleton.repeat(batch, 1, 1, 1),
            num_inference_steps=steps,
            strength=1.0,
            controlnet_conditioning_scale=1.0,
            output_type="np",
        )


def alternating(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round of each; one round before is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            wait()
            start = time.perf_counter()
            call()
            wait()
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def wait() -> None:
    """For what a GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def latency(both: Both, rounds: int, steps: int, batch: int, name: str) -> dict[str, Any]:
    """S1 and S3."""
    crops = sum(map(len, both.run_ours(1, batch=batch).hands))
    times = alternating(
        {
            "ours": lambda: both.run_ours(steps, batch=batch),
            "peer": lambda: both.run_peer(steps, crops=crops, batch=batch),
        },
        rounds,
    )
    return {**compared(name, times), "crops": crops, "pictures": batch, "steps": steps}


def few_steps(both: Both, rounds: int) -> dict[str, Any]:
    """S4: the time of 50 steps of DDIM over that of 20 of DPM-Solver++."""
    times = alternating(
        {"ours": lambda: both.run_ours(20, scheduler="dpm++"), "peer": lambda: both.run_ours(50)}, rounds
    )
    return compared("S4 20 steps (peer: our 50)", times)


def overhead(both: Both, rounds: int, steps: int) -> dict[str, Any]:
    """S2: how much of the body's loop is not spent in its U-Net and ControlNet."""
    inside: list[tuple[float, float]] = []
    spent, loop = {"now": 0.0}, {"start": 0.0}

    def timed(network: Any) -> Callable[..., Any]:
        forward = network.forward

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            answer = forward(*args, **kwargs)
            wait()
            spent["now"] += time.perf_counter() - start
            return answer

        network.forward = call
        return forward

    networks = (both.ours.unet, both.ours.controlnet)
    before = [timed(network) for network in networks]
    denoise = both.ours.denoise

    def around(stage: str, *args: Any, **kwargs: Any) -> Any:
        spent["now"], loop["start"] = 0.0, time.perf_counter()
        answer = denoise(stage, *args, **kwargs)
        wait()
        if stage == "body":
            inside.append((time.perf_counter() - loop["start"], spent["now"]))
        return answer

    both.ours.denoise = around
    try:
        for _ in range(rounds + 1):
            both.run_ours(steps)
    finally:
        both.ours.denoise = denoise
        for network, forward in zip(networks, before, strict=True):
            network.forward = forward
    whole, own = (statistics.median(pair[place] for pair in inside[1:]) for place in (0, 1))
    return {
        "what": "S2 our loop beside its networks",
        "whole_ms_per_step": 1e3 * whole / steps,
        "added_ms_per_step": 1e3 * (whole - own) / steps,
        "added_share": (whole - own) / whole,
    }


def command(rounds: int) -> dict[str, Any]:
    """S5: `h2d sample` on a miniature's checkpoints, everything counted."""
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        code = "from pathlib import Path; from tiny_models import write_checkpoints; write_checkpoints(Path('runs'))"
        where: dict[str, Any] = {
            "cwd": folder,
            "env": {**os.environ, "PYTHONPATH": f"{here}:{here / 'tests' / 'infer'}"},
            "check": True,
            "capture_output": True,
        }
        subprocess.run([sys.executable, "-c", code], **where)
        asked = ["sample", "--pose", POSE, "--prompt", PROMPT, "--set", "hand_attempts=1", "--device", "cpu"]
        walls, used = [], []
        for number in range(rounds + 1):
            before, start = os.times(), time.perf_counter()
            subprocess.run([sys.executable, "-m", "h2d", *asked], **where)
            after = os.times()
            if number:
                walls.append(time.perf_counter() - start)
                used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"what": "S5 h2d sample, tiny", "wall_s": statistics.median(walls), "cpu_s": statistics.median(used)}


def compared(name: str, times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, their ratio and the spread."""
    ours, peer = statistics.median(times["ours"]), statistics.median(times["peer"])
    ratios = sorted(p / o for o, p in zip(times["ours"], times["peer"], strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return {"what": name, "ours_s": ours, "peer_s": peer, "peer_over_ours": statistics.median(ratios), "spread": spread}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=16, help="pictures of S3")
    parser.add_argument("--full", action="store_true", help="Stable Diffusion 1.5's sizes")
    parser.add_argument("--compile", action="store_true", help="compile our networks, not the peer's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    quiet_libraries()
    device = torch.device(chosen.device)
    if device.type == "cpu" and not chosen.full:
        torch.set_num_threads(1)  # as h2d sample does for networks of this size
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    both = Both(Full() if chosen.full else Tiny(), device, dtype)
    if chosen.compile:
        both.ours.compile_networks(mode="reduce-overhead" if device.type == "cuda" else "default")
    results = [
        latency(both, chosen.rounds, chosen.steps, 1, "S1 one picture"),
        overhead(both, chosen.rounds, chosen.steps),
        latency(
            both, max(1, chosen.rounds // 2), max(1, chosen.steps // 5), chosen.batch, f"S3 {chosen.batch} at once"
        ),
        few_steps(both, chosen.rounds),
    ]
    if not chosen.full:
        results.append(command(chosen.rounds))
    print(json.dumps({"device": str(device), "dtype": str(dtype), "results": results}))
    for row in results:
        figures = [f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()]
        print("  ".join([str(row["what"]).ljust(32), *figures[1:]]))


if __name__ == "__main__":
    main()
