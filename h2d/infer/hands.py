"""Stage 1: pictures and masks of all hands of a batch, checked against their keypoints, made anew where they fail.

Axis legend: s crop size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate.crops import Crop
from h2d.annotate.masks.cleanup import MaskRules, clean_mask, problem_of, recall
from h2d.infer.canvas import HandPicture
from h2d.infer.framing import HandCrop, crops_of, hand_crops
from h2d.infer.jobs import Job
from h2d.infer.loop import Noise
from h2d.infer.options import SampleOptions
from h2d.pose.layouts import Side


@dataclass(frozen=True, kw_only=True, slots=True)
class HandRequest:
    """One crop to be filled."""

    place: HandCrop
    prompt: str
    seed: tuple[int, ...]
    """The picture's seed and the crop's number; an attempt's number is added."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnHand:
    """What a maker gives: the crop's picture, and how much each pixel is hand."""

    picture: UInt8[np.ndarray, "s s 3"]
    mask: Float32[np.ndarray, "s s"]
    """About 0..1; not clamped."""
    points: dict[Side, Float32[np.ndarray, "21 3"]] | None = None
    """Where its hands are, for a maker that cannot follow the pose in every finger; None: where they were asked for."""
    remark: str | None = None
    """What a person should know of it."""
    latents: Any = None
    """What the picture was decoded from, Float[Tensor, "4 l l"] in stage 2's own latent space; None where it is not."""


@runtime_checkable
class HandMaker(Protocol):
    """Makes pictures of hands: the trained generator, a ControlNet, a photograph."""

    repeats: bool
    """Whether another seed gives the same picture, so that trying again is idle."""

    def draw(self, requests: Sequence[HandRequest], seeds: Sequence[tuple[int, ...]]) -> list[DrawnHand]:
        """All crops in one pass, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hand:
    """A finished crop: one hand, or both where they meet."""

    person: int
    crop: Crop
    points: dict[Side, Float32[np.ndarray, "21 3"]]
    """What it was made from, in pixels of the crop."""
    picture: UInt8[np.ndarray, "s s 3"]
    raw_mask: Float32[np.ndarray, "s s"]
    mask: Bool[np.ndarray, "s s"]
    """Thresholded and cleaned."""
    fit: float
    """The share of the keypoints that lie on the mask, 0..1; of the worse hand where there are two."""
    problem: str | None
    """Why the mask fails the check, after the last attempt."""
    remark: str | None
    """What else a person should know of it."""
    attempts: int
    latents: Any = None
    """As `DrawnHand.latents`."""

    def as_picture(self) -> HandPicture:
        """For the canvas."""
        return HandPicture(crop=self.crop, picture=self.picture, mask=self.mask)


def hand_requests(
    jobs: Sequence[Job], notes: Sequence[list[str]], size_px: int, options: SampleOptions, *, cell_px: int
) -> tuple[list[HandRequest], list[int]]:
    """The crops of all pictures, and which picture each is of; adds to each picture's notes."""
    requests: list[HandRequest] = []
    owners: list[int] = []
    for number, (job, said) in enumerate(zip(jobs, notes, strict=True)):
        places, remarks = hand_crops(
            job.framed,
            crops_of(size_px),
            zoomed=options.zoom_hands,
            aligned=options.latent_handover,
            cell_px=cell_px,
        )
        said += remarks
        if not places:
            said.append("no hands in the pose: made by the ControlNet alone")
        prompt = job.prompt if options.hand_prompt is None else options.hand_prompt
        requests += [
            HandRequest(place=place, prompt=prompt, seed=(job.seed, Noise.HAND, index))
            for index, place in enumerate(places)
        ]
        owners += [number] * len(places)
    return requests, owners


def make_hands(
    maker: HandMaker,
    requests: Sequence[HandRequest],
    *,
    threshold: float = 0.5,
    attempts: int = 2,
    rules: MaskRules | None = None,
) -> list[Hand]:
    """Every request's best hand, in order: those that fail the check are drawn again together, from other seeds.

    A hand that fails to the end is kept as its best attempt, with its `problem`.
    """
    best: dict[int, Hand] = {}
    wanted = list(range(len(requests)))
    for attempt in range(1 if maker.repeats else attempts):
        if not wanted:
            break
        asked = [requests[number] for number in wanted]
        drawn = maker.draw(asked, [(*request.seed, attempt) for request in asked])
        for number, hand in zip(wanted, drawn, strict=True):
            judged = judge(requests[number].place, hand, threshold, rules or MaskRules(), attempt + 1)
            before = best.get(number, judged)
            better = judged.problem is None or judged.fit > before.fit
            best[number] = judged if better else replace(before, attempts=attempt + 1)
        wanted = [number for number in wanted if best[number].problem is not None]
    return [best[number] for number in range(len(requests))]


def judge(place: HandCrop, drawn: DrawnHand, threshold: float, rules: MaskRules, attempts: int) -> Hand:
    """Threshold the mask, tidy it hand by hand, and compare it with the keypoints."""
    rough = drawn.mask >= threshold
    own = drawn.points or place.points
    cleaned = {side: clean_mask(rough, points, rules) for side, points in own.items()}
    problems = {side: problem_of(cleaned[side], points, rules) for side, points in own.items()}
    failed = [f"{side} hand: {problem}" for side, problem in problems.items() if problem]
    return Hand(
        person=place.person,
        crop=place.crop,
        points=place.points,
        picture=drawn.picture,
        raw_mask=drawn.mask,
        mask=np.logical_or.reduce(list(cleaned.values())),
        fit=min(recall(cleaned[side], points) for side, points in place.points.items()),
        problem="; ".join(failed) or None,
        remark=drawn.remark,
        attempts=attempts,
        latents=drawn.latents,
    )
