"""InterHand2.6M's files: names, fields, joint order and a projection that lands on the drawn joints."""

import json

import numpy as np
import pytest
from fake_studio import studio_that_keeps

from h2d.images import load_rgb
from h2d.pose.layouts import HANDS
from h2d.synth.generate import generate
from h2d.synth.layouts.interhand import InterhandLayout

TO_OURS = [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
"""Where the dataset keeps wrist, thumb ... little finger, base to tip, of the right hand."""

COUNT = 46


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("interhand")
    truth = []
    generate("interhand", root, count=COUNT, seed=1, size_px=256, studio=studio_that_keeps(truth), workers=1)
    return root, truth


def labels(root, split, part):
    return json.loads((root / "annotations" / split / f"InterHand2.6M_{split}_{part}.json").read_text())


def views(root):
    for split in ("train", "val", "test"):
        data, cameras, joints = (labels(root, split, part) for part in ("data", "camera", "joint_3d"))
        for image, annotation in zip(data["images"], data["annotations"], strict=True):
            camera = {key: np.array(value[image["camera"]]) for key, value in cameras[str(image["capture"])].items()}
            yield split, image, annotation, camera, joints[str(image["capture"])][str(image["frame_idx"])]


def test_folders_files_and_image_fields(drawn):
    root, _ = drawn
    listed = set()
    for split, image, annotation, _, _ in views(root):
        assert list(image) == [
            "id", "file_name", "width", "height", "capture", "subject", "seq_name", "camera", "frame_idx"
        ]  # fmt: skip
        assert image["file_name"] == (
            f"Capture{image['capture']}/{image['seq_name']}/cam{image['camera']}/image{image['frame_idx']}.jpg"
        )
        assert load_rgb(root / "images" / split / image["file_name"]).shape[:2] == (image["height"], image["width"])
        assert {image["height"], image["width"]} == {256, 167}
        assert isinstance(image["camera"], str)
        assert annotation["image_id"] == image["id"]
        listed.add(f"images/{split}/{image['file_name']}")
    assert listed == {path.relative_to(root).as_posix() for path in root.rglob("*.jpg")}
    assert len(listed) == COUNT
    assert {(image["height"] > image["width"]) for _, image, *_ in views(root)} == {True, False}
    subjects = {(split, image["subject"]) for split, image, *_ in views(root)}
    assert len({subject for _, subject in subjects}) == len(subjects)
    assert {path.name for path in (root / "annotations" / "val").iterdir()} == {
        f"InterHand2.6M_val_{part}.json" for part in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")
    }


def test_annotation_fields(drawn):
    root, _ = drawn
    for _, _, annotation, camera, joints in views(root):
        assert list(annotation) == ["id", "image_id", "bbox", "joint_valid", "hand_type", "hand_type_valid"]
        assert np.array(annotation["joint_valid"]).shape == (42, 1)
        assert annotation["hand_type"] in ("right", "left", "interacting")
        assert annotation["hand_type_valid"] in (0, 1)
        assert {key: value.shape for key, value in camera.items()} == {
            "campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)
        }  # fmt: skip
        assert list(joints) == ["world_coord", "joint_valid", "hand_type", "hand_type_valid", "seq"]
        assert joints["hand_type"] == annotation["hand_type"]
        world, annotated = np.array(joints["world_coord"]), np.array(joints["joint_valid"])
        assert world.shape == (42, 3)
        assert (annotated.shape, annotated.dtype) == ((42, 1), bool)
        right, left = annotated[:21].all(), annotated[21:].all()
        assert {"right": (True, False), "left": (False, True), "interacting": (True, True)}[joints["hand_type"]] == (
            right,
            left,
        )
        assert (world[~annotated.ravel()] == 1).all()
        assert not (np.array(annotation["joint_valid"]).ravel() > annotated.ravel()).any()


def projected(camera, world):
    """By the formula of the dataset: `campos` is the camera's centre."""
    points = (np.array(world) - camera["campos"]) @ camera["camrot"].T
    return points[:, :2] / points[:, 2:] * camera["focal"] + camera["princpt"], points[:, 2]


def test_joints_project_onto_the_drawing(drawn):
    root, truth = drawn
    by_id = {image["id"]: (annotation, camera, joints) for _, image, annotation, camera, joints in views(root)}
    worst, num_joints = 0.0, 0
    for index, (scene, drawing) in enumerate(truth):
        annotation, camera, joints = by_id[index]
        pixels, depth = projected(camera, joints["world_coord"])
        valid = np.array(annotation["joint_valid"]).ravel().astype(bool)
        for side, offset in (("right", 0), ("left", 21)):
            if side not in scene.people[0].hands:
                assert not valid[offset : offset + 21].any()
                continue
            order = [offset + place for place in TO_OURS]
            drawn_points = drawing.people[0].points[HANDS[side]]
            np.testing.assert_array_equal(valid[order], drawn_points[:, 2] > 0)
            error = np.abs(pixels[order] - drawn_points[:, :2])[valid[order]]
            worst, num_joints = max(worst, error.max(initial=0)), num_joints + len(error)
            assert (np.abs(depth[order] - 1000) < 400).all()
    assert worst < 0.01
    assert num_joints > 1000


def test_the_box_is_a_fifth_larger_than_the_joints(drawn):
    root, _ = drawn
    for _, _, annotation, camera, joints in views(root):
        pixels, _ = projected(camera, joints["world_coord"])
        pixels = pixels[np.array(annotation["joint_valid"]).ravel() == 1]
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        box = np.array(annotation["bbox"])
        np.testing.assert_allclose(box[:2] + box[2:] / 2, (low + high) / 2)
        np.testing.assert_allclose(box[2:], 1.2 * (high - low))


def test_the_cameras_of_a_frame_see_the_same_hands(drawn):
    root, _ = drawn
    frames = {}
    for split, image, _, camera, _ in views(root):
        frames.setdefault((split, image["capture"], image["frame_idx"]), []).append(camera["campos"])
    assert max(len(centres) for centres in frames.values()) == 4
    for centres in frames.values():
        assert len({tuple(centre) for centre in centres}) == len(centres)


def test_cameras_belong_to_the_capture(drawn):
    root, _ = drawn
    seen = {}
    for split, image, _, camera, _ in views(root):
        key = (split, image["capture"], image["camera"])
        np.testing.assert_array_equal(seen.setdefault(key, camera["camrot"]), camera["camrot"])
        np.testing.assert_allclose(camera["camrot"] @ camera["camrot"].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera["camrot"]) == pytest.approx(1)


def test_the_skeleton_names_every_joint_and_its_parent(drawn):
    root, _ = drawn
    lines = [line.split() for line in (root / "annotations" / "skeleton.txt").read_text().splitlines()]
    assert [int(index) for _, index, _ in lines] == list(range(42))
    names = [name for name, _, _ in lines]
    assert names[:5] == ["r_thumb4", "r_thumb3", "r_thumb2", "r_thumb1", "r_index4"]
    assert (names[20], names[21], names[41]) == ("r_wrist", "l_thumb4", "l_wrist")
    parents = [int(parent) for _, _, parent in lines]
    assert (parents[0], parents[3], parents[7], parents[20], parents[24], parents[41]) == (1, 20, 20, -1, 41, -1)


def test_captures_are_numbered_as_in_the_dataset():
    notes = {}
    for index in range(0, 4 * 300, 4):
        from h2d.synth.layouts.interhand import _place

        split, capture = _place(index // 4)
        notes.setdefault(split, set()).add(capture)
    assert notes["val"] == {0}
    assert max(notes["test"]) <= 8
    assert max(notes["train"]) <= 26
    assert InterhandLayout(seed=0, count=1).size_px == 512
