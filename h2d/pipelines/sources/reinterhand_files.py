"""Re:InterHand's folders and files, looked for with tolerance: what is there is listed, never derived from lists.

Axis legend: n points.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float64

from h2d.errors import UserError
from h2d.pipelines.sources.joints_42 import NUM_JOINTS, given_hands, points_of, projected
from h2d.pipelines.sources.listing import kind_of, picture_stem, printable, reason, visible_entries
from h2d.pose.camera import Camera
from h2d.pose.layouts import SIDES, Side

T = TypeVar("T")

RIGS: Final = ("Mugsy_cameras", "Ego_cameras")
_PLACES_24: Final = (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22)
"""Our 21 points in the tracker's 24: without the carpal ends of thumb and little finger and the stub of the forearm."""

_MOST_DIGITS: Final = 9
"""Of a frame's number."""
_MASK_FOLDERS: Final = ("masks", "mask")


class Shots(NamedTuple):
    """The pictures of one camera in one light."""

    capture: Path
    rig: str
    light: str
    camera: str
    """Empty for the head-mounted one."""

    @property
    def base(self) -> Path:
        """The folder of the light."""
        return self.capture / self.rig / self.light

    @property
    def pictures(self) -> Path:
        """The folder of the pictures."""
        return self.base / "images" / self.camera if self.camera else self.base / "images"

    @property
    def mask_folders(self) -> list[Path]:
        """Where their masks may lie."""
        return [self.base / name / self.camera if self.camera else self.base / name for name in _MASK_FOLDERS]


def find_captures(root: Path) -> list[Path]:
    """The captures below the root or its folder `data`, or the root itself; raises `UserError` when there is none."""
    for folder in (root, root / "data"):
        if folder.is_dir():
            inside = [folder / entry.name for entry in visible_entries(str(folder)) if kind_of(entry) == "folder"]
            captures = sorted(path for path in inside if any((path / rig).is_dir() for rig in RIGS))
            if captures:
                return captures
    if any((root / rig).is_dir() for rig in RIGS):
        return [root]
    raise UserError(f"{root}: not Re:InterHand: no folder in it, or in its data/, has {' or '.join(RIGS)}")


def find_shots(capture: Path) -> Iterator[Shots]:
    """Every folder of pictures of a capture."""
    for rig in RIGS:
        for light in _folders(capture / rig):
            if rig == "Ego_cameras":
                if (capture / rig / light / "images").is_dir():
                    yield Shots(capture, rig, light, "")
            else:
                for camera in _folders(capture / rig / light / "images"):
                    yield Shots(capture, rig, light, camera)


def frames_in(folder: Path) -> dict[int, tuple[str, int]]:
    """Name and size of every picture whose name is a number, padded or not."""
    if not folder.is_dir():
        return {}
    return {
        int(stem): (entry.name, entry.stat().st_size)
        for entry in visible_entries(str(folder))
        if (stem := picture_stem(entry.name))
        and stem.isdecimal()
        and len(stem) <= _MOST_DIGITS
        and kind_of(entry) == "file"
    }


def listed_frames(capture: Path) -> set[int]:
    """What `frame_list.txt` names: a line "segment frame" each; nothing when it is not there."""
    file = capture / "frame_list.txt"
    words = [line.split() for line in file.read_bytes().splitlines()] if file.is_file() else []
    return {int(line[-1]) for line in words if line and line[-1].isdigit() and len(line[-1]) <= _MOST_DIGITS}


def truncation_ratios(shots: Shots) -> dict[int, float]:
    """The share of each frame's joints that lies in the head-mounted camera's picture; empty where it is not told."""
    file = shots.base / "truncation_ratio.json"
    if shots.camera or not file.is_file():
        return {}
    return _read(file, "ratios", lambda ratios: {int(frame): float(ratio) for frame, ratio in ratios.items()})


def find_mesh(capture: Path, frame: int, side: Side) -> Path | None:
    """The hand's fitted mesh."""
    return _first(capture / "mano_fits" / "meshes", [f"{frame}_{side}.ply", f"{frame:06d}_{side}.ply"])


def mugsy_cameras(capture: Path) -> dict[str, Camera]:
    """The fixed cameras by name; more than have pictures."""
    file = capture / "Mugsy_cameras" / "cam_params.json"
    if not file.is_file():
        return {}
    return _read(file, "camera", lambda cameras: {name: _camera(values) for name, values in cameras.items()})


def ego_camera(shots: Shots, frame: int) -> Camera | None:
    """The head-mounted camera in one frame."""
    file = _first(shots.base / "cam_params", [f"{frame:06d}.json", f"{frame}.json"])
    return _read(file, "camera", _camera) if file else None


def hands_of(capture: Path, frame: int, camera: Camera) -> dict[Side, Any] | None:
    """The hands from the 42 joints, else from the tracker's 24 of each hand; None when neither is there."""
    folder = capture / "keypoints_orig"
    file = _first(folder / "keypoints_orig", names := [f"{frame}.json", f"{frame:06d}.json"]) or _first(folder, names)
    if file:
        joints = _joints(file, NUM_JOINTS)
        return given_hands(camera, joints, (joints != 1).any(axis=1))
    hands: dict[Side, Any] = {}
    for side in SIDES:
        names = [f"keypoint-{frame:06d}.json", f"keypoint-{frame}.json"]
        tracked = _first(capture / "orig_fits" / side / "Keypoints", names)
        if tracked:
            pixels = projected(camera, _joints(tracked, 24)[list(_PLACES_24)])
            hands[side] = points_of(pixels, np.isfinite(pixels).all(axis=1))
    return hands or None


def subject_of(capture: Path) -> str:
    """The person of a capture by the code in its name, as HIR112; the whole name where there is none."""
    code = re.search(r"--([A-Z]{3}\d{3})--", capture.name)
    return code[1] if code else printable(capture.name)


def _is_number(stem: str) -> bool:
    return stem.isdecimal() and len(stem) <= _MOST_DIGITS


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in visible_entries(str(folder)) if kind_of(entry) == "folder")


def _first(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(file: Path, what: str, made_of: Callable[[Any], T]) -> T:
    """What a JSON file holds, made into something; raises `UserError` when either fails."""
    try:
        return made_of(json.loads(file.read_bytes()))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{file}: damaged {what} ({reason(error)}): unpack it again") from None


def _joints(file: Path, count: int) -> Float64[np.ndarray, "n 3"]:
    joints = _read(file, "joints", lambda values: np.asarray(values, np.float64))
    if joints.shape != (count, 3):
        raise UserError(f"{file}: has joints of shape {joints.shape}, not ({count}, 3): unpack it again")
    return joints


def _camera(values: Mapping[str, Any]) -> Camera:
    bent = values.get("D")
    return Camera(
        rotation=np.asarray(values["R"], np.float64).reshape(3, 3),
        translation=np.asarray(values["t"], np.float64).reshape(3),
        focal=(float(values["focal"][0]), float(values["focal"][1])),
        principal=(float(values["princpt"][0]), float(values["princpt"][1])),
        distortion=(float(bent[0]), float(bent[1]), float(bent[2]), float(bent[3])) if bent else None,
    )
