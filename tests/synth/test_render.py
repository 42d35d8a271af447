from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from drawn_scenes import hands_scene, person, scene, selfie_scene

from h2d.pose.layouts import FACE, HANDS, LEFT_HAND, NUM_POINTS, RIGHT_HAND, SHOULDERS, WRISTS
from h2d.synth.render import render
from h2d.synth.scene import Hand


@pytest.fixture(scope="module")
def selfie():
    return selfie_scene(128), render(selfie_scene(128))


@pytest.fixture(scope="module")
def open_hand():
    return hands_scene(128, "right"), render(hands_scene(128, "right"))


def moved(hand, offset):
    return Hand(joints=hand.joints + np.array(offset), palm_normal=hand.palm_normal)


def test_the_same_scene_gives_the_same_bytes_on_any_number_of_threads(open_hand):
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if num_threads == 1 else 1)
        again = render(hands_scene(128, "right"))
        assert torch.get_num_threads() == (2 if num_threads == 1 else 1)
    finally:
        torch.set_num_threads(num_threads)
    assert again.picture.tobytes() == open_hand[1].picture.tobytes()
    assert again.depth.tobytes() == open_hand[1].depth.tobytes()
    assert again.people[0].mask.tobytes() == open_hand[1].people[0].mask.tobytes()


def test_another_seed_gives_other_noise_and_nothing_else(open_hand):
    other = render(replace(open_hand[0], seed=1))
    assert other.picture.tobytes() != open_hand[1].picture.tobytes()
    assert np.abs(other.picture.astype(int) - open_hand[1].picture).mean() < 4
    np.testing.assert_array_equal(other.depth, open_hand[1].depth)


def test_points_are_projected_exactly(selfie):
    drawn, drawing = selfie
    labels = drawing.people[0]
    there = labels.points[:, 2] > 0
    expected = drawn.camera.project(labels.points_3d[there].astype(float))
    np.testing.assert_allclose(labels.points[there, :2], expected[:, :2], atol=1e-3)
    np.testing.assert_allclose(labels.points_3d[RIGHT_HAND], drawn.people[0].hands["right"].joints, atol=1e-3)
    np.testing.assert_allclose(labels.points_3d[:17], drawn.people[0].body[:17], atol=1e-3)
    assert np.isnan(labels.points[~there, :2]).all()
    outside = drawn.camera.project(drawn.people[0].body)[:, 1] >= 128
    assert not there[:23][outside].any()
    assert outside.any()


def test_hands_alone_have_only_hand_points(open_hand):
    labels = open_hand[1].people[0]
    there = np.zeros(NUM_POINTS, bool)
    there[RIGHT_HAND] = True
    np.testing.assert_array_equal(np.isfinite(labels.points_3d).all(axis=1), there)
    np.testing.assert_array_equal(labels.points[:, 2] > 0, there)
    assert labels.visible[RIGHT_HAND].all()
    assert list(labels.hand_masks) == ["right"]


def test_hand_points_lie_in_the_hand_mask(open_hand):
    labels = open_hand[1].people[0]
    column, row = labels.points[RIGHT_HAND, :2].astype(int).T
    assert labels.hand_masks["right"][row, column].sum() >= 20
    assert (labels.hand_masks["right"] <= labels.mask).all()
    forearm = labels.mask & ~labels.hand_masks["right"]
    assert forearm[:, 40:90].any(axis=1).argmax() > labels.points[RIGHT_HAND.start, 1] - 4


def test_depth_shows_who_is_in_front(selfie):
    labels, drawing = selfie[1].people[0], selfie[1]
    np.testing.assert_array_equal(np.isfinite(drawing.depth), labels.mask)
    hand, torso = labels.hand_masks["right"], labels.mask & ~labels.hand_masks["right"]
    assert np.median(drawing.depth[hand]) < np.median(drawing.depth[torso]) - 50
    assert drawing.depth[labels.mask].min() > 800


def test_depth_grows_as_the_camera_steps_back(open_hand):
    drawn, drawing = open_hand
    back = replace(drawn.camera, translation=drawn.camera.translation + np.array([0, 0, 100.0]))
    farther = render(replace(drawn, camera=back))
    both = np.isfinite(drawing.depth) & np.isfinite(farther.depth)
    assert (farther.depth[both] > drawing.depth[both]).mean() > 0.99
    assert farther.people[0].mask.sum() < drawing.people[0].mask.sum()


