"""InterHand2.6M: hands in a capture stage, several cameras a frame, 42 joints in world millimetres.

A camera is written as the dataset writes it, by its centre: `X_camera = camrot @ (X_world - campos)`. There are no
MANO fits: a drawn hand has none, so every fit in the file is null.
Axis legend: n points.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Bool, Float64

from h2d.config import config
from h2d.images import encode_jpeg
from h2d.pose.layouts import HANDS
from h2d.pose.points import present
from h2d.synth.layouts.base import Note, Studio, Wish, scene_seed, write_file, write_label
from h2d.synth.layouts.framing import LOOK_SIZE_HW, dressed_as, on_stage, seen_by, stage_camera
from h2d.synth.layouts.joints import joints_42, skeleton_text, spread_42
from h2d.synth.scene import Camera, Scene

CAMERAS: Final = ("400026", "400012", "410028", "410053")
"""The dataset's own names; the third stands upright pictures on their side."""

SPLITS: Final = ("train", "test", "val", "train", "train", "test", "train", "train", "train", "test")
"""Of the frames in turn."""

NUM_CAPTURES: Final = {"train": 27, "val": 1, "test": 9}

_SCENES: Final = 1
"""Keeps the scenes apart from those that other layouts draw from the same seed."""

_PEOPLE: Final = 2**31
_STAGES: Final = 2**31 + 1
"""Places in the sequence of seeds that no frame has."""

_DISTANCE_MM: Final = 1000.0
_SHAPE: Final = (334, 512)
"""Of a picture, short and long side."""
_FOCAL: Final = 2.3
"""Times the long side: a field of about 43 x 28 cm where the hands are, a little more than the dataset's."""
_BOX_SCALE: Final = 1.2
_LEAST_JOINTS: Final = 30
"""Of two hands in the picture, for `hand_type` to count."""


