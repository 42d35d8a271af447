"""Which MediaPipe is installed, and whether it is one that we can use; found out without importing it."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from h2d.errors import UserError

_INSTALL: Final = "pip install 'hand-to-diffusion[annotate]'"
_SOLUTION: Final = "python/solutions/holistic.py"
_MODELS: Final = (
    "face_detection/face_detection_short_range.tflite",
    "face_landmark/face_landmark.tflite",
    "hand_landmark/hand_landmark_full.tflite",
    "hand_landmark/hand_landmark_tracking_cpu.binarypb",
    "holistic_landmark/hand_recrop.tflite",
    "holistic_landmark/holistic_landmark_cpu.binarypb",
    "palm_detection/palm_detection_full.tflite",
    "pose_detection/pose_detection.tflite",
    "pose_landmark/pose_landmark_full.tflite",
)


@cache
def mediapipe_version() -> str:
    """The version; raises `UserError` when the package is missing or carries no Holistic."""
    folder = mediapipe_folder()
    installed = version("mediapipe")
    if not (folder / _SOLUTION).is_file():
        raise UserError(f"mediapipe {installed} has no Holistic, which left it after 0.10.21: {_INSTALL}")
    for name in _MODELS:
        if not (folder / "modules" / name).is_file():
            raise UserError(f"mediapipe {installed} lacks its file modules/{name}: {_INSTALL} --force-reinstall")
    return installed


@cache
def model_hashes() -> Mapping[str, str]:
    """SHA-256 of each graph and model file that we use, by its name below MediaPipe's `modules`."""
    mediapipe_version()
    folder = mediapipe_folder() / "modules"
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _MODELS}


def mediapipe_folder() -> Path:
    """Where the package lies; raises `UserError` when it is not installed."""
    found = find_spec("mediapipe")
    if found is None or not found.submodule_search_locations:
        raise UserError(f"finding keypoints needs the package mediapipe, which is not installed: {_INSTALL}")
    return Path(found.submodule_search_locations[0])