def test_a_hand_hides_what_is_behind_it():
    figure = person()
    shoulder = figure.body[SHOULDERS["right"]]
    before_it = shoulder * [0.84, 0.84, 0] + [0, 0, -180]
    covering = moved(figure.hands["right"], before_it - figure.hands["right"].joints[[0, 9]].mean(axis=0))
    body = figure.body.copy()
    body[WRISTS["right"]] = covering.joints[0]
    hidden = replace(figure, hands={**figure.hands, "right": covering}, body=body)
    view = selfie_scene(128).camera
    before = render(scene((figure,), view)).people[0]
    after = render(scene((hidden,), view)).people[0]
    assert before.visible[SHOULDERS["right"]]
    assert not after.visible[SHOULDERS["right"]]
    assert after.visible[RIGHT_HAND].all()
    assert after.points[SHOULDERS["right"], 2] == 1


def test_fingertips_of_a_fist_are_hidden_from_behind():
    front = render(hands_scene(128, "right", fist=True)).people[0].visible[RIGHT_HAND]
    behind = render(hands_scene(128, "right", fist=True, turn=180)).people[0].visible[RIGHT_HAND]
    tips = [8, 12, 16, 20]
    assert front[tips].all()
    assert not behind[tips].any()


def test_the_face_is_seen_from_the_front_only(selfie):
    drawn, drawing = selfie
    assert drawing.people[0].visible[FACE].all()
    away = replace(drawn.people[0], head_rotation=np.diag([-1.0, 1.0, -1.0]))
    turned = render(replace(drawn, people=(away,))).people[0]
    assert turned.visible[FACE].mean() < 0.3


def test_left_is_right_in_the_mirror(open_hand):
    light = replace(open_hand[0].light, towards=np.array([0, -0.6, -0.8]))
    right = render(replace(open_hand[0], light=light))
    mirrored = hands_scene(128, "left")
    left = render(replace(mirrored, light=light))
    both = right.people[0].hand_masks["right"], left.people[0].hand_masks["left"][:, ::-1]
    assert iou(*both) > 0.985
    points = left.people[0].points[LEFT_HAND, :2] * [-1, 1] + [128, 0]
    np.testing.assert_allclose(points, right.people[0].points[RIGHT_HAND, :2], atol=1e-3)
    difference = np.abs(right.picture.astype(int) - left.picture[:, ::-1])
    assert np.median(difference) <= 3


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize("name", ["person", "hand"])
def test_masks_agree_with_a_picture_of_twice_the_size(selfie, name):
    """Half a large pixel's four small ones is half the pixel."""
    large = render(selfie_scene(256)).people[0]
    small = selfie[1].people[0]
    fine, coarse = (large.mask, small.mask) if name == "person" else (
        large.hand_masks["right"], small.hand_masks["right"]
    )  # fmt: skip
    shares = cv2.resize(fine.astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA)
    unsure = shares == 0.5
    assert iou((shares > 0.5) & ~unsure, coarse & ~unsure) > 0.985


def test_masks_cover_what_the_light_shows(open_hand):
    drawn, drawing = open_hand
    black, white = (
        render(replace(drawn, background=np.full_like(drawn.background, shade))).picture.astype(int)
        for shade in (0, 255)
    )
    shows_background = (white - black).mean(axis=2) > 128
    assert iou(~shows_background, drawing.people[0].mask) > 0.985


def test_palm_and_back_look_different():
    palm, back = (render(hands_scene(128, "right", turn=turn)) for turn in (0, 180))
    tones = []
    for drawing in (palm, back):
        hand = cv2.erode(drawing.people[0].hand_masks["right"].astype(np.uint8), np.ones((5, 5))) > 0
        tones.append(drawing.picture[hand].astype(float).mean(axis=0))
    assert tones[0][2] / tones[0][0] > tones[1][2] / tones[1][0] + 0.005


def test_two_people_have_their_own_masks():
    one = person()
    offset = np.array([420.0, 0, 250])
    other = replace(
        one, body=one.body + offset, head_centre=one.head_centre + offset,
        hands={side: moved(hand, offset) for side, hand in one.hands.items()},
        elbows={side: elbow + offset for side, elbow in one.elbows.items()},
    )  # fmt: skip
    view = selfie_scene(96).camera
    drawing = render(scene((one, other), view))
    first, second = (labels.mask for labels in drawing.people)
    assert not (first & second).any()
    np.testing.assert_array_equal(first | second, np.isfinite(drawing.depth))
    assert second.sum() > 300
    assert render(scene((one,), view)).people[0].mask.sum() == pytest.approx(first.sum(), abs=30)


def test_short_sleeves_show_skin():
    long, short = (render(selfie_scene(96, sleeves=sleeves)).picture for sleeves in ("long", "short"))
    skin = [(picture[..., 0].astype(int) - picture[..., 2] > 40).sum() for picture in (long, short)]
    assert skin[1] > skin[0] * 1.15


def test_all_labels_are_in_the_picture(selfie):
    labels = selfie[1].people[0]
    there = labels.points[:, 2] > 0
    assert (labels.points[there, :2] >= 0).all()
    assert (labels.points[there, :2] < 128).all()
    assert not labels.visible[~there].any()
    assert there[HANDS["right"]].all()
