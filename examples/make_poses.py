"""Makes the poses that come with h2d, `h2d/assets/poses`, out of drawn scenes, and the pictures of `docs/poses.md`.

python examples/make_poses.py [--out h2d/assets/poses] [--pictures docs/images]
"""

import argparse
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from h2d.annotate.extract import extract_pose
from h2d.images import encode_png, resize
from h2d.manifests.overlay import draw_body, draw_hand
from h2d.pose.checks import validate
from h2d.pose.draw import STYLES, draw_pose
from h2d.pose.examples import EXAMPLES
from h2d.pose.openpose_json import write_pose
from h2d.pose.pose import Pose
from h2d.synth.poses import scene_pose
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene

SELFIE: Final = {"frame": "selfie", "size_hw": (512, 512), "near": True}
SCENES: Final[dict[str, dict[str, Any]]] = {
    "palm": {**SELFIE, "gesture": "palm", "seed": 4},
    "peace": {**SELFIE, "gesture": "peace", "seed": 39},
    "thumbs_up": {**SELFIE, "gesture": "like", "seed": 4},
    "ok": {**SELFIE, "gesture": "ok", "seed": 10},
    "rock": {**SELFIE, "gesture": "rock", "seed": 7},
    "heart": {**SELFIE, "gesture": "hand_heart", "seed": 7},
    "prayer": {**SELFIE, "gesture": "holy", "seed": 6},
    "wave": {"frame": "whole_body", "size_hw": (768, 512), "gesture": "palm", "seed": 41},
    "two_people": {"frame": "selfie", "size_hw": (512, 768), "gesture": "peace", "seed": 75, "num_people": 2},
}
"""What `sample_scene` draws each from; the seeds are chosen by eye."""

_ROW_PX: Final = 256
_LABEL_PX: Final = 26


def main() -> None:
    """Write every pose, refuse one with a finding, and draw them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("h2d/assets/poses"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    poses = {name: example_pose(name) for name in EXAMPLES}
    for name, pose in poses.items():
        findings = validate(pose)
        assert not findings, (name, [finding.line() for finding in findings])
        write_pose(pose, arguments.out / f"{name}.json")
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    pictures = {
        "poses": examples_sheet(poses),
        "pose_styles": styles_sheet(poses["ok"]),
        "pose_extract": extract_sheet(),
    }
    for name, picture in pictures.items():
        (arguments.pictures / f"{name}.png").write_bytes(encode_png(picture))
    print(f"{len(poses)} poses in {arguments.out}, {len(pictures)} pictures in {arguments.pictures}")


def examples_sheet(poses: dict[str, Pose]) -> np.ndarray:
    """Every pose, drawn as for ControlNet 1.1."""
    names = list(poses)
    rows = [row_of({name: draw_pose(poses[name]) for name in row}) for row in (names[:3], names[3:6], names[6:])]
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows], axis=0
    )


def styles_sheet(pose: Pose) -> np.ndarray:
    """One pose in the three styles."""
    return row_of({style: draw_pose(pose, style=style) for style in STYLES})


def extract_sheet() -> np.ndarray:
    """A drawn person in place of a photograph, the pose found in it, and its skeleton."""
    scene = sample_scene(6, frame="selfie", size_hw=(512, 512), gesture="peace", background="gradient")
    picture = render(scene).picture
    pose = extract_pose(picture, name="drawn").pose
    over = draw_body(picture, pose.people[0])
    for person, side in pose.hands():
        over = draw_hand(over, pose.hand(person, side), side)
    return row_of({"a (drawn) photograph": picture, "extract --draw": over, "draw": draw_pose(pose)})


def example_pose(name: str) -> Pose:
    """The pose of one scene, in hundredths of a pixel."""
    options = dict(SCENES[name])
    pose = scene_pose(sample_scene(options.pop("seed"), background="plain", **options))
    return Pose(people=pose.people.round(2), width=pose.width, height=pose.height)


def row_of(drawings: dict[str, np.ndarray]) -> np.ndarray:
    """Drawings side by side, each with its name over it."""
    tiles = []
    for name, drawing in drawings.items():
        height, width, _ = drawing.shape
        shrunk = resize(drawing, (_ROW_PX, round(_ROW_PX * width / height)))
        label = np.full((_LABEL_PX, shrunk.shape[1], 3), 255, np.uint8)
        cv2.putText(label, name, (4, 18), cv2.FONT_HERSHEY_DUPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        tile = np.concatenate([label, shrunk], axis=0)
        tiles.append(np.pad(tile, ((0, 4), (0, 6), (0, 0)), constant_values=255))
    return np.concatenate(tiles, axis=1)


if __name__ == "__main__":
    main()
