import numpy as np
import pytest
import torch
from drawn_scenes import camera, hand, person
from hypothesis import given, settings
from hypothesis import strategies as st

from h2d.pose.layouts import FLIP_FACE68
from h2d.synth import body_flesh
from h2d.synth.hand_flesh import hand_flesh
from h2d.synth.head import FACE_POINTS_MM, HEAD_POINTS_MM
from h2d.synth.sdf import Cone, Field, Limb
from h2d.synth.tracing import View

BALL = Cone(np.zeros(3), np.zeros(3), 50.0, 50.0)


def columns(points):
    return torch.tensor(np.asarray(points, np.float32).T)


def hand_field():
    return Field(hand_flesh(hand("right"), np.array([0, 245, 40.0]), sleeved=False).limbs, device="cpu")


def head_field():
    return Field(body_flesh.head(person()), device="cpu")


def around(field, number=400):
    rng = np.random.default_rng(0)
    return columns(rng.uniform(field.low, field.high, (number, 3)))


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(-200, 200)] * 3), st.floats(5, 40), st.floats(5, 40))
def test_a_cone_is_the_union_of_its_balls(point, start_radius, end_radius):
    start, end = np.array([-50.0, 10, 0]), np.array([60.0, 0, 20])
    field = Field([Limb(cones=[Cone(start, end, start_radius, end_radius)], blend=1)], device="cpu")
    shares = np.linspace(0, 1, 20001)[:, None]
    balls = np.linalg.norm(np.array(point) - (start + (end - start) * shares), axis=1)
    nearest = (balls - (start_radius + (end_radius - start_radius) * shares[:, 0])).min()
    assert float(field.distance(columns([point]))) == pytest.approx(nearest, abs=0.05)


@pytest.mark.parametrize("field", [hand_field(), head_field()], ids=["hand", "head"])
def test_normals_are_the_gradient_of_the_distance(field):
    points = around(field)
    points = points[:, field.distance(points).abs() < 6].double()
    normals = field.surface(points.float()).normals
    step = 0.05
    slopes = torch.stack([
        (field.distance((points + move).float()) - field.distance((points - move).float())) / (2 * step)
        for move in torch.eye(3, dtype=torch.float64)[:, :, None] * step
    ])  # fmt: skip
    slopes = torch.nn.functional.normalize(slopes, dim=0)
    # The blend's width changes along a finger, which normals leave out: a few points differ.
    assert ((normals * slopes).sum(dim=0) > 0.97).float().mean() > 0.97


@pytest.mark.parametrize("field", [hand_field(), head_field()], ids=["hand", "head"])
def test_no_distance_is_too_long(field):
    points = around(field)
    distances = field.distance(points)
    apart = torch.cdist(points.T, points.T)
    steeper = (distances[:, None] - distances[None]).abs() > apart * 1.05 + 0.1
    assert steeper.float().mean() < 1e-3


def test_big_batches_are_computed_in_pieces_and_the_same():
    field = hand_field()
    points = around(field, 30_000)
    torch.testing.assert_close(field.distance(points)[-50:], field.distance(points[:, -50:]), rtol=1e-5, atol=1e-3)


def test_two_equal_cones_swell_by_their_blend():
    alone = Field([Limb(cones=[BALL], blend=4)], device="cpu")
    twice = Field([Limb(cones=[BALL, BALL], blend=4)], device="cpu")
    point = columns([(80, 0, 0)])
    assert float(alone.distance(point) - twice.distance(point)) == pytest.approx(4 * np.log(2), abs=1e-3)


def test_carving_takes_away():
    carver = Cone(np.array([0, 0, -50.0]), np.array([0, 0, -50.0]), 20.0, 20.0)
    field = Field([Limb(cones=[BALL], blend=1), Limb(cones=[carver], blend=1, join=1, carves=True)], device="cpu")
    outside, still_inside = field.distance(columns([(0, 0, -40), (0, 0, -10)]))
    assert outside > 5
    assert still_inside < -15