@config
class InterhandLayout:
    """A frame is one scene seen by every camera; its pictures are numbered one after the other."""

    name: ClassVar[str] = "interhand"
    flavours: ClassVar[tuple[str, ...]] = ("v1.0",)
    owns: ClassVar[tuple[str, ...]] = ("images", "annotations")

    seed: int
    count: int
    size_px: int = 512
    """The long side; the dataset's pictures are 334 x 512 or 512 x 334."""
    flavour: str = "v1.0"

    def draw(self, index: int, out: Path, studio: Studio, wish: Wish) -> Note:
        """Draw one camera's view of a frame."""
        frame, camera_number = divmod(index, len(CAMERAS))
        split, capture = _place(frame)
        camera = self._camera(split, capture, camera_number)
        scene = studio.sample(scene_seed(self.seed, frame, _SCENES), frame="hands", size_hw=self._size_hw(0))
        person = studio.sample(self._person_seed(split, capture), frame="hands", size_hw=LOOK_SIZE_HW)
        centre = np.array([0.0, 0.0, _DISTANCE_MM])
        scene = seen_by(dressed_as(on_stage(scene, centre=centre), person), camera)
        drawing = studio.render(scene)
        hands, points = scene.people[0].hands, drawing.people[0].points
        world, annotated = joints_42(hands)
        seen = spread_42({side: present(points[HANDS[side]]) for side in hands})
        name, frame_idx = CAMERAS[camera_number], 1000 + 3 * frame
        sequence = _sequence(scene)
        file_name = f"Capture{capture}/{sequence}/cam{name}/image{frame_idx}.jpg"
        path = f"images/{split}/{file_name}"
        write_file(out / path, encode_jpeg(drawing.picture), wish.picture_damage)
        height, width = camera.size_hw
        hand_type = "interacting" if len(hands) == 2 else next(iter(hands))
        return {
            "name": f"{split}/{file_name}",
            "path": path,
            "split": split,
            "frame": str(frame_idx),
            "image": {
                "id": index,
                "file_name": file_name,
                "width": width,
                "height": height,
                "capture": capture,
                "subject": _subject(split, capture),
                "seq_name": sequence,
                "camera": name,
                "frame_idx": frame_idx,
            },
            "annotation": {
                "id": index,
                "image_id": index,
                "bbox": _box_xywh(camera.project(world), annotated & seen),
                "joint_valid": [[int(valid)] for valid in annotated & seen],
                "hand_type": hand_type,
                "hand_type_valid": int(len(hands) == 1 or (annotated & seen).sum() > _LEAST_JOINTS),
            },
            "camera": {
                "campos": (-camera.rotation.T @ camera.translation).tolist(),
                "camrot": camera.rotation.tolist(),
                "focal": list(camera.focal),
                "princpt": list(camera.principal),
            },
            "joints": {
                "world_coord": world.tolist(),
                "joint_valid": [[bool(valid)] for valid in annotated],
                "hand_type": hand_type,
                "hand_type_valid": True,
                "seq": sequence,
            },
        }

    def write_labels(self, notes: Sequence[Mapping[str, Any]], out: Path) -> None:
        """Four JSON files per split, and the skeleton."""
        for split in dict.fromkeys(SPLITS):
            here = [note for note in notes if note["split"] == split]
            cameras: dict[str, dict[str, dict[str, Any]]] = {}
            joints: dict[str, dict[str, Any]] = {}
            for note in here:
                capture = str(note["image"]["capture"])
                for field, value in note["camera"].items():
                    cameras.setdefault(capture, {}).setdefault(field, {})[note["image"]["camera"]] = value
                joints.setdefault(capture, {})[note["frame"]] = note["joints"]
            fits = {c: {frame: {"right": None, "left": None} for frame in frames} for c, frames in joints.items()}
            data = {"images": [note["image"] for note in here], "annotations": [note["annotation"] for note in here]}
            start = out / "annotations" / split / f"InterHand2.6M_{split}"
            write_label(start.with_name(f"{start.name}_data.json"), json.dumps(data))
            write_label(start.with_name(f"{start.name}_camera.json"), json.dumps(cameras, indent=4))
            write_label(start.with_name(f"{start.name}_joint_3d.json"), json.dumps(joints, indent=4))
            write_label(start.with_name(f"{start.name}_MANO_NeuralAnnot.json"), json.dumps(fits))
        write_label(out / "annotations" / "skeleton.txt", skeleton_text())

    def _size_hw(self, camera_number: int) -> tuple[int, int]:
        short = round(self.size_px * _SHAPE[0] / _SHAPE[1])
        return (short, self.size_px) if CAMERAS[camera_number] == "410028" else (self.size_px, short)

    def _person_seed(self, split: str, capture: int) -> int:
        return scene_seed(self.seed, _PEOPLE, _subject(split, capture))

    def _camera(self, split: str, capture: int, number: int) -> Camera:
        """The first looks straight on, the others stand around; in each capture a little apart."""
        random = np.random.default_rng(scene_seed(self.seed, _STAGES, _subject(split, capture), number))
        wobble = random.uniform(-1, 1, 5)
        yaw, pitch = ((0.0, 0.0), (38.0, -8.0), (-35.0, 12.0), (8.0, 30.0))[number]
        return stage_camera(
            yaw=yaw + 4 * wobble[0],
            pitch=pitch + 4 * wobble[1],
            centre=np.array([0.0, 0.0, _DISTANCE_MM]),
            distance_mm=_DISTANCE_MM + 30 * wobble[2],
            focal_px=_FOCAL * self.size_px,
            size_hw=self._size_hw(number),
            principal_shift_px=(0.01 * self.size_px * wobble[3], 0.01 * self.size_px * wobble[4]),
        )


def _place(frame: int) -> tuple[str, int]:
    """Split and capture of a frame; captures are numbered from 0 in each split, as in the dataset."""
    split = SPLITS[frame % len(SPLITS)]
    return split, frame // len(SPLITS) % NUM_CAPTURES[split]


def _subject(split: str, capture: int) -> int:
    return capture + {"train": 0, "val": 27, "test": 28}[split]


def _sequence(scene: Scene) -> str:
    kind = "dh_" if len(scene.people[0].hands) == 2 else ""
    return f"{scene.seed % 1000:04d}_{kind}{scene.gesture}"


def _box_xywh(points: Float64[np.ndarray, "n 3"], valid: Bool[np.ndarray, " n"]) -> list[float]:
    """1.2 times the tight box of the valid points, about the same centre; without any, no size."""
    if not valid.any():
        return [0.0, 0.0, 0.0, 0.0]
    low, high = points[valid, :2].min(axis=0), points[valid, :2].max(axis=0)
    size = (high - low) * _BOX_SCALE
    return [*((low + high) / 2 - size / 2).tolist(), *size.tolist()]
