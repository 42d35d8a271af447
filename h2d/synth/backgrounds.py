"""What stands behind the people: plain walls, gradients, and rooms with things in them.

Drawn at one size and then scaled, so that a seed gives the same background for every picture of the same shape.
"""

from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8

from h2d.synth.looks import one_of
from h2d.synth.scene import Colour

BackgroundKind: TypeAlias = Literal["plain", "gradient", "cluttered"]
Canvas: TypeAlias = UInt8[np.ndarray, "h w 3"]

_LONG_SIDE = 448
_WALLS: dict[str, Colour] = {
    "white": (228, 228, 224),
    "light grey": (196, 198, 200),
    "grey": (140, 144, 148),
    "dark grey": (74, 78, 84),
    "light blue": (168, 196, 220),
    "blue": (66, 104, 160),
    "dark blue": (36, 52, 88),
    "teal": (54, 122, 124),
    "green": (84, 140, 92),
    "mint green": (176, 216, 190),
    "lilac": (196, 184, 216),
}
_STUDIO: dict[str, Colour] = {"black": (12, 12, 14), "dark grey": (40, 42, 46), "dark blue": (20, 26, 44)}
_WOOD: tuple[Colour, ...] = ((120, 84, 54), (86, 60, 42), (160, 122, 84), (214, 206, 192), (64, 62, 64))
_THINGS: tuple[Colour, ...] = (
    (160, 52, 46), (46, 92, 140), (64, 120, 74), (198, 166, 74),
    (228, 226, 220), (70, 66, 72), (128, 92, 140), (96, 140, 150),
)  # fmt: skip


