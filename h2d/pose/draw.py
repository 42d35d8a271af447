"""Skeleton pictures as the pose networks were trained on: OpenPose's in two versions, and HumanSD's.

Sizes are in pixels and do not grow with the picture: that is how the networks saw them. Points below the confidence
limit are left out, with every limb that they end. Axis legend: h height, w width, n points, p people.
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, Literal, TypeAlias, get_args

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from h2d.errors import UserError
from h2d.pose.layouts import FACE, HAND_BONES, HANDS
from h2d.pose.openpose_layouts import body_18
from h2d.pose.points import LEAST_CONFIDENCE
from h2d.pose.pose import Pose
from h2d.pose.strokes import Colour

Style: TypeAlias = Literal["v1.1", "v1.0", "humansd"]
"""`v1.1`: ControlNet 1.1 and controlnet_aux. `v1.0`: the first ControlNet and T2I-Adapter, limbs laid over joints.
`humansd`: COCO's 17 points, as HumanSD takes them."""

STYLES: Final[tuple[Style, ...]] = get_args(Style)

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
People: TypeAlias = Float32[np.ndarray, "p 133 3"]

LIMBS_18: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS_18: Final[tuple[Colour, ...]] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
HUMANSD_LIMBS: Final = (
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (6, 8), (7, 9), (8, 10), (5, 11), (6, 12), (11, 13),
    (12, 14), (13, 15), (14, 16),
)  # fmt: skip
"""Of COCO's 17; the shoulders hang on the ears."""

LEAST_CANVAS_PX: Final = 512
"""The long side of a canvas on which strokes of the published widths leave fingers apart."""
_LEAST_CONFIDENCE: Final = float(np.float32(LEAST_CONFIDENCE))
"""As the points' own numbers are rounded."""
_JOINT_RADIUS: Final = 4
_STICK_HALF_WIDTH: Final = 4
_HAND_JOINT: Final[Colour] = (0, 0, 255)
_FACE_DOT: Final[Colour] = (255, 255, 255)
_FACE_RADIUS: Final = 3
_HUMANSD_WIDTH: Final = 10


def read_style(name: str) -> Style:
    """The style of that name; raises `UserError` with the choices for another."""
    for style in STYLES:
        if style == name:
            return style
    raise UserError(f"unknown style {name!r} of skeletons: choose one of {', '.join(STYLES)}")


def draw_pose(pose: Pose, *, style: Style = "v1.1", hands: bool = True, face: bool = True) -> Picture:
    """Draw everybody on black, RGB, at the size of the canvas. `humansd` knows neither hands nor face."""
    return _draw(pose.people, pose.size_hw, style, hands=hands, face=face)


def draw_skeleton(
    points: Float32[np.ndarray, "133 3"],
    size_hw: tuple[int, int],
    *,
    style: Style = "v1.1",
    hands: bool = True,
    face: bool = True,
) -> Picture:
    """Draw one person on black, RGB. `humansd` knows neither hands nor face."""
    return _draw(points[None], size_hw, style, hands=hands, face=face)


def control_picture(pose: Pose, *, style: Style = "v1.1") -> Picture:
    """The skeleton as a ControlNet of the canvas's size is shown it, RGB.

    From 512 px on, strokes have the widths of `draw_pose`, which were made for that. On a smaller canvas they would
    cover the fingers: there the skeleton is drawn at a multiple of the size, and shrunk.
    """
    factor = math.ceil(LEAST_CANVAS_PX / max(pose.width, pose.height))
    if factor <= 1:
        return draw_pose(pose, style=style)
    large = draw_pose(pose.resized(pose.width * factor, pose.height * factor), style=style)
    return np.asarray(cv2.resize(large, (pose.width, pose.height), interpolation=cv2.INTER_AREA), np.uint8)


@cache
def hand_colours() -> tuple[Colour, ...]:
    """The colours of a hand's 20 bones: once around the wheel."""
    return tuple(_rgb(colorsys.hsv_to_rgb(bone / len(HAND_BONES), 1, 1), up=True) for bone in range(len(HAND_BONES)))


def humansd_colours() -> list[Colour]:
    """The colours of its 16 limbs: seaborn's palette "hls"."""
    hues = [(limb / len(HUMANSD_LIMBS) + 0.01) % 1 for limb in range(len(HUMANSD_LIMBS))]
    return [_rgb(colorsys.hls_to_rgb(hue, 0.6, 0.65)) for hue in hues]