def test_fingers_keep_a_crease_where_they_touch():
    """Limbs do not blend with each other."""
    rod = Cone(np.array([0, 0, 0.0]), np.array([0, -100, 0.0]), 8.0, 8.0)
    beside = Cone(np.array([17.0, 0, 0]), np.array([17.0, -100, 0]), 8.0, 8.0)
    fingers = [Limb(cones=[cone], blend=1, join=6, touch=0.5) for cone in (rod, beside)]
    far_root = Cone(np.array([0, 60.0, 0]), np.array([0, 60.0, 0]), 20.0, 20.0)
    field = Field([Limb(cones=[far_root], blend=1), *fingers], device="cpu")
    assert float(field.distance(columns([(8.5, -80, 0)]))) == pytest.approx(0.5, abs=0.05)


def test_rays_meet_a_ball_where_geometry_says():
    field = Field([Limb(cones=[BALL], blend=1)], device="cpu")
    view = View(camera(128, distance=600), device="cpu")
    hits = view.trace(field)
    met = torch.isfinite(hits.distances)
    x, y = hits.pixels % 128 + 0.5, hits.pixels // 128 + 0.5
    rays = view.directions(x, y).double()
    towards = (rays * -view.eye.double()).sum(dim=0)
    inside = 50**2 - (600**2 - towards**2)
    # Rays that pass the rim by less than a fifth of a pixel may go either way.
    sure = inside.abs() > 2 * 50 * 0.2 * 600 / (1.3 * 128)
    assert torch.equal(met[sure], (inside > 0)[sure])
    from_middle = (view.eye + rays * hits.distances)[:, met].norm(dim=0)
    assert int(met.sum()) > 500
    assert (from_middle - 50).abs().max() < 0.11 * 600 / (1.3 * 128)


@pytest.mark.parametrize("field", [hand_field(), head_field()], ids=["hand", "head"])
def test_nothing_is_met_after_a_ray_came_nearest(field):
    """Compared with small steps all the way, along rays through the flesh's box and somewhat beside it."""
    eye = columns([field.centre - [120, 80, 900]])
    rng = np.random.default_rng(0)
    targets = columns(rng.uniform(field.low - 20, field.high + 20, (250, 3)))
    rays = torch.nn.functional.normalize(targets - eye, dim=0)
    steps = torch.arange(600, 1300, 2.0)
    inside = torch.stack([field.distance(eye + rays * step) < 0 for step in steps])
    first = steps[inside.int().argmax(dim=0)]
    met = inside.any(dim=0)
    last = field.last_nearing(eye, rays)
    assert (last[met] >= first[met] - 2).all()
    assert (last[met] < 1300).float().mean() > 0.5
    assert torch.isinf(last[~met]).float().mean() > 0.4
    assert (met.float().mean() - 0.4).abs() < 0.3


def test_the_standard_head_has_its_size():
    field = Field([*body_flesh.head(person())[:1]], device="cpu")
    steps = [np.arange(-100, 101, 4.0), np.arange(-120, 31, 4.0), np.arange(-110, 111, 4.0)]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    inside = grid[field.distance(columns(grid + person().head_centre)).numpy() < 0]
    assert np.abs(inside[:, 0]).max() == pytest.approx(72, abs=5)
    assert inside[:, 1].min() == pytest.approx(-110, abs=5)
    assert inside[:, 2].min() == pytest.approx(-88, abs=6)
    assert inside[:, 2].max() == pytest.approx(95, abs=10)


def test_face_points_lie_on_the_drawn_face():
    points = np.concatenate([FACE_POINTS_MM, HEAD_POINTS_MM])
    assert np.abs(head_field().distance(columns(points + person().head_centre)).numpy()).max() < 2


def test_the_face_table_is_symmetric():
    np.testing.assert_array_equal(FACE_POINTS_MM[list(FLIP_FACE68)] * [-1, 1, 1], FACE_POINTS_MM)


def test_the_palmar_side_follows_a_bending_finger():
    straight = hand_flesh(hand("right"), np.array([0, 245, 40.0]), sleeved=False)
    fist = hand_flesh(hand("right", fist=True), np.array([0, 245, 40.0]), sleeved=False)
    index_tip = list(zip(straight.fingers, straight.bones, strict=True)).index((2, 3))
    assert straight.palmar[index_tip] @ [0, 0, -1] > 0.9
    assert fist.palmar[index_tip] @ [0, 0, -1] < -0.3
