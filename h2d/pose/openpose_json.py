"""OpenPose's JSON, in the dialects that programs write: read as a `Pose`, and written back.

Read are OpenPose 1.0 to 1.3, sd-webui-controlnet, comfyui_controlnet_aux, sd-webui-openpose-editor and its presets of
hands, and the older openpose-editor. Numbers are kept as they are: OpenPose counts from a pixel's centre, we from its
corner, and half a pixel is less than either finds points to. Axis legend: p people, n points.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Float64

from h2d.errors import UserError
from h2d.pose.layouts import FACE, HANDS
from h2d.pose.openpose_layouts import body_18, body_25
from h2d.pose.openpose_people import LARGEST_PX, brief, is_number, people_of
from h2d.pose.points import LEAST_CONFIDENCE, present
from h2d.pose.pose import Pose

_FRACTIONS_BELOW: Final = 2.0
"""Where no coordinate is as large as this they are fractions of the canvas: a person two pixels high is none."""
_CANVAS_STEP_PX: Final = 64


def read_pose(path: Path, *, size_hw: tuple[int, int] | None = None, frame: int | None = None) -> Pose:
    """Read a file in any dialect; raises `UserError` in one line that names the file, the value and the remedy.

    `size_hw` is the picture's size, for a file that names no canvas; `frame` chooses one of a list of several.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}: give a file of OpenPose JSON") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: not text in UTF-8: give a file of OpenPose JSON, or make one of a photograph, or of a video's"
            " frame, with h2d pose extract"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not JSON ({' '.join(str(error).split())[:80]}): give a file of OpenPose JSON, or make one of a"
            f" photograph with h2d pose extract"
        ) from None
    return parse_pose(data, name=str(path), size_hw=size_hw, frame=frame)


def parse_pose(data: Any, *, name: str, size_hw: tuple[int, int] | None = None, frame: int | None = None) -> Pose:
    """The pose of parsed JSON; `name` begins every error. People without a single point are left out."""
    document = _one_frame(data, name, frame)
    people = people_of(document, name)
    stated_hw = _canvas(document, name)
    own_scale = "version" in document and stated_hw is None
    stacked, (height, width) = _in_pixels(people, stated_hw or size_hw, name, own_scale=own_scale)
    pose = Pose(
        people=stacked.astype(np.float32),
        width=width,
        height=height,
        canvas_stated=stated_hw is not None or size_hw is not None,
    )
    _refuse_all_outside(pose, name)
    return pose


def write_pose(pose: Pose, path: Path, *, dialect: str = "webui") -> None:
    """Write a file, UTF-8 and its folder made; raises `UserError` for a path that cannot be written."""
    text = json.dumps(format_pose(pose, dialect=dialect), allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}: give another --out") from None


def format_pose(pose: Pose, *, dialect: str = "webui") -> Any:
    """A pose as plain JSON values; the dialects are the keys of `DIALECTS`.

    `webui` and `comfyui` say of a point that it is there or not: those that no skeleton shows are not. `openpose` keeps
    confidences, and has no canvas.
    """
    check_dialect(dialect)
    return DIALECTS[dialect](pose)


def check_dialect(name: str) -> None:
    """Raise `UserError` with the choices for a name that is no dialect's."""
    if name not in DIALECTS:
        raise UserError(f"unknown dialect {name!r} of pose files: choose one of {', '.join(DIALECTS)}")


def _webui(pose: Pose) -> dict[str, Any]:
    return {"people": _editor_people(pose), "animals": [], "canvas_width": pose.width, "canvas_height": pose.height}


def _comfyui(pose: Pose) -> list[dict[str, Any]]:
    return [{"people": _editor_people(pose), "canvas_height": pose.height, "canvas_width": pose.width}]


def _openpose(pose: Pose) -> dict[str, Any]:
    people = [
        {
            "person_id": [-1],
            "pose_keypoints_2d": _flat(body_25(person)) or [0] * 75,
            "face_keypoints_2d": _flat(_face_70(person)),
            "hand_left_keypoints_2d": _flat(person[HANDS["left"]]),
            "hand_right_keypoints_2d": _flat(person[HANDS["right"]]),
            **{f"{part}_keypoints_3d": [] for part in ("pose", "face", "hand_left", "hand_right")},
        }
        for person in pose.people
    ]
    return {"version": 1.3, "people": people}


DIALECTS: Final[Mapping[str, Callable[[Pose], Any]]] = {"webui": _webui, "comfyui": _comfyui, "openpose": _openpose}
"""`webui`: one object with the canvas, as sd-webui-controlnet and its openpose editor load it. `comfyui`: a list of
such. `openpose`: BODY_25 as OpenPose 1.3 writes it."""


