"""A small world for the pipeline's tests: pictures with coloured hands, and a detector that finds them by colour.

The left hand is red, the right one blue; a hand's points are laid out in its blob's box. Nothing here looks at
labels, so the walk from picture to manifest is the real one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from h2d.annotate.base import Detection, FoundHand
from h2d.config import config
from h2d.images import encode_jpeg
from h2d.pose.layouts import HANDS, NUM_POINTS, WRISTS, Side
from h2d.pose.points import missing_points

COLOURS: dict[Side, tuple[int, int, int]] = {"left": (220, 40, 40), "right": (40, 40, 220)}
# Wrist at the bottom centre, five fingers fanned upwards: fractions of the hand's box.
HAND_SHAPE = np.array(
    [(0.5, 1.0)]
    + [
        (0.5 + spread * reach * 0.5, 1 - reach)
        for spread in (-1, -0.5, 0, 0.5, 1)
        for reach in (0.35, 0.55, 0.75, 0.95)
    ]
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture to draw: the centre of each hand, as fractions of the picture."""

    hands: Mapping[Side, tuple[float, float]]
    size_hw: tuple[int, int] = (240, 320)
    hand_px: int = 90


def draw(scene: Scene, seed: int) -> np.ndarray:
    """RGB uint8; a noisy grey room and a hand of fingers for each side."""
    height, width = scene.size_hw
    picture = np.random.default_rng(seed).integers(110, 130, (height, width, 3), np.uint8)
    for side, (x, y) in scene.hands.items():
        corner = np.array([x * width, y * height]) - scene.hand_px / 2
        points = (corner + HAND_SHAPE * scene.hand_px).astype(int)
        for finger in range(5):
            chain = points[[0, *range(1 + finger * 4, 5 + finger * 4)]]
            cv2.polylines(picture, [chain], False, COLOURS[side], thickness=max(6, scene.hand_px // 12))
    return picture


def write_folder(root: Path, scenes: Mapping[str, Scene]) -> None:
    """Write each scene as `<name>.jpg`."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, (name, scene) in enumerate(sorted(scenes.items())):
        (root / f"{name}.jpg").write_bytes(encode_jpeg(draw(scene, seed)))


def scenes(count: int) -> dict[str, Scene]:
    """Pictures with a left hand, a right hand, both apart, both together, and none, in turn."""
    kinds: list[dict[Side, tuple[float, float]]] = [
        {"left": (0.7, 0.5)},
        {"right": (0.3, 0.5)},
        {"left": (0.8, 0.5), "right": (0.2, 0.5)},
        {"left": (0.6, 0.5), "right": (0.4, 0.5)},
        {},
    ]
    return {f"picture-{number:03d}": Scene(hands=kinds[number % len(kinds)]) for number in range(count)}


def tables(out: Path) -> dict[str, bytes]:
    """Every published table file, byte for byte."""
    return {
        str(file.relative_to(out)): file.read_bytes()
        for table in ("images", "hands", "rejects")
        for file in sorted((out / table).rglob("*.parquet"))
    }


@config
class ColourDetector:
    """Finds the coloured hands; raises on a picture whose corner pixel is pure green."""

    tolerance: int = 60
    """Of each channel, 0..255."""

    def identity(self) -> Mapping[str, Any]:
        return {"model": "colour", "tolerance": self.tolerance}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: object = None) -> Detection:
        if picture[0, 0, 1] > 200 and picture[0, 0, 0] < 60:
            raise RuntimeError("this picture is cursed")
        body = missing_points(NUM_POINTS)
        hands: dict[Side, FoundHand] = {}
        for side, colour in COLOURS.items():
            match = (np.abs(picture.astype(int) - colour) < self.tolerance).all(axis=2)
            if match.sum() < 50:
                continue
            rows, columns = np.nonzero(match)
            low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
            points = np.ones((21, 3), np.float32)
            points[:, :2] = low + HAND_SHAPE * (high - low)
            hands[side] = FoundHand(points=points, found_by="colour")
            body[HANDS[side]] = points
            body[WRISTS[side]] = points[0]
        return Detection(num_persons=1 if hands else 0, body=body, hands=hands)


@config
class CurableDetector:
    """The same, but what it raises on it can do once a file is there."""

    cure: Path

    def identity(self) -> Mapping[str, Any]:
        return {"model": "curable"}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: object = None) -> Detection:
        if self.cure.exists():
            picture = picture.copy()
            picture[:8, :8] = 120
        return ColourDetector().detect(picture, boxes_xywh)
