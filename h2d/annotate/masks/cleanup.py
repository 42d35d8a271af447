"""Tidying a hand's mask, and deciding whether it is one. The same for every model that draws masks.

Axis legend: h height, w width.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from h2d.annotate.masks.prompts import beyond_wrist, box_slices, grown_box, inside
from h2d.config import config


@config
class MaskRules:
    """What is kept of a mask, and when it is refused."""

    box_margin: float = 0.15
    """The hand's box is that of its points, each side moved out by this share of the longer side."""
    clip_margin: float = 0.30
    """The mask is clipped to the box of the points grown by this."""
    min_recall: float = 0.8
    """Least share of the hand's points inside the crop that lie on the mask."""
    min_area: float = 0.15
    """Least area, in areas of the hand's box."""
    max_area: float = 1.2
    """Largest area, in areas of the hand's box."""
    wrist_cut: float | None = 0.15
    """The mask ends this many hand lengths below the wrist; None leaves as much of the forearm as the model drew.

    On by default (our choice): otherwise where a mask ends depends on the sleeve, and at the edges of the box on how
    the arm is turned. Cut, it is a function of the keypoints, which are what the generator is conditioned on.
    """
    max_hole: float = 0.02
    """Holes up to this share of the mask are filled. Larger ones are real: the ring of an "ok" sign."""


def clean_mask(
    mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"], rules: MaskRules
) -> Bool[np.ndarray, "h w"]:
    """Clip to the grown box, cut at the wrist, keep the parts that hold a point of the hand, fill small holes."""
    size_hw = (mask.shape[0], mask.shape[1])
    visible = points[inside(points, size_hw)]
    cleaned = np.zeros_like(mask)
    if not len(visible):
        return cleaned
    rows, columns = box_slices(grown_box(visible, rules.clip_margin, size_hw))
    part = mask[rows, columns].copy()
    shifted: Float32[np.ndarray, "21 3"] = points - np.array([columns.start, rows.start, 0], np.float32)
    if rules.wrist_cut is not None:
        arm = beyond_wrist(shifted, rules.wrist_cut, (part.shape[0], part.shape[1]))
        if arm is not None:
            part &= ~arm
    part = _parts_with_points(part, shifted)
    cleaned[rows, columns] = _without_small_holes(part, rules.max_hole)
    return cleaned


def recall(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"]) -> float:
    """The share of the hand's points inside the crop that lie on the mask; 0 when none is inside."""
    visible = points[inside(points, (mask.shape[0], mask.shape[1]))]
    if not len(visible):
        return 0.0
    return float(mask[visible[:, 1].astype(int), visible[:, 0].astype(int)].mean())


def precision(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"], rules: MaskRules) -> float:
    """The share of the mask that lies in the box it will be clipped to; 0 when either is empty."""
    size_hw = (mask.shape[0], mask.shape[1])
    visible = points[inside(points, size_hw)]
    total = int(mask.sum())
    if not total or not len(visible):
        return 0.0
    return float(mask[box_slices(grown_box(visible, rules.clip_margin, size_hw))].sum()) / total


def problem_of(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"], rules: MaskRules) -> str | None:
    """Why a cleaned mask is refused: the measure, its value and the limit. None when it is accepted."""
    size_hw = (mask.shape[0], mask.shape[1])
    visible = points[inside(points, size_hw)]
    if not len(visible):
        return "no point of the hand lies in the crop"
    found = recall(mask, points)
    if found < rules.min_recall:
        return f"recall {found:.2f} of the hand's points is below {rules.min_recall:g}"
    left, top, right, bottom = grown_box(visible, rules.box_margin, size_hw)
    box_px = max(1.0, (right - left) * (bottom - top))
    area = float(mask.sum()) / box_px
    if area < rules.min_area:
        return f"area {area:.2f} of the hand's box is below {rules.min_area:g}"
    if area > rules.max_area:
        return f"area {area:.2f} of the hand's box is above {rules.max_area:g}"
    return None


def _parts_with_points(mask: Bool[np.ndarray, "h w"], points: Float32[np.ndarray, "21 3"]) -> Bool[np.ndarray, "h w"]:
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    visible = points[inside(points, (mask.shape[0], mask.shape[1]))]
    held = np.unique(labels[visible[:, 1].astype(int), visible[:, 0].astype(int)])
    return np.asarray(np.isin(labels, held[held > 0]))


def _without_small_holes(mask: Bool[np.ndarray, "h w"], max_hole: float) -> Bool[np.ndarray, "h w"]:
    """Fill background that touches neither the border nor the outside, up to a share of the mask's area."""
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= max_hole * mask.sum()
    small[[0, labels[0, 0]]] = False  # The mask itself, and what lies around it.
    return np.asarray(mask | small[labels[1:-1, 1:-1]])
