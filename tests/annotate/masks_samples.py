"""A hand to draw: its 21 points, its true mask, and a picture of it."""

import cv2
import numpy as np

from h2d.pose.layouts import HAND_BONES, PALM

SIZE_HW = (512, 512)


def open_hand(*, centre=(256.0, 300.0), scale=1.0, turn=0.0) -> np.ndarray:
    """Points of an open hand, fingers up, wrist below `centre`; about 290 px long at scale 1. `turn` in degrees."""
    finger = {
        "thumb": (-60, -20, 50),
        "index": (-35, -80, 45),
        "middle": (0, -90, 50),
        "ring": (32, -82, 46),
        "little": (62, -62, 36),
    }
    points = [(0.0, 60.0)]
    for name, (x, y, length) in finger.items():
        lean = np.array([-0.75, -0.66]) if name == "thumb" else np.array([x / 180, -1.0])
        points += [tuple(np.array([x, y]) + lean * length * step) for step in range(4)]
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    xy = np.array(points) * scale @ rotation.T + centre
    return np.concatenate([xy, np.ones((21, 1))], axis=1).astype(np.float32)


def true_mask(points: np.ndarray, *, arm_px: float = 0.0, size_hw=SIZE_HW) -> np.ndarray:
    """The hand as flesh: thick bones and a filled palm, and a forearm of `arm_px` below the wrist."""
    canvas = np.zeros(size_hw, np.uint8)
    xy = np.round(points[:, :2]).astype(int)
    for start, end in HAND_BONES:
        cv2.line(canvas, xy[start].tolist(), xy[end].tolist(), 1, 22)
    cv2.fillConvexPoly(canvas, cv2.convexHull(xy[list(PALM)]), 1)
    if arm_px:
        away = (points[0, :2] - points[9, :2]) / np.hypot(*(points[0, :2] - points[9, :2]))
        cv2.line(canvas, xy[0].tolist(), np.round(points[0, :2] + away * arm_px).astype(int).tolist(), 1, 60)
    return canvas.astype(bool)


def photograph(mask: np.ndarray, *, seed: int = 0, skin=(205, 150, 120), wall=(70, 95, 110)) -> np.ndarray:
    """Skin where the mask is, wall elsewhere, with noise."""
    rng = np.random.default_rng(seed)
    picture = np.where(mask[..., None], np.array(skin), np.array(wall)) + rng.normal(0, 8, (*mask.shape, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)
