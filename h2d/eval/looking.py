"""Which looks a run takes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from h2d.annotate import keypoints, people
from h2d.config import validate_config
from h2d.errors import UserError
from h2d.eval.looks.base import Look, fingerprint_of
from h2d.eval.looks.features import FeaturesLook
from h2d.eval.looks.foreground import ForegroundLook
from h2d.eval.looks.pose import PoseLook
from h2d.eval.looks.text import PictureLook, PromptLook
from h2d.eval.options import LookConfig
from h2d.machine import device_named
from h2d.models import weights
from h2d.registry import resolve

INCEPTION: Final = "inception-v3-fid"
SAM: Final = "sam-vit-h"
CLIP: Final = "clip-vit-base-patch16"
NONE: Final = "none"
GIVEN_BY: Final = {"points": PoseLook.name, "mask": ForegroundLook.name}
"""Which look gives a column that others need."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Those of a run, and why some are not."""

    pose: PoseLook
    foreground: ForegroundLook | None
    features: tuple[FeaturesLook, ...]
    clip: PictureLook | None
    prompts: PromptLook | None
    missing: dict[str, str]
    """What is not measured, and why: shown where its numbers would stand."""

    def of(self, *, real: bool) -> tuple[Look, ...]:
        """In the order in which they need each other; prompts are read beside the real pictures."""
        prompts = self.prompts if real else None
        return tuple(look for look in (self.pose, self.foreground, *self.features, self.clip, prompts) if look)

    def check(self) -> None:
        """Open the weights that are looked with; raises `UserError` where a file is damaged or another network's.

        To be called before hours of pictures are made, not after. SAM's were checked when they were found.
        """
        for look in self.of(real=True):
            look.identity()

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of each look by its name: where its answers lie."""
        found: dict[str, str] = {}
        for look in self.of(real=True):
            found[look.name] = fingerprint_of(look, [found[GIVEN_BY[column]] for column in look.needs])
        return found


def choose_looks(choices: LookConfig) -> Looks:
    """Decide every `auto` and find the weights; raises `UserError` where what was asked for is not there."""
    device = device_named(choices.device)
    missing: dict[str, str] = {}
    options = choices.detector_options or {}
    detector = validate_config(
        resolve(keypoints.DETECTORS, choices.detector, kind="detector"), options, where="detector_options"
    )
    segmenter = _segmenter(choices, device)
    features, note = _features(choices, device, foreground=segmenter is not None)
    if segmenter is None:
        missing["foreground"] = "no background was removed: --segmenter none"
    if note:
        missing["features"] = note
    clip = _clip_folder(choices.text)
    if clip is None:
        missing["text"] = (
            "no agreement with the prompts was measured: text none"
            if choices.text == NONE
            else f"CLIP's weights are not on this machine: get them: h2d models fetch {CLIP}"
        )
    return Looks(
        pose=PoseLook(detector, enlarged_px=choices.enlarged_px, in_child=choices.detector in keypoints.NATIVE),
        foreground=segmenter,
        features=features,
        clip=None if clip is None else PictureLook(clip, device=device),
        prompts=None if clip is None else PromptLook(clip, device=device),
        missing=missing,
    )


def _segmenter(choices: LookConfig, device: str) -> ForegroundLook | None:
    name = choices.segmenter
    if name == "auto":
        name = "sam" if weights.find(SAM) else "selfie"
    if name == NONE:
        return None
    options: dict[str, Any] = {}
    if name == "sam":
        known = weights.weights_named(SAM).files[0].sha256
        options = {"checkpoint": weights.locate(SAM), "checkpoint_sha256": known, "device": device}
    segmenter = validate_config(resolve(people.PEOPLE_SEGMENTERS, name, kind="segmenter"), options, where="segmenter")
    on_gpu = name == "sam" and device.startswith("cuda")
    return ForegroundLook(segmenter, needs_gpu=on_gpu, in_child=name in people.NATIVE)


def _features(choices: LookConfig, device: str, *, foreground: bool) -> tuple[tuple[FeaturesLook, ...], str | None]:
    if choices.features == NONE:
        return (), "no features were computed: --features none"
    file: Path | None = choices.inception_weights
    if file is not None and choices.features == "random":
        raise UserError("--features random takes no --inception-weights")
    if file is None and choices.features != "random":
        file = weights.locate(INCEPTION) if choices.features == "inception" else weights.find(INCEPTION)
    note = None
    if file is None:
        note = f"Inception's weights are not on this machine: get them: h2d models fetch {INCEPTION}"
    looks = tuple(
        FeaturesLook(region=region, width=choices.width, resize=choices.resize, weights=file, device=device)
        for region in (("whole", "foreground") if foreground else ("whole",))
    )
    return looks, note


def _clip_folder(name: str) -> Path | None:
    """Where CLIP lies; raises `UserError` where the one that was asked for is not there."""
    if name == NONE:
        return None
    if name == "auto":
        return weights.find(CLIP)
    return weights.named_or_path(name)
