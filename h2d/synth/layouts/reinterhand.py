"""Re:InterHand: two hands relit, seen by fixed cameras (Mugsy) and by a fisheye on the head (Ego), with masks.

A camera is written as `X_camera = R @ X_world + t`: t is a translation, unlike InterHand2.6M's camera centre. Every
drawn frame is a sixth one, so that it stands both in `envmap_per_segment` (30 a second) and in `envmap_per_frame` (5 a
second, its light its own). There are no MANO fits: a drawn hand has none. Where masks lie and how they are written is
not published; these are beside `images`, 255 where a hand is.
Axis legend: n points, h w picture size.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from h2d.config import config
from h2d.images import encode_png
from h2d.pose.layouts import SIDES
from h2d.synth.layouts.base import Note, Studio, Wish, scene_seed, write_file, write_label
from h2d.synth.layouts.fisheye import DISTORTION, Fisheye
from h2d.synth.layouts.framing import LOOK_SIZE_HW, dressed_as, on_stage, seen_by, stage_camera
from h2d.synth.layouts.joints import joints_24, joints_42
from h2d.synth.scene import Camera, Drawing, Scene

CAPTURES: Final = (
    "m--20221007--1215--HIR112--pilot--ProjectGoliathScript--Hands--two-hands",
    "m--20230313--1433--TXB805--pilot--ProjectGoliath--Hands--two-hands",
    "m--20221215--0949--RNS217--pilot--ProjectGoliathScript--Hands--two-hands",
)
"""Three of the dataset's ten; the last belongs to its test split."""

TEST_CAPTURES: Final = CAPTURES[2:]

_CAPTURE_OF_FRAME: Final = (0, 2, 1, 0, 1, 0, 1, 0, 1, 2)
_SLOTS: Final = (
    ("Mugsy_cameras", "envmap_per_segment", "400262"),
    ("Mugsy_cameras", "envmap_per_segment", "400273"),
    ("Ego_cameras", "envmap_per_segment", ""),
    ("Mugsy_cameras", "envmap_per_frame", "400262"),
)
"""A frame's pictures, numbered one after the other: rig, light, camera."""

_VIEWS: Final = {"400262": (0.0, 0.0), "400273": (32.0, -14.0), "": (-6.0, 38.0)}
_DISTANCES_MM: Final = {"400262": 1000.0, "400273": 1040.0, "": 470.0}
_FOCALS: Final = {"400262": 2.3, "400273": 2.3, "": 1.0}
"""Times the long side."""

_SHAPE: Final = (667, 1024)
_FRAMES_APART: Final = 6
_CENTRE_MM: Final = 1000.0
_MAX_TRIES: Final = 64
_PEOPLE: Final = 2**31
"""A place in the sequence of seeds that no frame has."""


@config
class ReinterhandLayout:
    """A frame is one scene seen by every camera; its pictures are numbered one after the other."""

    name: ClassVar[str] = "reinterhand"
    flavours: ClassVar[tuple[str, ...]] = ("mugsy-and-ego",)
    owns: ClassVar[tuple[str, ...]] = CAPTURES

    seed: int
    count: int
    size_px: int = 512
    """The long side, upright; the dataset's pictures are 667 x 1024."""
    flavour: str = "mugsy-and-ego"

    def draw(self, index: int, out: Path, studio: Studio, wish: Wish) -> Note:
        """Draw one camera's view of a frame and its mask."""
        frame, slot = divmod(index, len(_SLOTS))
        rig, light, camera_name = _SLOTS[slot]
        capture = CAPTURES[_CAPTURE_OF_FRAME[frame % len(_CAPTURE_OF_FRAME)]]
        camera = self._camera(camera_name)
        fisheye = Fisheye(camera) if rig == "Ego_cameras" else None
        scene = self._scene(frame, capture, studio)
        if light == "envmap_per_frame":
            scene = _relit(scene, np.random.default_rng(scene_seed(self.seed, frame, 1)))
        drawing = studio.render(seen_by(scene, fisheye.pinhole if fisheye else camera))
        picture, mask = drawing.picture, _hands_mask(drawing)
        if fisheye:
            picture, mask = fisheye.bend(picture), fisheye.bend_mask(mask)
        hands, elbows = scene.people[0].hands, scene.people[0].elbows
        frame_idx = 120 + _FRAMES_APART * frame
        folder = f"{capture}/{rig}/{light}"
        stem = f"{camera_name}/{frame_idx:06d}.png" if camera_name else f"{frame_idx:06d}.png"
        files = {
            f"{folder}/images/{stem}": encode_png(picture),
            f"{folder}/masks/{stem}": _encode_mask(mask),
        }
        for (path, data), damage in zip(files.items(), (wish.picture_damage, wish.label_damage), strict=True):
            write_file(out / path, data, damage)
        params = _params(camera)
        joints = np.concatenate([hands[side].joints for side in SIDES])
        seen = fisheye.project(joints) if fisheye else camera.project(joints)[:, :2]
        return {
            "name": f"{folder}/images/{stem}",
            "path": f"{folder}/images/{stem}",
            "split": "test" if capture in TEST_CAPTURES else "train",
            "capture": capture,
            "rig": rig,
            "light": light,
            "camera": camera_name,
            "frame": frame_idx,
            "params": params | {"D": list(DISTORTION)} if fisheye else params,
            "in_picture": float(((seen >= 0) & (seen < camera.size_hw[::-1])).all(axis=1).mean()),
            "joints_42": joints_42(hands)[0].tolist(),
            "joints_24": {side: joints_24(hands[side], elbows[side]).tolist() for side in ("right", "left")},
            "md5": {path: hashlib.md5(data, usedforsecurity=False).hexdigest() for path, data in files.items()},
        }

    def write_labels(self, notes: Sequence[Mapping[str, Any]], out: Path) -> None:
        """Cameras, keypoints, frame lists and checksums of every capture."""
        for capture in CAPTURES:
            here = [note for note in notes if note["capture"] == capture]
            if here:
                _write_cameras(here, out / capture)
                _write_keypoints(here, out / capture)
                _write_lists(here, out / capture)

    def _scene(self, frame: int, capture: str, studio: Studio) -> Scene:
        """The first scene of the frame that has both hands, on the stage, in the colours of the capture's person."""
        size_hw = self._size_hw()
        for attempt in range(_MAX_TRIES):
            scene = studio.sample(scene_seed(self.seed, frame, 0, attempt), frame="hands", size_hw=size_hw)
            if len(scene.people[0].hands) == 2:
                person_seed = scene_seed(self.seed, _PEOPLE, CAPTURES.index(capture))
                person = studio.sample(person_seed, frame="hands", size_hw=LOOK_SIZE_HW)
                return dressed_as(on_stage(scene, centre=np.array([0.0, 0.0, _CENTRE_MM])), person)
        raise AssertionError(f"no scene with two hands in {_MAX_TRIES} tries")

    def _size_hw(self) -> tuple[int, int]:
        return self.size_px, round(self.size_px * _SHAPE[0] / _SHAPE[1])

    def _camera(self, name: str) -> Camera:
        yaw, pitch = _VIEWS[name]
        return stage_camera(
            yaw=yaw,
            pitch=pitch,
            centre=np.array([0.0, 0.0, _CENTRE_MM]),
            distance_mm=_DISTANCES_MM[name],
            focal_px=_FOCALS[name] * self.size_px,
            size_hw=self._size_hw(),
            principal_shift_px=(0.006 * self.size_px, -0.004 * self.size_px),
        )


