"""A loaded method on its device, with what the sampling command asks of a session."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from h2d.config import as_plain
from h2d.errors import UserError
from h2d.infer.baselines import BASELINES
from h2d.infer.baselines.base import Baseline, BaselineOptions
from h2d.infer.memory import Budget, network_folders
from h2d.infer.options import SampleOptions
from h2d.infer.provenance import differing, fingerprints, pose_record
from h2d.infer.requests import Item, request_of
from h2d.infer.saved_pipeline import PUBLIC_SIZE_PX
from h2d.infer.session import (
    TYPES,
    Made,
    OnStep,
    Precision,
    batch_record,
    device_of,
    other_sampling,
    other_surroundings,
    precision_of,
    surroundings,
)
from h2d.infer.text import negative_notes
from h2d.models.reading import quiet_libraries
from h2d.registry import resolve


class BaselineSession:
    """As `h2d.infer.session.Session`, of any method by name."""

    def __init__(
        self, method: str, options: BaselineOptions, *, device: str = "auto", precision: Precision = "auto"
    ) -> None:
        quiet_libraries()
        self.device = device_of(device)
        self.precision = precision_of(precision, self.device)
        self._name, self._options = method, options
        self._method: Baseline = resolve(BASELINES, method, kind="method")(options)
        folders = network_folders(self._method.places())
        self._budget = Budget(folders=folders, precision=self.precision, device=self.device)
        self._budget.check((PUBLIC_SIZE_PX, PUBLIC_SIZE_PX), 1, loaded=False)
        self._method.load(self.device, TYPES[self.precision])
        self._fingerprints = fingerprints(self._method)

    def sample(self, items: Sequence[Item], options: SampleOptions, on_step: OnStep | None = None) -> list[Made]:
        """The pictures of some items of one size, in one batch; of `options`, what the method has too."""
        if options.scheduler not in (None, self._options.scheduler):
            raise UserError(f"scheduler = {options.scheduler}: of this method it is --set baseline.scheduler")
        self._budget.check(self.size_of(items[0], options), len(items), loaded=True)
        pictures = self._method(
            [item.prompt for item in items],
            [item.pose for item in items],
            [item.seed for item in items],
            size=(options.height, options.width),
            steps=options.num_inference_steps,
            guidance=options.guidance_scale,
            negative=options.negative_prompt,
        )
        scale = self._method.sampling(options.num_inference_steps, options.guidance_scale).guidance_scale
        tokenizer = self._method.components["tokenizer"]
        unread = negative_notes(tokenizer, options.negative_prompt, is_guided=scale != 1)
        notes = [[*self._method.notes(item.prompt, item.pose), *unread] for item in items]
        return [
            Made(
                image=Image.fromarray(picture),
                record=self._record(item, options) | batch_record(item, items) | {"notes": told},
                output=None,
                index=index,
                notes=tuple(told),
            )
            for index, (item, picture, told) in enumerate(zip(items, pictures, notes, strict=True))
        ]

    def size_of(self, item: Item, options: SampleOptions) -> tuple[int, int]:
        """The (height, width) that an item's picture gets; raises `UserError`."""
        return self._method.size_of(item.pose, (options.height, options.width))

    def has_weights_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a picture was made by this method with these very networks and options."""
        same = record["method"] == self._name and record.get("baseline") == as_plain(self._options)
        return same and not differing(record["weights"], self._fingerprints)

    def check_weights(self, record: Mapping[str, Any], name: str) -> None:
        """Raise `UserError` when a record was made with other networks than these."""
        if record["method"] != self._name:
            return  # the same prompt and pose by another method, which was asked for
        others = differing(record["weights"], self._fingerprints)
        if others:
            raise UserError(f"{name}: made with another {', '.join(others)}: give the weights of then")

    def remarks(self, record: Mapping[str, Any]) -> list[str]:
        """What of machine and versions is not as it was then, so that bits may differ."""
        if record["method"] != self._name:
            return []
        request = request_of(record, "the picture")
        now = self._record(request.items()[0], request.options)
        return other_surroundings(record, now) + other_sampling(record, now)

    def _record(self, item: Item, options: SampleOptions) -> dict[str, Any]:
        sampling = self._method.sampling(options.num_inference_steps, options.guidance_scale)
        return {
            "method": self._name,
            "prompt": item.prompt,
            "seed": item.seed,
            "options": as_plain(options),
            "resolved": {"scheduler": self._options.scheduler, **asdict(sampling)},
            "baseline": as_plain(self._options),
            "pose": pose_record(item.pose),
            "models": {name: str(place) for name, place in self._method.places().items()},
            "weights": self._fingerprints,
            **surroundings(self.device, self.precision),
        }
