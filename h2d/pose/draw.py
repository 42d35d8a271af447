"""Skeleton pictures as the pose networks were trained on: OpenPose's in two versions, and HumanSD's.

Sizes are in pixels and do not grow with the picture: that is how the networks saw them. Points below the confidence
limit are left out, with every limb that they end. Axis legend: h height, w width, n points.
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from h2d.pose.layouts import BODY, BODY_BONES, FACE, HAND_BONES, HANDS
from h2d.pose.openpose_layouts import body_18
from h2d.pose.points import LEAST_CONFIDENCE

Style: TypeAlias = Literal["v1.1", "v1.0", "humansd"]
"""`v1.1`: ControlNet 1.1 and controlnet_aux. `v1.0`: the first ControlNet and T2I-Adapter, limbs laid over joints."""

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
Colour: TypeAlias = tuple[int, int, int]

LIMBS_18: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS_18: Final[tuple[Colour, ...]] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip

_JOINT_RADIUS: Final = 4
_STICK_HALF_WIDTH: Final = 4
_HAND_JOINT: Final[Colour] = (0, 0, 255)
_FACE_RADIUS: Final = 3


def draw_skeleton(
    points: Float32[np.ndarray, "133 3"],
    size_hw: tuple[int, int],
    *,
    style: Style = "v1.1",
    hands: bool = True,
    face: bool = True,
) -> Picture:
    """Draw one person on black, RGB. `humansd` knows neither hands nor face."""
    canvas = np.zeros((*size_hw, 3), np.uint8)
    _BODIES[style](canvas, points)
    if style == "humansd":
        return canvas
    for hand in HANDS.values() if hands else ():
        _draw_hand(canvas, points[hand])
    if face:
        _draw_dots(canvas, points[FACE], radius=_FACE_RADIUS, colours=[(255, 255, 255)])
    return canvas


def hand_colours() -> list[Colour]:
    """The colours of a hand's 20 bones: once around the wheel."""
    return [_rgb(colorsys.hsv_to_rgb(bone / len(HAND_BONES), 1, 1)) for bone in range(len(HAND_BONES))]


def _draw_body_v11(canvas: Picture, points: Float32[np.ndarray, "133 3"]) -> None:
    """Limbs at 0.6 of their colour, joints over them."""
    body = body_18(points)
    for limb, colour in zip(LIMBS_18, COLOURS_18, strict=False):
        outline = _stick(body, limb)
        if outline is not None:
            cv2.fillConvexPoly(canvas, outline, colour)
    canvas[:] = (canvas * 0.6).astype(np.uint8)
    _draw_dots(canvas, body, radius=_JOINT_RADIUS, colours=COLOURS_18)


def _draw_body_v10(canvas: Picture, points: Float32[np.ndarray, "133 3"]) -> None:
    """Joints, and each limb blended over all that was there."""
    body = body_18(points)
    _draw_dots(canvas, body, radius=_JOINT_RADIUS, colours=COLOURS_18)
    for limb, colour in zip(LIMBS_18, COLOURS_18, strict=False):
        outline = _stick(body, limb)
        if outline is not None:
            layer = canvas.copy()
            cv2.fillConvexPoly(layer, outline, colour)
            canvas[:] = cv2.addWeighted(canvas, 0.4, layer, 0.6, 0)


def _draw_body_humansd(canvas: Picture, points: Float32[np.ndarray, "133 3"]) -> None:
    """Lines of COCO's 17 points on the HLS wheel. The order of limbs and the joints' colours are our choice."""
    colours = [_rgb(colorsys.hls_to_rgb((bone / len(BODY_BONES) + 0.01) % 1, 0.6, 0.65)) for bone in range(16)]
    body = points[BODY]
    for (start, stop), colour in zip(BODY_BONES, colours, strict=True):
        if _seen(body[start]) and _seen(body[stop]):
            cv2.line(canvas, _pixel(body[start]), _pixel(body[stop]), colour, 10)
    _draw_dots(canvas, body, radius=5, colours=colours)


_BODIES: Final[dict[Style, Callable[[Picture, Float32[np.ndarray, "133 3"]], None]]] = {
    "v1.1": _draw_body_v11,
    "v1.0": _draw_body_v10,
    "humansd": _draw_body_humansd,
}


def _draw_hand(canvas: Picture, hand: Float32[np.ndarray, "21 3"]) -> None:
    for (start, stop), colour in zip(HAND_BONES, hand_colours(), strict=True):
        if _inside(hand[start]) and _inside(hand[stop]):
            cv2.line(canvas, _pixel(hand[start]), _pixel(hand[stop]), colour, 2)
    for point in hand:
        if _inside(point):
            cv2.circle(canvas, _pixel(point), _JOINT_RADIUS, _HAND_JOINT, -1)


def _draw_dots(canvas: Picture, points: Float32[np.ndarray, "n 3"], *, radius: int, colours: Sequence[Colour]) -> None:
    for number, point in enumerate(points):
        if _seen(point):
            cv2.circle(canvas, _pixel(point), radius, colours[number % len(colours)], -1)


def _stick(body: Float32[np.ndarray, "18 3"], limb: tuple[int, int]) -> np.ndarray | None:
    """The outline of a limb, an ellipse between its points."""
    start, stop = body[limb[0]], body[limb[1]]
    if not (_seen(start) and _seen(stop)):
        return None
    (x0, y0), (x1, y1) = start[:2].astype(float), stop[:2].astype(float)
    middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
    half_length = int(math.hypot(x1 - x0, y1 - y0) / 2)
    angle = int(math.degrees(math.atan2(y1 - y0, x1 - x0)))
    return np.asarray(cv2.ellipse2Poly(middle, (half_length, _STICK_HALF_WIDTH), angle, 0, 360, 1))


def _seen(point: Float32[np.ndarray, "3"]) -> bool:
    return bool(np.isfinite(point[:2]).all() and point[2] >= LEAST_CONFIDENCE)


def _inside(point: Float32[np.ndarray, "3"]) -> bool:
    """OpenPose leaves out hand points at the left and upper edge, where it puts those that it does not know."""
    return _seen(point) and bool((point[:2] > 0.01).all())


def _pixel(point: Float32[np.ndarray, "3"]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _rgb(colour: tuple[float, float, float]) -> Colour:
    red, green, blue = (int(channel * 255) for channel in colour)
    return red, green, blue
