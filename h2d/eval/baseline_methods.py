"""The methods that the paper compares with, as rows of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from h2d.config import as_plain, validate_config
from h2d.errors import UserError
from h2d.eval.methods import Made, MethodOptions, dtype_of, weights_print
from h2d.eval.picture_list import Entry
from h2d.machine import device_named
from h2d.registry import resolve


class BaselineMethod:
    """A method of `h2d.infer.baselines`, told what ours is told; its guidance and negative prompt are its authors'."""

    title: ClassVar[str]
    name: ClassVar[str]

    def __init__(self, options: MethodOptions) -> None:
        self._options = options
        self._loaded: Any = None

    def identity(self) -> Mapping[str, Any]:
        """Its weights and every option that it is built from."""
        method = self._build()
        return {
            "method": self.name,
            "weights": {part: weights_print(place) for part, place in self._places(method).items()},
            "options": as_plain(self._baseline_options()),
            "dtype": dtype_of(self._options),
            "sampling": asdict(method.sampling(self._steps(), self._guidance())),
        }

    def setup(self) -> None:
        """Load it onto the device."""
        import torch

        method = self._build()
        method.load(torch.device(device_named(self._options.device)), getattr(torch, dtype_of(self._options)))
        self._loaded = method

    def make(self, entries: Sequence[Entry]) -> list[Made]:
        """All in one batch."""
        assert self._loaded is not None, "not set up"
        size = entries[0].size
        pictures = self._loaded(
            [entry.prompt for entry in entries],
            [entry.pose for entry in entries],
            [entry.seed for entry in entries],
            size=(size, size),
            steps=self._steps(),
            guidance=self._guidance(),
            negative=None,
        )
        notes = [self._loaded.notes(entry.prompt, entry.pose) for entry in entries]
        return [
            Made(picture=np.asarray(picture), notes=tuple(told)) for picture, told in zip(pictures, notes, strict=True)
        ]

    def close(self) -> None:
        """Let it go."""
        self._loaded = None

    def _build(self) -> Any:
        from h2d.infer.baselines import BASELINES

        return resolve(BASELINES, self.name, kind="method")(self._baseline_options())

    def _places(self, method: Any) -> Mapping[str, Path]:
        from h2d.infer.baselines import MINIATURES
        from h2d.models.weights import MissingWeightsError

        try:
            found: Mapping[str, Path] = method.places()
        except MissingWeightsError as error:
            if self.name not in MINIATURES:
                raise
            flags = " ".join(f"--baseline {name}={value}" for name, value in MINIATURES[self.name].items())
            raise MissingWeightsError(f"{error}; or take the miniature, which is here: {flags}") from None
        return found

    def _baseline_options(self) -> Any:
        from h2d.infer.baselines.base import BaselineOptions

        return validate_config(BaselineOptions, self._options.baseline, where="baseline")

    def _steps(self) -> int | None:
        steps: int | None = self._own("num_inference_steps")
        return steps

    def _guidance(self) -> float | None:
        scale: float | None = self._own("guidance_scale")
        return scale

    def _own(self, key: str) -> Any:
        """An option of sampling that any method has; those of ours alone are refused rather than passed over."""
        unknown = set(self._options.sample) - {"num_inference_steps", "guidance_scale"}
        if unknown:
            raise UserError(f"sample.{min(unknown)}: an option of the two-stage method, {self.name} has none such")
        return self._options.sample.get(key)


class StableDiffusion(BaselineMethod):
    """Sees the prompt alone."""

    title: ClassVar[str] = "Stable Diffusion"
    name: ClassVar[str] = "stable-diffusion"


class ControlNet(BaselineMethod):
    """Sees the skeleton, hands included, in one stage."""

    title: ClassVar[str] = "ControlNet"
    name: ClassVar[str] = "controlnet"


class T2IAdapter(BaselineMethod):
    """Sees the skeleton's body."""

    title: ClassVar[str] = "T2I-Adapter"
    name: ClassVar[str] = "t2i-adapter"


class HumanSD(BaselineMethod):
    """Sees the skeleton as four channels of its own."""

    title: ClassVar[str] = "HumanSD"
    name: ClassVar[str] = "humansd"


class HandRefiner(BaselineMethod):
    """Repairs the hands of ControlNet's picture."""

    title: ClassVar[str] = "HandRefiner"
    name: ClassVar[str] = "handrefiner"
