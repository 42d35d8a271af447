"""Methods and a detector whose errors are known: the picture's first pixels say which row it was made for."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from h2d.annotate.base import Detection, FoundHand
from h2d.config import config
from h2d.eval.methods import Made, MethodOptions
from h2d.pose.layouts import HANDS

FOUND: dict[tuple[int, ...], np.ndarray] = {}
"""What the fake detector finds in pictures of fake methods, by their first pixels."""
MADE: list[int] = []
"""Numbers of rows for which fake methods made a picture."""
LOOKED: list[int] = []


class ShiftedMethod:
    """Draws noise; whoever is found in it stands `shift_px` to the right of where the pose says."""

    title: ClassVar[str] = "Shifted"
    shift_px: ClassVar[float] = 0.5
    code: ClassVar[int] = 1
    settings: ClassVar[dict[str, Any]] = {"steps": 5, "guidance_scale": 7.5, "control_scale": None}
    fail_at: ClassVar[int | None] = None

    def __init__(self, options: MethodOptions) -> None:
        self._options = options

    def identity(self) -> Mapping[str, Any]:
        return {"method": self.title, "sample": dict(self._options.sample)}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def make(self, entries: Sequence[Any]) -> list[Made]:
        made = []
        for entry in entries:
            if entry.number == type(self).fail_at:
                raise KeyboardInterrupt
            random = np.random.default_rng(entry.seed)
            picture = random.integers(0, 255, (entry.size, entry.size, 3), np.uint8)
            key = (self.code, entry.number, 7)
            picture[0, 0] = key
            points = entry.pose.people[0].copy()
            points[:, 0] += self.shift_px
            FOUND[key] = points
            MADE.append(entry.number)
            made.append(Made(picture=picture, notes=("noise",), settings=dict(self.settings)))
        return made


class FarMethod(ShiftedMethod):
    """The same, farther off."""

    title: ClassVar[str] = "Far"
    shift_px: ClassVar[float] = 24.0
    code: ClassVar[int] = 2


class NobodyMethod(ShiftedMethod):
    """Nobody is found in its pictures."""

    title: ClassVar[str] = "Nobody"
    settings: ClassVar[dict[str, Any]] = {}
    code: ClassVar[int] = 3

    def make(self, entries: Sequence[Any]) -> list[Made]:
        made = super().make(entries)
        for entry in entries:
            del FOUND[(self.code, entry.number, 7)]
        return made


@config
class FakeDetector:
    """Finds whom fake methods drew, and nobody elsewhere."""

    def identity(self) -> Mapping[str, Any]:
        return {"name": "fake"}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: Any = None) -> Detection:
        key = tuple(int(level) for level in picture[0, 0])
        LOOKED.append(key[1])
        if key not in FOUND:
            return Detection(num_persons=0)
        points = FOUND[key]
        hands = {side: FoundHand(points=points[hand], found_by="fake") for side, hand in HANDS.items()}
        return Detection(num_persons=1, body=points.copy(), hands=hands)


class SlowMethod(ShiftedMethod):
    """Takes its time, so that it can be killed in between."""

    title: ClassVar[str] = "Slow"
    code: ClassVar[int] = 4

    def make(self, entries: Sequence[Any]) -> list[Made]:
        time.sleep(0.2)
        return super().make(entries)


@config
class SlowDetector:
    """The same; finds nobody."""

    def identity(self) -> Mapping[str, Any]:
        return {"name": "slow"}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: Any = None) -> Detection:
        time.sleep(0.1)
        return Detection(num_persons=0)


@config
class MortalDetector:
    """Finds somebody in every picture, and its process dies of one; to be asked in a process of its own."""

    def identity(self) -> Mapping[str, Any]:
        return {"name": "mortal"}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: Any = None) -> Detection:
        _die_of(picture)
        points = np.column_stack([np.linspace(10, 80, 133), np.linspace(20, 60, 133), np.ones(133)])
        return Detection(num_persons=1, body=points.astype(np.float32))


@config
class MortalSegmenter:
    """Takes the upper half for the person; otherwise the same."""

    needs_points: ClassVar[bool] = False

    def identity(self) -> Mapping[str, Any]:
        return {"name": "mortal"}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def segment(self, pictures: Sequence[np.ndarray], people: Sequence[np.ndarray]) -> list[np.ndarray]:
        for picture in pictures:
            _die_of(picture)
        return [np.arange(len(picture))[:, None] < np.full(picture.shape[1], len(picture) // 2) for picture in pictures]


def _die_of(picture: np.ndarray) -> None:
    """Of the fifth picture that `ShiftedMethod` makes, as native code does."""
    if tuple(picture[0, 0]) == (ShiftedMethod.code, 5, 7):
        os.kill(os.getpid(), signal.SIGSEGV)
