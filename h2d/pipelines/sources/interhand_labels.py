"""InterHand2.6M's JSON files, streamed into arrays: the largest is 3.7 GB with 600 bytes a picture, of which 20 stay.

Axis legend: n entries, f frames, m asked for.
"""

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import ijson
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt64

from h2d.errors import UserError
from h2d.pipelines.sources.joints_42 import NUM_JOINTS
from h2d.pipelines.sources.listing import reason
from h2d.pose.camera import Camera

_MISSING: Final = [1, 1, 1]
"""What stands at an invalid joint."""
_NO_JOINTS: Final = np.zeros((0, NUM_JOINTS, 3), np.float32)
_DAMAGE: Final = (
    ijson.JSONError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
    AttributeError,
    RecursionError,
)
"""What reading a damaged file raises."""


class Place(NamedTuple):
    """One camera's view of one sequence."""

    capture: int
    sequence: str
    camera: str
    below: str
    """The folder of its pictures, below the split's."""
    subject: int | None


@dataclass(kw_only=True, slots=True)
class Entries:
    """`*_data.json`: what it says of each picture."""

    places: list[Place] = field(default_factory=list)
    place: array = field(default_factory=lambda: array("i"))
    frame: array = field(default_factory=lambda: array("i"))
    width: array = field(default_factory=lambda: array("H"))
    height: array = field(default_factory=lambda: array("H"))
    names: dict[int, str] = field(default_factory=dict)
    """Of pictures that are not called `image<frame>.jpg`, by row."""
    valid_bits: UInt64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """A bit per joint: annotated and inside the picture. All set where there is no annotation."""

    def name(self, row: int) -> str:
        """The picture's file name."""
        return self.names.get(row) or f"image{self.frame[row]}.jpg"