def draw_background(
    rng: np.random.Generator, size_hw: tuple[int, int], kind: BackgroundKind, *, studio: bool = False
) -> tuple[Canvas, str]:
    """The picture, and its name after "in front of"; a studio is dark and nearly plain."""
    height, width = size_hw
    factor = _LONG_SIDE / max(size_hw)
    canvas_hw = max(round(height * factor), 32), max(round(width * factor), 32)
    palette = _STUDIO if studio else _WALLS
    name = one_of(tuple(palette), rng)
    wall = np.array(palette[name], np.float64) + rng.uniform(-8, 8, 3)
    if kind == "plain":
        canvas, words = _wall(canvas_hw, wall, wall * rng.uniform(0.88, 0.97), rng), f"a plain {name} background"
    elif kind == "gradient":
        other = wall * rng.uniform(0.35, 0.6) if wall.mean() > 110 else wall * 0.6 + 255 * rng.uniform(0.25, 0.4)
        canvas, words = _wall(canvas_hw, wall, other, rng), f"a {name} gradient"
    else:
        canvas, things = _room(canvas_hw, wall, rng)
        words = f"a {name} wall with {things}"
    texture = rng.standard_normal((canvas_hw[0] // 2, canvas_hw[1] // 2), np.float32) * np.float32(
        rng.uniform(0.4, 2.0)
    )
    canvas += cv2.resize(texture, canvas_hw[::-1])[..., None]
    grainy = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
    shrinking = factor > 1
    scaled = cv2.resize(grainy, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    return scaled, words


def _wall(size_hw: tuple[int, int], first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From one colour to the other along a random direction."""
    height, width = size_hw
    angle = rng.uniform(0, 2 * np.pi)
    down = (np.linspace(-0.5, 0.5, height // 8) * np.sin(angle))[:, None, None]
    across = (np.linspace(-0.5, 0.5, width // 8) * np.cos(angle))[:, None]
    ramp = np.clip(0.5 + (down + across) / 1.3, 0, 1).astype(np.float32)
    small = first.astype(np.float32) + ramp * (second - first).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height)), np.float32)


def _room(size_hw: tuple[int, int], wall: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    canvas = np.ascontiguousarray(_wall(size_hw, wall, wall * rng.uniform(0.75, 0.95), rng))
    height, width = size_hw
    if rng.random() < 0.5:
        _floor(canvas, rng)
    makers = {"a shelf": _shelf, "a window": _window, "a cupboard": _cupboard, "pictures": _frames, "a plant": _plant}
    chosen = rng.permutation(tuple(makers))[: int(rng.integers(2, 5))]
    columns = rng.permutation(len(chosen))
    for name, column in zip(chosen, columns, strict=True):
        left = (column + rng.uniform(0.0, 0.25)) / len(chosen) * width
        across = rng.uniform(0.6, 0.95) / len(chosen) * width
        makers[str(name)](canvas, rng, int(left), int(rng.uniform(0.02, 0.3) * height), int(across))
    blurred = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.8, 3.0))
    *first, last = (str(name) for name in chosen)
    return blurred, f"{', '.join(first)} and {last}"


def _box(canvas: np.ndarray, left: int, top: int, width: int, height: int, colour: np.ndarray) -> None:
    corner = (int(left + width), int(top + height))
    cv2.rectangle(canvas, (int(left), int(top)), corner, _levels(colour), cv2.FILLED)


def _levels(colour: np.ndarray) -> tuple[float, ...]:
    """As OpenCV takes a colour; what is darker than black or lighter than white is cut."""
    return tuple(map(float, np.clip(colour, 0, 255)))


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> np.ndarray:
    return np.array(one_of(colours, rng), np.float64) + rng.uniform(-12, 12, 3)


def _floor(canvas: np.ndarray, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    top = int(height * rng.uniform(0.72, 0.92))
    _box(canvas, 0, top, width, height, _pick(_WOOD, rng))
    _box(canvas, 0, top - 8, width, 8, np.array([222.0, 220, 214]))


def _shelf(canvas: np.ndarray, rng: np.random.Generator, left: int, top: int, width: int) -> None:
    height = int(canvas.shape[0] * rng.uniform(0.45, 0.8))
    wood = _pick(_WOOD, rng)
    _box(canvas, left, top, width, height, wood * 0.55)
    rows = int(rng.integers(3, 6))
    for row in range(rows):
        floor = top + height * (row + 1) // rows
        place = left + 8
        while place < left + width - 16:
            across, tall = int(rng.integers(7, 22)), int(height / rows * rng.uniform(0.45, 0.82))
            _box(canvas, place, floor - tall, across - 2, tall, _pick(_THINGS, rng) * rng.uniform(0.7, 1.0))
            place += across + int(rng.integers(0, 4))
        _box(canvas, left, floor - 5, width, 6, wood)
    cv2.rectangle(canvas, (left, top), (left + width, top + height), tuple(map(float, wood)), 6)


def _window(canvas: np.ndarray, rng: np.random.Generator, left: int, top: int, width: int) -> None:
    height = int(canvas.shape[0] * rng.uniform(0.3, 0.5))
    _box(canvas, left, top, width, height, np.array([238.0, 238, 234]))
    sky = np.array([188.0, 210, 230]) * rng.uniform(0.75, 1.05)
    for column in range(2):
        pane = left + 10 + column * (width - 10) // 2
        _box(canvas, pane, top + 10, (width - 30) // 2, height - 20, sky)
        _box(
            canvas, pane, top + int(height * 0.66), (width - 30) // 2, int(height * 0.34) - 10, sky * [0.6, 0.75, 0.55]
        )


def _cupboard(canvas: np.ndarray, rng: np.random.Generator, left: int, top: int, width: int) -> None:
    height = canvas.shape[0] - top
    wood = _pick(_WOOD, rng)
    _box(canvas, left, top, width, height, wood)
    doors = int(rng.integers(2, 4))
    for door in range(doors):
        place = left + 5 + door * width // doors
        shade = _levels(wood * 0.72)
        cv2.rectangle(canvas, (place, top + 6), (place + width // doors - 10, top + height), shade, 3)
        cv2.circle(canvas, (place + width // doors - 20, top + height // 3), 4, (200, 196, 180), cv2.FILLED)


def _frames(canvas: np.ndarray, rng: np.random.Generator, left: int, top: int, width: int) -> None:
    for row in range(int(rng.integers(1, 3))):
        across, tall = int(width * rng.uniform(0.5, 0.9)), int(width * rng.uniform(0.5, 0.9))
        place = top + row * int(tall + 25)
        _box(canvas, left, place, across, tall, _pick(_WOOD, rng))
        _box(canvas, left + 7, place + 7, across - 14, tall - 14, _pick(_THINGS, rng))
        _box(canvas, left + across // 4, place + tall // 2, across // 2, tall // 3, _pick(_THINGS, rng))


def _plant(canvas: np.ndarray, rng: np.random.Generator, left: int, top: int, width: int) -> None:
    height = canvas.shape[0]
    root = np.array([left + width / 2, height * rng.uniform(0.7, 0.85)])
    for _ in range(int(rng.integers(14, 28))):
        tip = root + np.array([rng.normal(0, width * 0.4), -rng.uniform(0.1, 0.4) * height])
        green = np.array([60.0, 110, 60]) * rng.uniform(0.5, 1.4)
        colour = _levels(green)
        lean = float(np.degrees(np.arctan2(*(tip - root)[::-1])))
        centre = tuple(map(int, (root + tip) / 2))
        cv2.ellipse(canvas, centre, (int(np.linalg.norm(tip - root) / 2), 9), lean, 0, 360, colour, cv2.FILLED)
    _box(canvas, int(root[0] - 26), int(root[1]), 52, 62, _pick(_WOOD, rng))
