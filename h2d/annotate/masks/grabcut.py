"""Hand masks by OpenCV's GrabCut, seeded by the hand's skeleton: for machines without SAM's weights or a GPU.

The skeleton, drawn thin, is surely hand; drawn as thick as fingers are, probably; what is far from it surely is not.
GrabCut's two colour models decide the rest. Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate.base import HandMask, HandView
from h2d.annotate.masks.cleanup import MaskRules, clean_mask, problem_of, recall
from h2d.annotate.masks.prompts import box_slices, grown_box, hand_length, inside, size_of
from h2d.config import as_plain, config
from h2d.pose.layouts import HAND_BONES, PALM, Side
from h2d.pose.points import present

FINGER_RADIUS = 0.03
"""Half the width that is probably finger, in hand lengths: less than a finger has, which keeps the gaps open."""
FLESH_RADIUS = 0.09
"""How far flesh reaches from the bones and the palm, in hand lengths, when the keypoints are right."""

MIN_LENGTH_PX = 16
"""Shorter hands have fingers thinner than a pixel or two."""

BIT_PLACES = 4
"""OpenCV draws with this many binary places of a pixel."""


@config
class GrabCutSegmenter:
    """Draws masks from colours alone, on the CPU, about 0.1 s a hand."""

    rules: MaskRules = MaskRules()
    work_px: int = 160
    """Long side of the region that GrabCut works on; a hand is scaled down to it. Time grows with its square."""
    iterations: int = 2
    """Of GrabCut: fitting the colours, then cutting."""
    reach: float = 0.16
    """Pixels farther than this from the skeleton, in hand lengths, are surely background."""
    seed: int = 0
    """Of the colour models' first clustering."""
    batch_size: int = 1
    """Views are worked on one by one."""

    def identity(self) -> Mapping[str, Any]:
        """Options and OpenCV's version."""
        options = as_plain(self)
        del options["batch_size"]
        return {"name": "grabcut", "opencv": cv2.__version__, **options}

    def setup(self) -> None:
        """One thread: the workers are the parallelism."""
        cv2.setNumThreads(1)

    def close(self) -> None:
        """Nothing to give back."""

    def segment(self, views: Sequence[HandView]) -> list[dict[Side, HandMask]]:
        """One answer per view, in order; every hand of a view has an entry."""
        return [{side: self._segment_hand(view, side) for side in view.hands} for view in views]

    def _segment_hand(self, view: HandView, side: Side) -> HandMask:
        points = view.hands[side]
        size_hw = size_of(view.picture)
        visible = points[inside(points, size_hw)]
        length = hand_length(points)
        if len(visible) < 3:
            return HandMask(mask=None, quality=0.0, problem=f"only {len(visible)} points of the hand lie in the crop")
        if length < MIN_LENGTH_PX:
            short = f"the hand is {length:.1f} pixels long in the crop, less than {MIN_LENGTH_PX}"
            return HandMask(mask=None, quality=0.0, problem=short)
        rows, columns = box_slices(grown_box(visible, self.rules.clip_margin, size_hw))
        scale = min(1.0, self.work_px / max(rows.stop - rows.start, columns.stop - columns.start))
        region_hw = (round((rows.stop - rows.start) * scale), round((columns.stop - columns.start) * scale))
        region = cv2.resize(view.picture[rows, columns], region_hw[::-1], interpolation=cv2.INTER_AREA)
        to_region = np.array([columns.start, rows.start, 0], np.float32)
        stretch = np.array([scale, scale, 1], np.float32)
        others = [(other - to_region) * stretch for name, other in view.hands.items() if name != side]
        trimap = seeds((points - to_region) * stretch, others, region_hw, reach=self.reach)
        cut = self._cut(np.asarray(region, np.uint8), trimap)
        mask = np.zeros(size_hw, bool)
        full_hw = (rows.stop - rows.start, columns.stop - columns.start)
        mask[rows, columns] = cv2.resize(cut.astype(np.float32), full_hw[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
        mask = clean_mask(mask, points, self.rules)
        problem = problem_of(mask, points, self.rules)
        quality = recall(mask, points) * _near_share(mask, points)
        return HandMask(mask=mask if problem is None else None, quality=quality, problem=problem)

    def _cut(self, region: UInt8[np.ndarray, "h w 3"], trimap: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        if not np.isin(trimap, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
            return np.ones(trimap.shape, bool)  # A close-up: nothing to learn the background's colours from.
        labels = trimap.copy()
        cv2.setRNGSeed(self.seed)
        whole = (0, 0, region.shape[1], region.shape[0])
        cv2.grabCut(region, labels, whole, np.zeros((1, 65)), np.zeros((1, 65)), self.iterations, cv2.GC_INIT_WITH_MASK)
        hand = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        # Threads of one or two pixels, which follow edges of the background, go; fingers are wider.
        opened = cv2.morphologyEx(hand.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return np.asarray(opened, np.uint8).astype(bool)


def seeds(
    points: Float32[np.ndarray, "21 3"],
    others: Sequence[Float32[np.ndarray, "21 3"]],
    size_hw: tuple[int, int],
    *,
    reach: float,
) -> UInt8[np.ndarray, "h w"]:
    """GrabCut's starting labels: what is surely, probably, probably not and surely not this hand."""
    length = hand_length(points)
    labels = np.full(size_hw, cv2.GC_BGD, np.uint8)
    labels[_drawn(points, size_hw, radius=reach * length)] = cv2.GC_PR_BGD
    labels[_drawn(points, size_hw, radius=FINGER_RADIUS * length)] = cv2.GC_PR_FGD
    sure = _drawn(points, size_hw, radius=0.3 * FINGER_RADIUS * length)
    for other in others:
        labels[_drawn(other, size_hw, radius=0.5 * FINGER_RADIUS * length) & ~sure] = cv2.GC_BGD
    labels[sure] = cv2.GC_FGD
    return labels


def _near_share(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"]) -> float:
    """The share of the mask that lies as near to the skeleton as flesh does."""
    near = _drawn(points, (mask.shape[0], mask.shape[1]), radius=FLESH_RADIUS * hand_length(points))
    return float((mask & near).sum() / max(1, mask.sum()))


def _drawn(points: Float32[np.ndarray, "21 3"], size_hw: tuple[int, int], *, radius: float) -> Bool[np.ndarray, "h w"]:
    """Which pixels lie within `radius` of a bone or of the palm."""
    canvas = np.zeros(size_hw, np.uint8)
    there = present(points)
    fixed = np.where(there[:, None], np.round((points[:, :2] - 0.5) * 2**BIT_PLACES), 0).astype(np.int32)
    thickness = max(1, round(2 * radius))
    joints = tuple((point, point) for point in range(len(points)))
    for start, end in HAND_BONES + joints:
        if there[start] and there[end]:
            first, last = fixed[start].tolist(), fixed[end].tolist()
            cv2.line(canvas, first, last, (1,), thickness, cv2.LINE_8, BIT_PLACES)
    palm = fixed[[point for point in PALM if there[point]]]
    if len(palm) >= 3:
        cv2.fillConvexPoly(canvas, cv2.convexHull(palm), (1,), cv2.LINE_8, BIT_PLACES)
    return canvas.astype(bool)