@dataclass(kw_only=True, slots=True)
class Joints:
    """`*_joint_3d.json`: the joints of each frame in world millimetres, and which were annotated."""

    keys: Int64[np.ndarray, " f"]
    """Of the frames, in order; see `_key`."""
    row: Int64[np.ndarray, " f"]
    """Where each key's joints stand below."""
    world: Float32[np.ndarray, "f 42 3"]
    valid_bits: UInt64[np.ndarray, " f"]
    """A bit per joint."""

    def rows_of(self, capture: Int64[np.ndarray, " m"], frame: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """Where the joints of these frames stand; -1 for a frame without. Of a frame given twice the last counts."""
        if not len(self.keys):
            return np.full(len(frame), -1)
        wanted = _key(capture, frame)
        places = np.searchsorted(self.keys, wanted, side="right") - 1
        return np.where((places >= 0) & (self.keys[places] == wanted), self.row[places], -1)


def read_entries(file: Path) -> Entries:
    """Stream the images, then their annotations; raises `UserError` when the file is damaged."""
    entries = Entries()
    known: dict[Place, int] = {}
    ids = array("l")
    key = "images"
    try:
        with file.open("rb") as stream:
            for image in ijson.items(stream, "images.item", use_float=True):
                _add_image(entries, known, image)
                ids.append(image["id"])
        key = "annotations"
        owners, bits = array("l"), array("L")
        with file.open("rb") as stream:
            for note in ijson.items(stream, "annotations.item", use_float=True):
                owners.append(note["image_id"])
                bits.append(_packed(note["joint_valid"]))
    except _DAMAGE as error:
        raise UserError(f"{file}: damaged {key} ({reason(error)}): download it again") from None
    entries.valid_bits = _matched(np.asarray(ids, np.int64), np.asarray(owners, np.int64), np.asarray(bits, np.uint64))
    return entries


def unpacked(bits: np.uint64) -> Bool[np.ndarray, "42"]:
    """Which joints' bits are set."""
    return np.asarray((int(bits) >> np.arange(NUM_JOINTS)) & 1, bool)


def read_joints(file: Path) -> Joints:
    """Stream the frames; v0.0 wrote a bare list of joints for each."""
    captures, frames = array("i"), array("i")
    worlds, bits = array("f"), array("L")
    try:
        for capture, frame, numbers, flags in _frames(file):
            if len(numbers) != NUM_JOINTS * 3:
                raise ValueError(f"frame {frame} of capture {capture} has {len(numbers)} numbers, not {NUM_JOINTS * 3}")
            captures.append(int(capture))
            frames.append(int(frame))
            worlds.extend(numbers)
            joints = (numbers[start : start + 3] for start in range(0, len(numbers), 3))
            bits.append(_packed(flags or [joint != _MISSING for joint in joints]))
    except _DAMAGE as error:
        raise UserError(f"{file}: damaged joints ({reason(error)}): download it again") from None
    keys = _key(np.asarray(captures, np.int64), np.asarray(frames, np.int64))
    row = np.argsort(keys, kind="stable")
    return Joints(
        keys=keys[row],
        row=row,
        world=np.frombuffer(worlds, np.float32).reshape(-1, NUM_JOINTS, 3) if worlds else _NO_JOINTS,
        valid_bits=np.asarray(bits, np.uint64),
    )


def read_cameras(file: Path) -> dict[tuple[int, str], Camera]:
    """Cameras by capture and name. `campos` is the camera's centre: `X_camera = camrot @ (X_world - campos)`."""
    try:
        cameras = {}
        for capture, values in json.loads(file.read_text()).items():
            for name, centre in values["campos"].items():
                rotation = np.asarray(values["camrot"][name], np.float64).reshape(3, 3)
                with np.errstate(over="ignore", invalid="ignore"):
                    translation = -rotation @ np.asarray(centre, np.float64)
                cameras[int(capture), name] = Camera(
                    rotation=rotation,
                    translation=translation,
                    focal=_pair(values["focal"][name]),
                    principal=_pair(values["princpt"][name]),
                )
        return cameras
    except _DAMAGE as error:
        raise UserError(f"{file}: damaged cameras ({reason(error)}): download it again") from None


def _key(capture: Int64[np.ndarray, " m"], frame: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
    """One number for a frame of a capture."""
    key: Int64[np.ndarray, " m"] = (capture << 32) + frame
    return key


def _pair(values: Any) -> tuple[float, float]:
    x, y = values
    return float(x), float(y)


def _add_image(entries: Entries, known: dict[Place, int], image: Mapping[str, Any]) -> None:
    file_name = _text(image["file_name"])
    below, _, name = file_name.rpartition("/")
    if file_name.startswith("/") or ".." in below.split("/"):
        raise ValueError(f"file_name {file_name!r} leads out of the dataset")
    frame, subject = int(image["frame_idx"]), image.get("subject")
    place = Place(int(image["capture"]), image["seq_name"], str(image["camera"]), below, subject)
    if place not in known:
        known[place] = len(entries.places)
        entries.places.append(Place(place.capture, _text(place.sequence), _text(place.camera), below, _whole(subject)))
    if name != f"image{frame}.jpg":
        entries.names[len(entries.frame)] = name
    entries.place.append(known[place])
    entries.frame.append(frame)
    entries.width.append(int(image["width"]))
    entries.height.append(int(image["height"]))


def _text(value: Any) -> str:
    """Text that a table can hold: no half of a letter."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()
    return value


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _packed(valid: Any) -> int:
    """A bit per joint of `[[1], [0], ...]` or `[1, 0, ...]`."""
    if len(valid) != NUM_JOINTS:
        raise ValueError(f"joint_valid has {len(valid)} joints, not {NUM_JOINTS}")
    flat = [joint[0] if isinstance(joint, list) else joint for joint in valid]
    return int("".join("1" if joint else "0" for joint in reversed(flat)), 2)


def _matched(
    ids: Int64[np.ndarray, " n"], owners: Int64[np.ndarray, " m"], bits: UInt64[np.ndarray, " m"]
) -> UInt64[np.ndarray, " n"]:
    """Each image's annotation; all joints valid where it has none."""
    if np.array_equal(ids, owners):
        return bits
    matched = np.full(len(ids), (1 << NUM_JOINTS) - 1, np.uint64)
    if len(owners):
        order = np.argsort(owners, kind="stable")
        places = np.minimum(np.searchsorted(owners[order], ids), len(owners) - 1)
        there = owners[order][places] == ids
        matched[there] = bits[order][places[there]]
    return matched


def _frames(file: Path) -> Iterator[tuple[str, str, list[Any], list[Any]]]:
    """Capture, frame, 126 numbers and 42 flags, perhaps none, of every frame; one frame in memory at a time."""
    maps = lists = 0
    capture = frame = key = ""
    values: dict[str, list[Any]] = {}
    current: list[Any] = []
    with file.open("rb") as stream:
        for event, value in ijson.basic_parse(stream, use_float=True):
            if event in ("number", "boolean"):
                current.append(value)
            elif event == "start_array":
                lists += 1
            elif event == "end_array":
                lists -= 1
                if maps == 2 and lists == 0:
                    yield capture, frame, current, []
            elif event == "map_key":
                capture, frame, key = (
                    (value, frame, "") if maps == 1 else (capture, value, "") if maps == 2 else (capture, frame, value)
                )
                current = values[key] = []
            elif event == "start_map":
                maps += 1
            elif event == "end_map":
                maps -= 1
                if maps == 2:
                    yield capture, frame, values["world_coord"], values.get("joint_valid", [])
                    values = {}
