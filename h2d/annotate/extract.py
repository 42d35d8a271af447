"""A pose out of a photograph. Axis legend: h height, w width."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from h2d.annotate.base import FoundHand
from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.errors import UserError
from h2d.images import DecodeError, load_upright_rgb
from h2d.pose.layouts import Side
from h2d.pose.points import present
from h2d.pose.pose import Pose


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """One person's pose, in pixels of the photograph."""

    pose: Pose
    num_persons: int
    """All whom MediaPipe's person detector finds; its whole-body model goes on with the most prominent."""
    hands: Mapping[Side, FoundHand]


def read_photograph(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """A picture as its EXIF header turns it; raises `UserError` on a file that is not there, or none."""
    try:
        return load_upright_rgb(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}: give a picture") from None
    except DecodeError as error:
        raise UserError(f"{path}: {error}: give a JPEG or PNG") from None


def extract_pose(photograph: UInt8[np.ndarray, "h w 3"], *, name: str) -> Extracted:
    """Find the most prominent person with MediaPipe; raises `UserError` when there is nobody, or no MediaPipe."""
    detector = HolisticDetector()
    detector.identity()
    detector.setup()
    try:
        found = detector.detect(photograph, np.zeros((0, 4), np.float32))
    finally:
        detector.close()
    if not present(found.body).any():
        raise UserError(f"{name}: no person was found: give a photograph in which head, shoulders and hand are seen")
    height, width = photograph.shape[:2]
    pose = Pose(people=found.body[None], width=width, height=height)
    return Extracted(pose=pose, num_persons=found.num_persons, hands=found.hands)
