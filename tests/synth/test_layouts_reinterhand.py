"""Re:InterHand's files: two rigs, two orders of joints, masks, and a fisheye."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from fake_studio import studio_that_keeps

from h2d.images import load_rgb
from h2d.pose.layouts import HANDS
from h2d.synth.generate import generate
from h2d.synth.layouts.fisheye import Fisheye
from h2d.synth.layouts.framing import stage_camera
from h2d.synth.layouts.reinterhand import CAPTURES

FROM_42 = [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
FROM_24 = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22]
COUNT = 42


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("reinterhand")
    truth = []
    generate("reinterhand", root, count=COUNT, seed=1, size_px=256, studio=studio_that_keeps(truth), workers=1)
    return root, truth


def captures(root):
    return sorted(path for path in root.iterdir() if path.is_dir())


def read(path):
    return json.loads(path.read_text())


def frames_of(capture):
    return [int(line) for line in (capture / "frame_list_orig.txt").read_text().split()]


def test_folders_and_files(drawn):
    root, _ = drawn
    assert [capture.name for capture in captures(root)] == sorted(CAPTURES)
    pictures = 0
    for capture in captures(root):
        listed = [line.split() for line in (capture / "frame_list.txt").read_text().splitlines()]
        assert all(len(fields) == 2 for fields in listed)
        for _, frame in listed:
            name = f"{int(frame):06d}.png"
            for camera in ("400262", "400273"):
                assert (capture / "Mugsy_cameras/envmap_per_segment/images" / camera / name).is_file()
            assert (capture / "Mugsy_cameras/envmap_per_frame/images/400262" / name).is_file()
            assert (capture / "Ego_cameras/envmap_per_segment/images" / name).is_file()
        pictures += len(list(capture.glob("*/*/images/**/*.png")))
        sums = dict(line.split() for line in (capture / "CHECKSUM").read_text().splitlines())
        assert sums == {
            path.relative_to(capture).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
            for path in capture.rglob("*.png")
        }
    assert pictures == COUNT
    assert sum(len((capture / "frame_list.txt").read_text().splitlines()) for capture in captures(root)) == COUNT // 4


def test_cameras_have_the_fields_of_their_rig(drawn):
    root, _ = drawn
    for capture in captures(root):
        for camera in read(capture / "Mugsy_cameras" / "cam_params.json").values():
            assert {key: np.shape(value) for key, value in camera.items()} == {
                "R": (3, 3), "t": (3,), "focal": (2,), "princpt": (2,)
            }  # fmt: skip
        ego = capture / "Ego_cameras" / "envmap_per_segment"
        names = {path.stem for path in (ego / "images").iterdir()}
        assert {path.stem for path in (ego / "cam_params").iterdir()} == names
        assert read(ego / "truncation_ratio.json").keys() == names
        assert all(0.2 < ratio <= 1 for ratio in read(ego / "truncation_ratio.json").values())
        for path in (ego / "cam_params").iterdir():
            assert list(read(path)) == ["R", "t", "focal", "princpt", "D"]
            assert len(read(path)["D"]) == 4


def test_both_kinds_of_keypoints_agree(drawn):
    root, _ = drawn
    for capture in captures(root):
        for frame in frames_of(capture):
            both = np.array(read(capture / "keypoints_orig" / "keypoints_orig" / f"{frame}.json"))
            assert both.shape == (42, 3)
            for side, offset in (("right", 0), ("left", 21)):
                one = np.array(read(capture / "orig_fits" / side / "Keypoints" / f"keypoint-{frame:06d}.json"))
                assert one.shape == (24, 3)
                np.testing.assert_array_equal(one[FROM_24], both[[offset + place for place in FROM_42]])


def test_joints_project_onto_the_drawing_by_translation(drawn):
    root, truth = drawn
    num_joints = 0
    for index, (_, drawing) in enumerate(truth):
        frame, slot = divmod(index, 4)
        if slot == 2:
            continue
        for capture in captures(root):
            if 120 + 6 * frame in frames_of(capture):
                camera = read(capture / "Mugsy_cameras" / "cam_params.json")["400273" if slot == 1 else "400262"]
                world = np.array(read(capture / "keypoints_orig" / "keypoints_orig" / f"{120 + 6 * frame}.json"))
        seen = world @ np.array(camera["R"]).T + camera["t"]
        pixels = seen[:, :2] / seen[:, 2:] * camera["focal"] + camera["princpt"]
        for side, offset in (("right", 0), ("left", 21)):
            points = drawing.people[0].points[HANDS[side]]
            error = np.abs(pixels[[offset + place for place in FROM_42]] - points[:, :2])[points[:, 2] > 0]
            assert error.max(initial=0) < 0.01
            num_joints += len(error)
    assert num_joints > 500


def test_masks_are_beside_the_pictures(drawn):
    root, truth = drawn
    for capture in captures(root):
        for picture in capture.glob("*/*/images/**/*.png"):
            mask = cv2.imread(str(picture).replace("/images/", "/masks/"), cv2.IMREAD_UNCHANGED)
            assert mask.shape == load_rgb(picture).shape[:2] == (256, 167)
            assert set(np.unique(mask)) == {0, 255}
    labels = truth[0][1].people[0].hand_masks
    first = next(root.glob("*/Mugsy_cameras/envmap_per_segment/masks/400262/000120.png"))
    np.testing.assert_array_equal(cv2.imread(str(first), cv2.IMREAD_UNCHANGED) > 0, labels["left"] | labels["right"])


def test_the_fisheye_bends_the_picture_as_its_projection_says():
    camera = stage_camera(
        yaw=10,
        pitch=20,
        centre=np.zeros(3),
        distance_mm=500,
        focal_px=200,
        size_hw=(256, 200),
        principal_shift_px=(3, -2),
    )
    fisheye = Fisheye(camera)
    grid = np.array([[x, y, 30.0] for x in range(-200, 201, 50) for y in range(-200, 201, 50)])
    bent = fisheye.project(grid)
    straight = camera.project(grid)[:, :2]
    offset = np.linalg.norm(straight - camera.principal, axis=1)
    assert np.abs(bent - straight).max() > 5
    assert np.abs(bent - straight)[offset < 20].max() < 1
    inside = ((bent > 4) & (bent < np.array([196, 252]))).all(axis=1)
    assert inside.sum() > 20
    for point, target in zip(grid[inside], bent[inside], strict=True):
        x, y = fisheye.pinhole.project(point[None])[0, :2]
        picture = np.zeros((256, 200, 3), np.uint8)
        columns, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(256) + 0.5)
        picture[:] = np.round(250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8))[..., None]
        seen = fisheye.bend(picture)[..., 0].astype(float)
        centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        np.testing.assert_allclose(centre, target, atol=0.25)


def test_the_tracker_s_stub_points_to_the_elbow(drawn):
    root, truth = drawn
    scene = truth[0][0]
    capture = next(capture for capture in captures(root) if 120 in frames_of(capture))
    for side in ("left", "right"):
        joints = np.array(read(capture / "orig_fits" / side / "Keypoints" / "keypoint-000120.json"))
        to_elbow = scene.people[0].elbows[side] - joints[0]
        np.testing.assert_allclose(joints[23] - joints[0], to_elbow / 4)
