"""A scene and its drawing: what is drawn from a seed, what is rendered, and the labels that are exact.

World coordinates are millimetres, x to the right of the picture, y down, z away from the camera, before the camera's
own rotation and translation. Left and right are the person's own. A head's own frame has its origin in the middle of
the head, x to the person's left, y down, z to the back. Axis legend: h w picture size, n points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from h2d.pose.layouts import Side

Vector: TypeAlias = Float64[np.ndarray, "3"]
Rotation: TypeAlias = Float64[np.ndarray, "3 3"]
Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue, 0..255."""

Frame: TypeAlias = Literal["selfie", "whole_body", "hands"]
"""Head and torso as in HaGRID, the whole body as in LAION-Human, hands alone as in InterHand2.6M."""


class Part(IntEnum):
    """What a pixel shows."""

    BACKGROUND = 0
    LEFT_HAND = 1
    RIGHT_HAND = 2
    SKIN = 3
    HAIR = 4
    TOP = 5
    BOTTOM = 6
    SHOES = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """A pinhole: `X_camera = rotation @ X_world + translation`, then focal length and principal point in pixels."""

    rotation: Rotation
    translation: Vector
    focal: tuple[float, float]
    principal: tuple[float, float]
    size_hw: tuple[int, int]

    def project(self, world: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """X and y in pixels (a pixel's centre is at +0.5) and depth in millimetres."""
        camera = world @ self.rotation.T + self.translation
        pixels = camera[:, :2] / camera[:, 2:] * np.array(self.focal) + np.array(self.principal)
        return np.concatenate([pixels, camera[:, 2:]], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hand:
    """A posed hand in the world."""

    joints: Float64[np.ndarray, "21 3"]
    """Wrist, then thumb to little finger from base to tip; millimetres."""
    palm_normal: Vector
    """Unit vector out of the palm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Appearance:
    """Colours, with the words that captions use for them."""

    skin: Colour
    skin_name: str
    hair: Colour
    hair_name: str
    hair_style: Literal["short", "long", "bald"]
    top: Colour
    top_name: str
    bottom: Colour
    sleeves: Literal["long", "short"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A posed person, or hands alone."""

    hands: Mapping[Side, Hand]
    appearance: Appearance
    body: Float64[np.ndarray, "23 3"] | None
    """The 17 body and 6 foot points of COCO-WholeBody, millimetres; None for hands alone, whose forearms fade out."""
    elbows: Mapping[Side, Vector]
    """Where each forearm comes from; also for hands alone."""
    head_rotation: Rotation | None = None
    """From the head's frame to the world."""
    head_centre: Vector | None = None
    head_scale: float = 1.0
    """Times the standard head: 150 wide, 220 high, 190 deep."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Light:
    """One lamp far away, and the light from everywhere."""

    towards: Vector
    """Unit vector from the scene to the lamp."""
    strength: float
    ambient: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything that is drawn from one seed."""

    seed: int
    frame: Frame
    camera: Camera
    people: tuple[Person, ...]
    light: Light
    background: UInt8[np.ndarray, "h w 3"]
    background_name: str
    background_kind: Literal["plain", "gradient", "cluttered"]
    gesture: str
    """A HaGRID class, or "free" for a random pose."""
    gesture_sides: tuple[Side, ...]
    """The hands that make it."""
    caption: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonLabels:
    """What is true of one drawn person."""

    points: Float32[np.ndarray, "133 3"]
    """Pixels; confidence 1 where the person has the point and it lies in the picture, else missing."""
    visible: Bool[np.ndarray, "133"]
    """By depth: nothing lies before it."""
    points_3d: Float32[np.ndarray, "133 3"]
    """World millimetres; NaN where the person has no such point."""
    mask: Bool[np.ndarray, "h w"]
    hand_masks: Mapping[Side, Bool[np.ndarray, "h w"]]
    """A pixel is the hand's when at least half of it shows the hand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A rendered scene."""

    picture: UInt8[np.ndarray, "h w 3"]
    depth: Float32[np.ndarray, "h w"]
    """Millimetres along the camera's axis; infinity where the background shows."""
    people: tuple[PersonLabels, ...]
