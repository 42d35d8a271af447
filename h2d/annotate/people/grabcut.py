"""People by OpenCV's GrabCut, seeded by the skeleton: for machines with neither SAM's weights nor MediaPipe.

Limbs, trunk and head drawn thin are surely the person, drawn thick probably; what is far from them surely is not.
Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.config import as_plain, config
from h2d.images import fit_long_side
from h2d.pose.layouts import BODY_BONES, FACE, HAND_BONES, HANDS, HIPS, SHOULDERS
from h2d.pose.points import extent_xywh, moved, present

_SURE, _PROBABLE, _NEAR = 0.09, 0.17, 0.6
"""How far from the skeleton is surely, probably and possibly the person, in widths of the shoulders. Our choice."""
_TRUNK: Final = (SHOULDERS["left"], SHOULDERS["right"], HIPS["right"], HIPS["left"])


@config
class GrabCutPeople:
    """From colours alone, on the CPU."""

    needs_points: ClassVar[bool] = True
    work_px: int = 192
    """Long side at which GrabCut works. Time grows with its square."""
    iterations: int = 3
    seed: int = 0
    """Of the colour models' first clustering."""

    def identity(self) -> Mapping[str, Any]:
        """Options and OpenCV's version."""
        return {"name": "grabcut", "opencv": cv2.__version__, **as_plain(self)}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def segment(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], people: Sequence[Float32[np.ndarray, "133 3"]]
    ) -> list[Bool[np.ndarray, "h w"]]:
        """A mask for each picture; empty where no point of the person is known."""
        return [self._segment(picture, points) for picture, points in zip(pictures, people, strict=True)]

    def _segment(
        self, picture: UInt8[np.ndarray, "h w 3"], points: Float32[np.ndarray, "133 3"]
    ) -> Bool[np.ndarray, "h w"]:
        height, width = picture.shape[:2]
        small_hw = fit_long_side(height, width, self.work_px)
        labels = seeds(moved(points, scale=small_hw[0] / height), small_hw)
        sure = labels == cv2.GC_FGD
        if not sure.any():
            return np.zeros((height, width), bool)
        if not np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
            return np.ones((height, width), bool)
        small = cv2.resize(picture, small_hw[::-1], interpolation=cv2.INTER_AREA)
        cv2.setRNGSeed(self.seed)
        cv2.grabCut(
            small, labels, (0, 0, small_hw[1], small_hw[0]), np.zeros((1, 65)), np.zeros((1, 65)),
            self.iterations, cv2.GC_INIT_WITH_MASK,
        )  # fmt: skip
        person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
        return np.asarray(cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5)


def seeds(points: Float32[np.ndarray, "133 3"], size_hw: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """GrabCut's starting labels: what is surely, probably, probably not and surely not the person."""
    labels = np.full(size_hw, cv2.GC_BGD, np.uint8)
    there = present(points)
    if not there.any():
        return labels
    unit = _unit(points, there)
    for share, label in ((_NEAR, cv2.GC_PR_BGD), (_PROBABLE, cv2.GC_PR_FGD), (_SURE, cv2.GC_FGD)):
        labels[_drawn(points, there, size_hw, radius=share * unit)] = label
    return labels


def _unit(points: Float32[np.ndarray, "133 3"], there: Bool[np.ndarray, "133"]) -> float:
    """The width of the shoulders, but a quarter of the person's extent at least: they may be seen from the side."""
    left, right = SHOULDERS["left"], SHOULDERS["right"]
    apart = float(np.hypot(*(points[left] - points[right])[:2])) if there[left] and there[right] else 0.0
    return max(apart, max(extent_xywh(points)[2:]) / 4)


def _drawn(
    points: Float32[np.ndarray, "133 3"], there: Bool[np.ndarray, "133"], size_hw: tuple[int, int], *, radius: float
) -> Bool[np.ndarray, "h w"]:
    canvas = np.zeros(size_hw, np.uint8)
    xy = np.where(there[:, None], points[:, :2], 0).astype(int)
    hands = [(hand.start + start, hand.start + end) for hand in HANDS.values() for start, end in HAND_BONES]
    for start, end in BODY_BONES:
        if there[start] and there[end]:
            cv2.line(canvas, xy[start].tolist(), xy[end].tolist(), (1,), max(1, round(2 * radius)))
    for start, end in hands:
        if there[start] and there[end]:
            cv2.line(canvas, xy[start].tolist(), xy[end].tolist(), (1,), max(1, round(0.5 * radius)))
    for number in np.flatnonzero(there[: FACE.start]).tolist():
        cv2.circle(canvas, xy[number].tolist(), max(1, round(radius)), (1,), -1)
    if there[list(_TRUNK)].all():
        cv2.fillConvexPoly(canvas, cv2.convexHull(xy[list(_TRUNK)].astype(np.int32)), (1,))
    face = xy[FACE][there[FACE]]
    if len(face) > 2:
        cv2.fillConvexPoly(canvas, cv2.convexHull(face.astype(np.int32)), (1,))
    return canvas.astype(bool)
