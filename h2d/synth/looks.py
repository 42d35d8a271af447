"""How people look and how they are lit: skin, hair, clothes, lamps."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

from h2d.synth.scene import Appearance, Colour, Light

SKINS: dict[str, Colour] = {
    "very fair": (232, 204, 186),
    "fair": (226, 192, 170),
    "light": (218, 180, 152),
    "beige": (208, 166, 136),
    "olive": (192, 150, 116),
    "tan": (180, 134, 100),
    "light brown": (162, 114, 82),
    "brown": (140, 94, 66),
    "dark brown": (108, 72, 52),
    "very dark": (82, 54, 42),
}
_HAIRS: dict[str, Colour] = {
    "black": (28, 24, 24),
    "dark brown": (54, 38, 30),
    "brown": (92, 62, 42),
    "light brown": (132, 96, 64),
    "blond": (198, 164, 108),
    "red": (140, 66, 38),
    "grey": (150, 148, 146),
}
_TOPS: dict[str, Colour] = {
    "white": (232, 232, 228),
    "grey": (126, 130, 134),
    "black": (34, 34, 38),
    "navy blue": (38, 50, 88),
    "blue": (52, 96, 168),
    "light blue": (142, 182, 218),
    "green": (58, 118, 76),
    "olive green": (92, 100, 58),
    "teal": (36, 116, 118),
    "purple": (98, 66, 132),
    "red": (168, 42, 48),
    "pink": (222, 132, 164),
    "yellow": (226, 190, 62),
}
_BOTTOMS: tuple[Colour, ...] = ((44, 56, 84), (34, 34, 38), (88, 92, 98), (72, 62, 54), (178, 170, 152))
_APART = 70.0
"""Least distance in RGB between skin and top: hands are seen before the clothes."""
_DARK_SKIN = 105.0
"""Mean of RGB up to which hair is dark too, or grey."""
_Style = TypeVar("_Style")


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """One person's colours, with their names."""
    skin_name, skin = _named(SKINS, rng, jitter=5)
    darkest = ("black", "dark brown", "grey")
    hairs = {name: hair for name, hair in _HAIRS.items() if np.mean(skin) > _DARK_SKIN or name in darkest}
    hair_name, hair = _named(hairs, rng, jitter=6)
    tops = {name: top for name, top in _TOPS.items() if np.linalg.norm(np.subtract(top, skin)) > _APART}
    top_name, top = _named(tops, rng, jitter=6)
    styles: tuple[Literal["short", "long", "bald"], ...] = ("short", "long", "bald")
    sleeves: tuple[Literal["long", "short"], ...] = ("long", "short")
    return Appearance(
        skin=skin,
        skin_name=skin_name,
        hair=hair,
        hair_name=hair_name,
        hair_style=_choice(styles, rng, (0.5, 0.42, 0.08)),
        top=top,
        top_name=top_name,
        bottom=one_of(_BOTTOMS, rng),
        sleeves=_choice(sleeves, rng, (0.55, 0.45)),
    )


def sample_light(rng: np.random.Generator) -> Light:
    """From the camera's side, from above."""
    across, above = np.radians(rng.uniform(-60, 60)), np.radians(rng.uniform(15, 60))
    towards = np.array([np.sin(across) * np.cos(above), -np.sin(above), -np.cos(across) * np.cos(above)])
    return Light(towards=towards, strength=float(rng.uniform(0.6, 0.85)), ambient=float(rng.uniform(0.3, 0.44)))


def one_of(options: Sequence[_Style], rng: np.random.Generator) -> _Style:
    """Any, all as likely."""
    return options[int(rng.integers(len(options)))]


def _choice(options: tuple[_Style, ...], rng: np.random.Generator, shares: tuple[float, ...]) -> _Style:
    return options[int(rng.choice(len(options), p=shares))]


def _named(table: dict[str, Colour], rng: np.random.Generator, *, jitter: float) -> tuple[str, Colour]:
    name = one_of(tuple(table), rng)
    red, green, blue = np.clip(np.array(table[name]) + rng.uniform(-jitter, jitter, 3), 0, 255).round().astype(int)
    return name, (int(red), int(green), int(blue))