def _relit(scene: Scene, random: np.random.Generator) -> Scene:
    towards = random.normal(size=3) * (1.0, 0.6, 0.5) + (0.0, -0.6, -1.2)
    return replace(scene, light=replace(scene.light, towards=towards / np.linalg.norm(towards)))


def _hands_mask(drawing: Drawing) -> Bool[np.ndarray, "h w"]:
    masks = drawing.people[0].hand_masks
    return np.asarray(masks["left"] | masks["right"])


def _encode_mask(mask: Bool[np.ndarray, "h w"]) -> bytes:
    pixels: UInt8[np.ndarray, "h w"] = mask.astype(np.uint8) * 255
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


def _params(camera: Camera) -> dict[str, Any]:
    return {
        "R": camera.rotation.tolist(),
        "t": camera.translation.tolist(),
        "focal": list(camera.focal),
        "princpt": list(camera.principal),
    }


def _write_cameras(notes: Sequence[Mapping[str, Any]], folder: Path) -> None:
    mugsy = {note["camera"]: note["params"] for note in notes if note["rig"] == "Mugsy_cameras"}
    write_label(folder / "Mugsy_cameras" / "cam_params.json", json.dumps(mugsy, indent=4))
    for light in sorted({note["light"] for note in notes if note["rig"] == "Ego_cameras"}):
        ego = [note for note in notes if note["rig"] == "Ego_cameras" and note["light"] == light]
        for note in ego:
            file = folder / "Ego_cameras" / light / "cam_params" / f"{note['frame']:06d}.json"
            write_label(file, json.dumps(note["params"]))
        ratios = {f"{note['frame']:06d}": note["in_picture"] for note in ego}
        write_label(folder / "Ego_cameras" / light / "truncation_ratio.json", json.dumps(ratios))


def _write_keypoints(notes: Sequence[Mapping[str, Any]], folder: Path) -> None:
    for frame, note in {note["frame"]: note for note in notes}.items():
        write_label(folder / "keypoints_orig" / "keypoints_orig" / f"{frame}.json", json.dumps(note["joints_42"]))
        for side, joints in note["joints_24"].items():
            file = folder / "orig_fits" / side / "Keypoints" / f"keypoint-{frame:06d}.json"
            write_label(file, json.dumps(joints))


def _write_lists(notes: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Only frames that every camera has drawn are listed: the last may lack some."""
    frames = sorted({note["frame"] for note in notes})
    drawn = Counter(note["frame"] for note in notes)
    whole = [frame for frame in frames if drawn[frame] >= len(_SLOTS)]
    write_label(folder / "frame_list.txt", "".join(f"0 {frame}\n" for frame in whole))
    write_label(folder / "frame_list_orig.txt", "".join(f"{frame}\n" for frame in frames))
    sums = {path.split("/", 1)[1]: md5 for note in notes for path, md5 in note["md5"].items()}
    write_label(folder / "CHECKSUM", "".join(f"{path} {md5}\n" for path, md5 in sorted(sums.items())))