def _editor_people(pose: Pose) -> list[dict[str, Any]]:
    """Confidences of 1 or 0; a part of which nothing is there is null, but for the body, which editors want."""
    people = [
        {
            "pose_keypoints_2d": _flat(body_18(person)) or [0] * 54,
            "hand_right_keypoints_2d": _flat(person[HANDS["right"]]) or None,
            "hand_left_keypoints_2d": _flat(person[HANDS["left"]]) or None,
            "face_keypoints_2d": _flat(_face_70(person)) or None,
        }
        for person in pose.shown().people
        if present(person).any()
    ]
    if not people:
        surest = float(pose.people[..., 2].max(initial=0))
        raise UserError(
            f"no point's confidence reaches {LEAST_CONFIDENCE}, the best is {surest:.2g}, and no editor would show one:"
            f" keep the pose in the dialect openpose"
        )
    return people


def _face_70(person: Float32[np.ndarray, "133 3"]) -> Float32[np.ndarray, "n 3"]:
    """The face and its pupils, which are the body's eyes: right, then left."""
    face = person[FACE]
    if not present(face).any():
        return face
    return np.concatenate([face, person[[2, 1]]])


def _flat(points: Float32[np.ndarray, "n 3"]) -> list[float]:
    """x, y, confidence after each other, the fewest digits that give the same float32; empty where nothing is there."""
    there = present(points)
    if not there.any():
        return []
    return [float(str(value)) for value in np.where(there[:, None], points, np.float32(0)).ravel()]


def _one_frame(data: Any, name: str, frame: int | None) -> Mapping[str, Any]:
    """The one object that holds the people."""
    if isinstance(data, list):
        frames = f"a list of {len(data)} poses"
        if not data:
            raise UserError(f"{name}: an empty list: give a pose of at least one person")
        if frame is None and len(data) > 1:
            raise UserError(f"{name}: {frames}: choose one with --frame 0 to {len(data) - 1}")
        if not 0 <= (frame or 0) < len(data):
            raise UserError(f"{name}: --frame {frame}: {frames}: choose 0 to {len(data) - 1}")
        data = data[frame or 0]
    elif frame:
        raise UserError(f"{name}: --frame {frame}: it holds a single pose: leave --frame out")
    if not isinstance(data, dict):
        raise UserError(f"{name}: {brief(data)} where a pose should be: give an object with `people`")
    return data


def _canvas(document: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    """(height, width) as the file states it."""
    sides_px = []
    for key in ("canvas_height", "canvas_width"):
        value = document.get(key, document.get(key.removeprefix("canvas_")))
        if value is not None and not (is_number(value) and 1 <= value <= LARGEST_PX):
            raise UserError(f"{name}: {key} is {brief(value)}: give 1 to {LARGEST_PX} pixels")
        sides_px.append(None if value is None else round(value))
    height, width = sides_px
    if height is not None and width is not None:
        return height, width
    if height is None and width is None:
        return None
    missing = "canvas_height" if height is None else "canvas_width"
    raise UserError(f"{name}: it states one side of its canvas and no {missing}: give both or none")


def _in_pixels(
    people: Float64[np.ndarray, "p 133 3"], canvas_hw: tuple[int, int] | None, name: str, *, own_scale: bool
) -> tuple[Float64[np.ndarray, "p 133 3"], tuple[int, int]]:
    """The points in pixels, and the canvas; one that is not stated just holds the points that count, in steps of 64."""
    xy = people[np.isfinite(people[..., 0])][:, :2]
    if np.abs(xy).max() >= _FRACTIONS_BELOW:
        counting = people[np.isfinite(people[..., 0]) & (people[..., 2] >= LEAST_CONFIDENCE)][:, :2]
        held = counting if len(counting) else xy
        steps = np.maximum(1, np.ceil(held.max(axis=0) / _CANVAS_STEP_PX)).astype(int)
        return people, canvas_hw or (int(steps[1]) * _CANVAS_STEP_PX, int(steps[0]) * _CANVAS_STEP_PX)
    if canvas_hw is None:
        raise UserError(
            f"{name}: the coordinates, {xy.min():.3g} to {xy.max():.3g}, are fractions of a canvas, and it names none:"
            f" state it with --size WIDTHxHEIGHT, or as canvas_width and canvas_height in the file"
        )
    height, width = canvas_hw
    if own_scale:  # OpenPose's own --keypoint_scale 3 and 4: over the centres of the outer pixels, from 0 or from -1
        width, height = width - 1, height - 1
        if xy.min() < 0:
            people[..., :2] = (people[..., :2] + 1) / 2
    people[..., :2] *= (width, height)
    return people, canvas_hw


def _refuse_all_outside(pose: Pose, name: str) -> None:
    points = pose.people[np.isfinite(pose.people[..., 0])]
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= (pose.width, pose.height))).all(axis=1)
    if not inside.any():
        (left, top), (right, bottom) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        raise UserError(
            f"{name}: every point lies outside the canvas of {pose.width} x {pose.height}: x {left:.4g} to {right:.4g},"
            f" y {top:.4g} to {bottom:.4g}: correct canvas_width and canvas_height, or move the pose"
        )
