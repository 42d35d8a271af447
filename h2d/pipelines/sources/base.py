"""What a dataset reader promises: list its pictures once, with the labels that the dataset itself brings.

A reader opens no picture. It yields records in any order; the plan sorts them by split and id.
Axis legend: n boxes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from h2d.annotate.base import NOTHING_GIVEN, GivenHands
from h2d.manifests.io import Location
from h2d.pose.camera import Camera
from h2d.pose.layouts import Side

NO_MESHES: Final[Mapping[Side, str]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One picture that is there, with the dataset's own labels."""

    id: str
    """Stable and unique: "hagrid/call/01898f3e-..."; the same however the dataset is laid out or where it lies."""
    split: str
    path: str
    """Below the dataset's root, with forward slashes."""
    size_bytes: int
    """Of the picture's file: part of the plan's hash, so that a replaced picture is noticed."""
    gesture: str | None = None
    subject: str | None = None
    boxes_xywh: Float32[np.ndarray, "n 4"] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    """The dataset's hand boxes: left, top, width, height, as fractions of the picture, clipped to 0..1."""
    box_labels: tuple[str, ...] = ()
    box_landmarks: tuple[Float32[np.ndarray, "21 2"] | None, ...] = ()
    """The dataset's own hand points for each box as fractions of the picture; None where it has none to trust."""
    mask_path: str | None = None
    pose_path: str | None = None
    """A file of the dataset's own that says who is in the picture, below the root."""
    original_caption: str | None = None
    """What the dataset says of the picture; kept beside the captioner's words."""
    hands: GivenHands = field(default_factory=lambda: NOTHING_GIVEN)
    """The dataset's own keypoints by side, in pixels of the picture, for the detector `precomputed`: x, y, confidence,
    a point that is not valid missing. A hand that the dataset calls invalid has no entry."""
    meshes: Mapping[Side, str] = field(default_factory=lambda: NO_MESHES)
    """The dataset's own mesh of each hand, a .ply file below the root, for the segmenter `mano`."""
    camera: Camera | None = None
    """Of the meshes."""
    stated_size_hw: tuple[int, int] | None = None
    """What the labels say of the picture's size; the decoded size counts, and a difference is recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about the dataset that a user should know: counted and named in the report, never dropped."""

    kind: str
    """For instance "entry_without_picture", "picture_without_entry", "box_outside", "landmarks_contradict_box"."""
    split: str
    """Empty when it belongs to none."""
    name: str
    """The entry or picture it is about."""


@runtime_checkable
class Source(Protocol):
    """A dataset's reader."""

    name: ClassVar[str]

    @property
    def root(self) -> Location:
        """The dataset's folder."""

    @property
    def follow_links(self) -> bool:
        """Whether links may lead out of the folder; without it, what they lead to is a finding and not read."""

    def describe(self) -> str:
        """One line on what was recognised: version, layout, size. Raises `UserError` for another root."""

    def options(self) -> Mapping[str, Any]:
        """The choices that decide which pictures are listed (split, gestures, ...). JSON-ready; part of the plan."""

    def records(self) -> Iterator[Record | Finding]:
        """Every picture of the chosen splits, and every finding."""


@runtime_checkable
class SelectiveSource(Source, Protocol):
    """A dataset so large that records are made only of the pictures that are chosen."""

    def selected(self, *, limit: int | None, sample: int | None, seed: int) -> Iterator[Record | Finding]:
        """`sample` pictures spread over the dataset's own groups, or at least the first `limit` by split and id.

        Findings about what lies on disk come of every picture, those about its labels only of the chosen. Without
        numbers: all, as `records` has them.
        """


@runtime_checkable
class PartedSource(Source, Protocol):
    """A dataset whose pictures may lie apart from its labels."""

    @property
    def images(self) -> Location | None:
        """Their folder, when it is not below the root."""
