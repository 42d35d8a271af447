"""What every annotator promises, and what passes in and out of one.

An annotator is a frozen config with three methods. Building it is cheap and it can be pickled; `setup` loads weights
once in the worker that will use it; then it answers requests in order. "No hand found" is an answer, not an exception;
an exception means that this request could not be worked on, and becomes a row in `rejects`.

Axis legend: h height, w width, n boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.manifests.io import Location
from h2d.pose.camera import Camera
from h2d.pose.layouts import NUM_POINTS, Side
from h2d.pose.points import missing_points


@runtime_checkable
class Annotator(Protocol):
    """The part that all annotators share."""

    def identity(self) -> Mapping[str, Any]:
        """Everything that changes the answers: model names, hashes, options. JSON-ready; part of the fingerprint."""

    def setup(self) -> None:
        """Load weights. Called once per worker process, before the first request."""

    def close(self) -> None:
        """Give back what `setup` took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundHand:
    """One hand of the person, in pixels of the picture that was looked at."""

    points: Float32[np.ndarray, "21 3"]
    found_by: str
    """The model: "holistic", "hands", "miniature" or "precomputed"."""
    checks: tuple[str, ...] = ()
    """Plausibility checks that it fails: recorded, never hidden."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """The keypoints of one picture, in its pixels."""

    num_persons: int
    body: Float32[np.ndarray, "133 3"] = field(default_factory=lambda: missing_points(NUM_POINTS))
    """All 133 points, hands included."""
    hands: Mapping[Side, FoundHand] = field(default_factory=dict)


GivenHands: TypeAlias = Mapping[Side, Float32[np.ndarray, "21 3"]]
"""The dataset's own points of each hand; one that is not valid is missing."""

NOTHING_GIVEN: Final[GivenHands] = MappingProxyType({})


@runtime_checkable
class KeypointDetector(Annotator, Protocol):
    """Finds one person's 133 points."""

    def detect(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        boxes_xywh: Float32[np.ndarray, "n 4"],
        given: GivenHands = NOTHING_GIVEN,
    ) -> Detection:
        """Look at one picture; the dataset's own hand boxes and hands are in pixels, perhaps none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandView:
    """A square crop and the hands in it that want a mask; everything is in pixels of the crop."""

    picture: UInt8[np.ndarray, "h w 3"]
    hands: Mapping[Side, Float32[np.ndarray, "21 3"]]
    others: Mapping[Side, Float32[np.ndarray, "21 3"]] = field(default_factory=dict)
    """Hands of the picture that want no mask here, though a part of them may be seen."""
    given_mask: Location | None = None
    """The dataset's own mask of the whole source picture, if it has one."""
    crop_box_xywh: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Where the crop lies, in pixels of the source picture."""
    source_size_hw: tuple[int, int] | None = None
    """Of the source picture, which a mask of it must have too."""
    meshes: Mapping[Side, Location] = field(default_factory=dict)
    """The dataset's own meshes of the hands in the source picture, also of one that this view is not of."""
    camera: Camera | None = None
    """Of the meshes, in pixels of the source picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandMask:
    """One hand's mask in its view, undilated; None when no acceptable one was found, and `problem` says why."""

    mask: Bool[np.ndarray, "h w"] | None
    quality: float
    """0..1: how well the mask fits its keypoints, by the segmenter's own measure."""
    problem: str | None = None


@runtime_checkable
class Segmenter(Annotator, Protocol):
    """Draws one mask per hand."""

    batch_size: int
    """How many views it likes to get at once."""

    def segment(self, views: Sequence[HandView]) -> list[dict[Side, HandMask]]:
        """One answer per view, in order; every hand of a view has an entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRequest:
    """What a captioner may use: the working picture and what is known of it."""

    picture: UInt8[np.ndarray, "h w 3"] | None
    """None for a captioner that does not look."""
    source: str
    gesture: str | None
    hands: tuple[Side, ...]
    id: str = ""
    """The picture's, as `interhand/test/Capture4/0007_thumbup_normal/cam410028/image2017`."""


@runtime_checkable
class Captioner(Annotator, Protocol):
    """Describes pictures in words."""

    batch_size: int
    """How many requests it likes to get at once."""
    sees_pictures: ClassVar[bool]
    """Whether it looks at them; else they are not even read for it."""

    def caption(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """One description per request, in order; never empty."""
