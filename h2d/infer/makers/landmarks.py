"""Hands drawn as MediaPipe draws its landmarks: what the public hand ControlNets were trained on.

Their makers wrote MediaPipe's default colours, which are blue first, into pictures that are red first; so do we.
Axis legend: s crop size.
"""

import itertools
from collections.abc import Mapping
from typing import Final, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from h2d.pose.layouts import FINGERS, KNUCKLES, PALM, Side
from h2d.pose.points import present

_Colour: TypeAlias = tuple[int, int, int]
_Line: TypeAlias = tuple[tuple[int, int], _Colour, int]

_PALM_DOT: Final[_Colour] = (48, 48, 255)
_PALM_LINE: Final[_Colour] = (128, 128, 128)
_BORDER: Final[_Colour] = (224, 224, 224)
_FINGER: Final[dict[str, _Colour]] = {
    "thumb": (180, 229, 255),
    "index": (128, 64, 128),
    "middle": (0, 204, 255),
    "ring": (48, 255, 48),
    "little": (192, 101, 21),
}
_RADIUS: Final = 5
_PALM_WIDTH: Final = 3
_FINGER_WIDTH: Final = 2


def draw_landmarks(hands: Mapping[Side, Float32[np.ndarray, "21 3"]], size: int) -> UInt8[np.ndarray, "s s 3"]:
    """All hands on black; points outside the picture are left out, with the lines that they end."""
    canvas = np.zeros((size, size, 3), np.uint8)
    for points in hands.values():
        inside = present(points) & (points[:, :2] >= 0).all(axis=1) & (points[:, :2] <= size).all(axis=1)
        places = [
            (min(int(point[0]), size - 1), min(int(point[1]), size - 1)) if seen else None
            for point, seen in zip(points, inside, strict=True)
        ]
        for (start, end), colour, width in _lines():
            first, last = places[start], places[end]
            if first is not None and last is not None:
                cv2.line(canvas, first, last, colour, width)
        for place, colour in zip(places, _dots(), strict=True):
            if place is not None:
                cv2.circle(canvas, place, _RADIUS + 1, _BORDER, -1)
                cv2.circle(canvas, place, _RADIUS, colour, -1)
    return canvas


def _lines() -> list[_Line]:
    """The palm's outline, then the fingers: bones, colours and widths."""
    around = [(0, 1), (0, KNUCKLES[0]), (0, KNUCKLES[-1]), *itertools.pairwise(KNUCKLES)]
    lines: list[_Line] = [(bone, _PALM_LINE, _PALM_WIDTH) for bone in around]
    for name, joints in FINGERS.items():
        lines += [(bone, _FINGER[name], _FINGER_WIDTH) for bone in itertools.pairwise(joints)]
    return lines


def _dots() -> list[_Colour]:
    colours = [_PALM_DOT] * 21
    for name, joints in FINGERS.items():
        for joint in joints:
            if joint not in PALM:
                colours[joint] = _FINGER[name]
    return colours
