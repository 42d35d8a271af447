"""Scenes seen closer or from a stage: only the view changes."""

import numpy as np
import pytest
from fake_studio import STUDIO

from h2d.pose.layouts import SIDES
from h2d.synth.layouts.framing import LOOK_SIZE_HW, dressed_as, on_stage, seen_by, stage_camera, without_hands


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("num_people", [1, 2])
def test_a_longer_lens_magnifies_and_shows_no_hand(seed, num_people):
    scene = STUDIO.sample(seed, frame="selfie", size_hw=(120, 90), gesture="palm", num_people=num_people)
    closer = without_hands(scene)
    body = scene.people[0].body
    before, after = scene.camera.project(body), closer.camera.project(body)
    zoom = closer.camera.focal[0] / scene.camera.focal[0]
    assert zoom > 1
    np.testing.assert_allclose(after[:, :2] - after[0, :2], (before[:, :2] - before[0, :2]) * zoom)
    np.testing.assert_allclose(after[:, 2], before[:, 2])
    x, y = np.concatenate(
        [closer.camera.project(hand.joints)[:, :2] for person in scene.people for hand in person.hands.values()]
    ).T
    assert not ((x > 0) & (x < 90) & (y > 0) & (y < 120)).any()
    head_or_shoulder = after[[0, 5, 6], :2]
    assert ((head_or_shoulder > 0) & (head_or_shoulder < (90, 120))).all(axis=1).any()


def test_a_stage_moves_the_hands_and_turns_nothing_in_them():
    scene = STUDIO.sample(3, frame="hands", size_hw=(100, 80))
    turned = stage_camera(yaw=25, pitch=-15, centre=np.zeros(3), distance_mm=800, focal_px=90, size_hw=(100, 80))
    centre = np.array([10.0, -20.0, 1000.0])
    staged = on_stage(seen_by(scene, turned), centre=centre)
    joints = [np.concatenate([hand.joints for hand in s.people[0].hands.values()]) for s in (scene, staged)]
    np.testing.assert_allclose((joints[1].min(axis=0) + joints[1].max(axis=0)) / 2, centre)
    seen = joints[0] @ turned.rotation.T
    np.testing.assert_allclose(joints[1] - joints[1][0], seen - seen[0], atol=1e-9)
    np.testing.assert_allclose(staged.light.towards, turned.rotation @ scene.light.towards)
    for side in SIDES:
        if side in scene.people[0].hands:
            before, after = scene.people[0], staged.people[0]
            expected = (before.elbows[side] - before.hands[side].joints[0]) @ turned.rotation.T
            np.testing.assert_allclose(after.elbows[side] - after.hands[side].joints[0], expected, atol=1e-9)
            np.testing.assert_allclose(
                after.hands[side].palm_normal, turned.rotation @ before.hands[side].palm_normal, atol=1e-12
            )


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (30, 0), (0, 40), (-50, 20)])
def test_a_camera_of_the_stage_looks_at_its_centre(yaw, pitch):
    centre = np.array([5.0, 7.0, 1000.0])
    camera = stage_camera(
        yaw=yaw,
        pitch=pitch,
        centre=centre,
        distance_mm=900,
        focal_px=300,
        size_hw=(100, 80),
        principal_shift_px=(2, -1),
    )
    np.testing.assert_allclose(camera.project(centre[None])[0], [42, 49, 900])
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)


def test_a_lying_picture_gets_the_background_turned():
    scene = STUDIO.sample(3, frame="hands", size_hw=(100, 80))
    lying = stage_camera(yaw=0, pitch=0, centre=np.zeros(3), distance_mm=800, focal_px=90, size_hw=(80, 100))
    assert seen_by(scene, lying).background.shape == (80, 100, 3)
    with pytest.raises(AssertionError):
        seen_by(scene, stage_camera(yaw=0, pitch=0, centre=np.zeros(3), distance_mm=8, focal_px=9, size_hw=(80, 90)))


def test_looks_are_those_of_the_other_scene():
    scene, model = (STUDIO.sample(seed, frame="hands", size_hw=LOOK_SIZE_HW) for seed in (1, 2))
    dressed = dressed_as(scene, model)
    assert dressed.people[0].appearance == model.people[0].appearance != scene.people[0].appearance
    assert dressed.people[0].hands is scene.people[0].hands
