"""Keypoints by the miniature's own network: for drawn people, and for what the miniature generates of them.

Axis legend: h height, w width, n boxes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, UInt8

import h2d
from h2d.annotate.base import NOTHING_GIVEN, Detection, FoundHand, GivenHands
from h2d.annotate.keypoints.checks import failed_checks
from h2d.annotate.keypoints.network import PICTURE_PX, as_batch, load_reader, logits_of, points_of, weight_files
from h2d.config import config
from h2d.hashes import sha256_of
from h2d.images import resize
from h2d.pose.layouts import HANDS, NUM_POINTS, SIDES
from h2d.pose.points import missing_points

WEIGHTS: Final = Path(h2d.__file__).parent / "assets" / "miniature" / "keypoints"
_OPEN = "_network"


@config
class MiniatureDetector:
    """One person's 133 points by a U-Net that was trained on people of `h2d synth` alone: of no use on photographs.

    It shrinks a picture to 128 pixels. A confidence is how probable the network thinks the place, to 4 pixels of 128.
    """

    weights: Path = WEIGHTS
    """A folder that `h2d train keypoints` saved; the one that comes with h2d."""
    min_confidence: float = 0.5
    """A point of the body counts from this on, and a hand when its 21 points do on average."""

    def __post_init__(self) -> None:
        if not 0 < self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be above 0 and at most 1, got {self.min_confidence}")

    def identity(self) -> Mapping[str, Any]:
        """The weights' hash and the options; raises `UserError` where there are none."""
        return {
            "model": "miniature-keypoints",
            "files": {file.name: sha256_of(file) for file in weight_files(self.weights)},
            "min_confidence": self.min_confidence,
        }

    def setup(self) -> None:
        """Load the network, on the CPU."""
        assert _OPEN not in self.__dict__, "set up twice"
        self.__dict__[_OPEN] = load_reader(self.weights)

    def close(self) -> None:
        """Drop it."""
        self.__dict__.pop(_OPEN, None)

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: a loaded network stays in its process."""
        return {name: value for name, value in self.__dict__.items() if name != _OPEN}

    def detect(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        boxes_xywh: Float32[np.ndarray, "n 4"],
        given: GivenHands = NOTHING_GIVEN,
    ) -> Detection:
        """One look at the whole picture; boxes and the dataset's own hands are not looked at."""
        import torch

        network = self.__dict__.get(_OPEN)
        assert network is not None, "not set up"
        height, width = picture.shape[:2]
        square, scale = _squared(picture)
        with torch.inference_mode():
            read = points_of(logits_of(network, as_batch([square])))[0].numpy()
        read[:, :2] /= scale
        return self._kept(read, (height, width))

    def _kept(self, read: Float32[np.ndarray, "133 3"], size_hw: tuple[int, int]) -> Detection:
        """What is sure enough: points of the body one by one, hands whole."""
        body = np.where(read[:, 2:] >= self.min_confidence, read, missing_points(NUM_POINTS))
        kept = {}
        for side, part in HANDS.items():
            body[part] = missing_points()
            if read[part, 2].mean() >= self.min_confidence:
                kept[side] = body[part] = read[part]
        hands = {}
        for side, other in (SIDES, SIDES[::-1]):
            if side in kept:
                checks = failed_checks(kept[side], side=side, body=body, size_hw=size_hw, other_hand=kept.get(other))
                hands[side] = FoundHand(points=kept[side], found_by="miniature", checks=checks)
        return Detection(num_persons=int(bool((body[:, 2] > 0).any())), body=body, hands=hands)


def _squared(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[UInt8[np.ndarray, "s s 3"], float]:
    """The picture at the network's size, its top left corner where it was, grey beside it; and the scale."""
    height, width = picture.shape[:2]
    scale = PICTURE_PX / max(height, width)
    small = resize(picture, (max(1, round(height * scale)), max(1, round(width * scale))))
    square = np.full((PICTURE_PX, PICTURE_PX, 3), 128, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square, scale