def _draw(people: People, size_hw: tuple[int, int], style: Style, *, hands: bool, face: bool) -> Picture:
    canvas = np.zeros((*size_hw, 3), np.uint8)
    if style == "humansd":
        _draw_humansd(canvas, people)
        return canvas
    # Version 1.1 finishes one person before the next; 1.0 draws everybody's body first.
    groups = [people] if style == "v1.0" and len(people) else [person[None] for person in people]
    for group in groups:
        _BODIES[style](canvas, group)
        for points in group:
            for hand in HANDS.values() if hands else ():
                _draw_hand(canvas, points[hand])
            if face:
                _draw_dots(canvas, points[FACE], radius=_FACE_RADIUS, colours=[_FACE_DOT], seen=_inside)
    return canvas


def _draw_v11(canvas: Picture, people: People) -> None:
    """Limbs at 0.6 of their colour, joints over them."""
    for body in map(body_18, people):
        for limb, colour in zip(LIMBS_18, COLOURS_18, strict=False):
            outline = _stick(body, limb)
            if outline is not None:
                cv2.fillConvexPoly(canvas, outline, [int(channel * 0.6) for channel in colour])
        _draw_dots(canvas, body, radius=_JOINT_RADIUS, colours=COLOURS_18)


def _draw_v10(canvas: Picture, people: People) -> None:
    """Everybody's joints, and each limb blended over all that was there."""
    bodies = [body_18(points) for points in people]
    for joint, colour in enumerate(COLOURS_18):
        _draw_dots(canvas, np.stack([body[joint] for body in bodies]), radius=_JOINT_RADIUS, colours=[colour])
    for limb, colour in zip(LIMBS_18, COLOURS_18, strict=False):
        for outline in [_stick(body, limb) for body in bodies]:
            if outline is not None:
                layer = canvas.copy()
                cv2.fillConvexPoly(layer, outline, colour)
                canvas[:] = cv2.addWeighted(canvas, 0.4, layer, 0.6, 0)


_BODIES: Final[dict[str, Callable[[Picture, People], None]]] = {"v1.1": _draw_v11, "v1.0": _draw_v10}


def _draw_humansd(canvas: Picture, people: People) -> None:
    """Thick lines with round ends, each in its colour over those before it."""
    for points in people.tolist():
        for limb, colour in zip(HUMANSD_LIMBS, humansd_colours(), strict=True):
            start, stop = points[limb[0]], points[limb[1]]
            if _seen(start) and _seen(stop):
                cv2.line(canvas, _pixel(start), _pixel(stop), colour, _HUMANSD_WIDTH)
                for end in (start, stop):
                    cv2.circle(canvas, _pixel(end), _HUMANSD_WIDTH // 2, colour, -1)


def _draw_hand(canvas: Picture, hand: Float32[np.ndarray, "21 3"]) -> None:
    points = hand.tolist()  # plain numbers: numpy's scalars would cost more than the drawing
    for (start, stop), colour in zip(HAND_BONES, hand_colours(), strict=True):
        if _inside(points[start]) and _inside(points[stop]):
            cv2.line(canvas, _pixel(points[start]), _pixel(points[stop]), colour, 2)
    _draw_dots(canvas, hand, radius=_JOINT_RADIUS, colours=[_HAND_JOINT], seen=_inside)


def _seen(point: Sequence[float]) -> bool:
    x, y, confidence = point
    return math.isfinite(x) and math.isfinite(y) and confidence >= _LEAST_CONFIDENCE


def _inside(point: Sequence[float]) -> bool:
    """ControlNet leaves out points of hands and faces in the first column and row, where it puts the unknown ones."""
    return _seen(point) and min(_pixel(point)) > 0


def _draw_dots(
    canvas: Picture,
    points: Float32[np.ndarray, "n 3"],
    *,
    radius: int,
    colours: Sequence[Colour],
    seen: Callable[[Sequence[float]], bool] = _seen,
) -> None:
    for number, point in enumerate(points.tolist()):
        if seen(point):
            cv2.circle(canvas, _pixel(point), radius, colours[number % len(colours)], -1)


def _stick(body: Float32[np.ndarray, "18 3"], limb: tuple[int, int]) -> np.ndarray | None:
    """The outline of a limb, an ellipse between its points; its angle, seen from the end, is cut to whole degrees."""
    start, stop = body[list(limb)].tolist()
    if not (_seen(start) and _seen(stop)):
        return None
    (x0, y0, _), (x1, y1, _) = start, stop
    middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
    half_length = int(math.hypot(x1 - x0, y1 - y0) / 2)
    angle = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
    return np.asarray(cv2.ellipse2Poly(middle, (half_length, _STICK_HALF_WIDTH), angle, 0, 360, 1))


def _pixel(point: Sequence[float]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _rgb(colour: tuple[float, float, float], *, up: bool = False) -> Colour:
    """0..255, cut to whole numbers, or to the nearest, halves upwards."""
    red, green, blue = (int(channel * 255 + (0.5 if up else 0)) for channel in colour)
    return red, green, blue
