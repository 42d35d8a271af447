from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from h2d.annotate.base import HandView
from h2d.annotate.masks.mano import ManoSegmenter, draw_triangles, read_mesh
from h2d.images import DecodeError
from h2d.pose.camera import Camera, camera_of

CAMERA = Camera(rotation=np.eye(3), translation=np.zeros(3), focal=(100.0, 100.0), principal=(50.0, 40.0))


def write_square(file, *, low, high, depth, text=False):
    """Two triangles that fill a square of pixels of `CAMERA` at a depth."""
    corners = [(low, low), (high, low), (high, high), (low, high)]
    vertices = [((x - 50) / 100 * depth, (y - 40) / 100 * depth, depth) for x, y in corners]
    vertex = np.array(vertices, dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])
    face = np.array([([0, 1, 2],), ([0, 2, 3],)], dtype=[("vertex_indices", "i4", (3,))])
    PlyData([PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")], text=text).write(str(file))
    return file


def view(meshes, *, hands=("left", "right"), box=(0.0, 0.0, 64.0, 64.0), camera=CAMERA, size=64):
    points = np.ones((21, 3), np.float32)
    points[:, :2] = 30
    return HandView(
        picture=np.zeros((size, size, 3), np.uint8),
        hands=dict.fromkeys(hands, points),
        crop_box_xywh=box,
        meshes=meshes,
        camera=camera,
    )


def square(low, high, size=64):
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


@pytest.mark.parametrize("text", [True, False])
def test_the_nearer_hand_hides_the_other(tmp_path, text):
    meshes = {
        "left": write_square(tmp_path / "l.ply", low=10, high=40, depth=500.0, text=text),
        "right": write_square(tmp_path / "r.ply", low=20, high=50, depth=400.0, text=text),
    }
    answer = ManoSegmenter().segment([view(meshes)])[0]
    np.testing.assert_array_equal(answer["right"].mask, square(20, 50))
    np.testing.assert_array_equal(answer["left"].mask, square(10, 40) & ~square(20, 50))
    assert (answer["right"].quality, answer["left"].quality) == (1.0, 0.0)


def test_it_hides_it_also_when_it_is_the_left_one(tmp_path):
    meshes = {
        "left": write_square(tmp_path / "l.ply", low=10, high=40, depth=400.0),
        "right": write_square(tmp_path / "r.ply", low=20, high=50, depth=500.0),
    }
    answer = ManoSegmenter().segment([view(meshes)])[0]
    np.testing.assert_array_equal(answer["left"].mask, square(10, 40))
    np.testing.assert_array_equal(answer["right"].mask, square(20, 50) & ~square(10, 40))


def test_a_crop_sees_its_part_enlarged_and_the_other_hand_still_hides(tmp_path):
    meshes = {
        "left": write_square(tmp_path / "l.ply", low=10, high=40, depth=500.0),
        "right": write_square(tmp_path / "r.ply", low=20, high=50, depth=400.0),
    }
    answer = ManoSegmenter().segment([view(meshes, hands=("left",), box=(8.0, 8.0, 32.0, 32.0))])[0]
    np.testing.assert_array_equal(answer["left"].mask, square(4, 64) & ~square(24, 64))


def test_triangles_that_share_an_edge_leave_no_gap_and_agree_with_sampling():
    random = np.random.default_rng(0)
    pixels = random.uniform(-5, 45, (12, 2))
    triangles = random.integers(0, 12, (9, 3))
    triangles = triangles[[len(set(t)) == 3 for t in triangles.tolist()]]
    drawn = draw_triangles(pixels, np.ones(12), triangles, np.full((40, 40), np.inf))
    centres = np.stack(np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5), axis=-1)
    expected = np.zeros((40, 40), bool)
    for a, b, c in pixels[triangles]:
        sides = [
            (q[0] - p[0]) * (centres[..., 1] - p[1]) - (q[1] - p[1]) * (centres[..., 0] - p[0])
            for p, q in ((a, b), (b, c), (c, a))
        ]
        expected |= np.all([s >= 0 for s in sides], axis=0) | np.all([s <= 0 for s in sides], axis=0)
    np.testing.assert_array_equal(drawn, expected)


def test_a_corner_behind_the_camera_leaves_its_triangle_out():
    pixels = np.array([[5.0, 5], [30, 5], [np.nan, np.nan], [5, 30]])
    drawn = draw_triangles(pixels, np.ones(4), np.array([[0, 1, 2], [0, 1, 3]]), np.full((40, 40), np.inf))
    assert 200 < drawn.sum() < 400


def test_what_is_missing_is_said(tmp_path):
    mesh = write_square(tmp_path / "l.ply", low=10, high=40, depth=500.0)
    assert ManoSegmenter().segment([view({"left": mesh})])[0]["right"].problem == "no mesh of the right hand"
    no_camera = ManoSegmenter().segment([view({"left": mesh}, hands=("left",), camera=None)])[0]
    assert no_camera["left"].problem == "the dataset names no camera"
    far = ManoSegmenter().segment([view({"left": mesh}, hands=("left",), box=(500.0, 500.0, 9.0, 9.0))])[0]
    assert far["left"].problem == "the mesh is not seen here"


def test_a_damaged_mesh_is_named(tmp_path):
    file: Path = write_square(tmp_path / "l.ply", low=10, high=40, depth=500.0)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DecodeError, match=r"l\.ply: the mesh cannot be read"):
        read_mesh(file)
    file.write_text("no ply")
    with pytest.raises(DecodeError, match=r"l\.ply"):
        read_mesh(file)


@pytest.mark.parametrize("distortion", [None, (0.04, -0.02, 0.008, -0.001)])
def test_a_camera_survives_its_numbers_and_a_point_behind_it_is_nowhere(distortion):
    camera = Camera(
        rotation=np.eye(3)[[1, 0, 2]],
        translation=np.array([1.0, 2, 3]),
        focal=(100.0, 110.0),
        principal=(50.0, 40.0),
        distortion=distortion,
    )
    points = np.array([[10.0, 20, 500], [0, 0, -500], [-2, -1, 100]])
    np.testing.assert_array_equal(camera_of(camera.numbers()).project(points), camera.project(points))
    assert np.isnan(camera.project(points)[1]).all()
    np.testing.assert_allclose(camera.project(points)[2], (50, 40))
