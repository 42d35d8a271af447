"""What is to be made, picture by picture: prompts, poses and seeds spread over a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from h2d.errors import UserError
from h2d.infer.arms import with_arms
from h2d.infer.framing import fit_pose, output_size
from h2d.pose.checks import validate
from h2d.pose.pose import Pose

_MAX_SEED: Final = 2**63
_IMPOSSIBLE: Final = ("hand_larger_than_torso", "wrist_apart", "left_is_right", "hands_coincide")
"""Of `h2d.pose.checks`: what a picture follows all the same. Other mistakes of a pose are told where they are met."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One picture."""

    prompt: str
    pose: Pose
    seed: int
    framed: Pose
    """The pose in pixels of the picture."""


def make_jobs(
    prompts: Sequence[str],
    poses: Sequence[Pose],
    seeds: Sequence[int],
    *,
    num_images_per_prompt: int,
    wanted_hw: tuple[int | None, int | None],
    short_px: int,
    multiple: int,
) -> list[Job]:
    """One job a picture: those of the first prompt, then of the next. One pose, or one prompt, serves all.

    Raises `UserError` when counts or sizes do not go together.
    """
    count = max(len(prompts), len(poses))
    for name, given in (("prompt", len(prompts)), ("pose", len(poses))):
        if given not in (1, count):
            raise UserError(f"{len(prompts)} prompts and {len(poses)} poses: give one {name}, or as many as the others")
    if len(seeds) != count * num_images_per_prompt:
        raise UserError(f"{len(seeds)} seeds for {count * num_images_per_prompt} pictures: give one each, or a number")
    chosen = [poses[place % len(poses)] for place in range(count)]
    sizes = [output_size(pose.size_hw, wanted_hw, short_px=short_px, multiple=multiple) for pose in chosen]
    if len(set(sizes)) > 1:
        found = " and ".join(f"{height} x {width}" for height, width in sorted(set(sizes))[:2])
        raise UserError(f"pictures of one batch have one size, these poses make {found}: give height and width")
    framed = [fit_pose(pose, sizes[0]) for pose in chosen]
    return [
        Job(
            prompt=prompts[place % len(prompts)],
            pose=chosen[place],
            seed=seeds[place * num_images_per_prompt + copy],
            framed=framed[place],
        )
        for place in range(count)
        for copy in range(num_images_per_prompt)
    ]


def guessed(pose: Pose) -> list[str]:
    """That the canvas is a guess, where it is: the person stands elsewhere in the picture than in the pose's own."""
    if pose.canvas_stated:
        return []
    size = f"{pose.width}x{pose.height}"
    return [f"the pose's file names no canvas, {size} was taken, the smallest: h2d pose convert --size states another"]


def outgrown(size_hw: tuple[int, int], native_px: int) -> list[str]:
    """That a picture is much larger than those that the networks learnt from, where it is."""
    height, width = size_hw
    if min(size_hw) < 2 * native_px:
        return []
    return [f"{width}x{height} is far from the {native_px} pixels that these networks draw: leave --size out"]


def impossible(pose: Pose) -> list[str]:
    """What no person's hands do, as `h2d pose validate` says it."""
    return [finding.line() for finding in validate(pose) if finding.name in _IMPOSSIBLE]


def armed(job: Job, notes: list[str]) -> Job:
    """The job with arms for its hands; what was added goes into its notes."""
    framed, added = with_arms(job.framed)
    notes += added
    return replace(job, framed=framed)


def seeds_of(
    seed: int | Sequence[int] | None, generator: torch.Generator | Sequence[torch.Generator] | None, count: int
) -> list[int]:
    """A seed each: counted up from one, as given, or drawn from generators; without any a random one is drawn."""
    if generator is not None:
        generators = [generator] * count if isinstance(generator, torch.Generator) else list(generator)
        return [_drawn(each) for each in generators]
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    seeds = [seed + place for place in range(count)] if isinstance(seed, int) else list(seed)
    for each in seeds:
        if not 0 <= each < _MAX_SEED:
            raise UserError(f"seed = {each}: give a number from 0 to {_MAX_SEED - 1}")
    return seeds


def _drawn(generator: torch.Generator) -> int:
    return int(torch.randint(2**32, (), generator=generator, device=generator.device))
