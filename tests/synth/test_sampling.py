import numpy as np
import pytest

from h2d.errors import UserError
from h2d.pose.layouts import SIDES
from h2d.synth.gestures import GESTURES, TWO_HANDED
from h2d.synth.hand import bone_gaps
from h2d.synth.sampling import sample_scene

SIZES = {"selfie": (64, 64), "whole_body": (96, 64), "hands": (64, 42)}


def pixels(scene, side):
    return scene.camera.project(scene.people[0].hands[side].joints)


@pytest.mark.parametrize("frame", SIZES)
def test_gesturing_hands_lie_inside_the_picture(frame):
    height, width = SIZES[frame]
    leads = []
    for seed in range(200):
        scene = sample_scene(seed, frame=frame, size_hw=SIZES[frame], background="plain")
        assert scene.gesture_sides
        for side in scene.gesture_sides:
            points = pixels(scene, side)
            assert (points[:, 2] > 200).all()
            assert (points[:, :2] > 0).all()
            assert (points[:, :2] < [width, height]).all()
        leads += [scene.gesture_sides[0]] if len(scene.gesture_sides) == 1 else []
    assert 0.35 < leads.count("left") / len(leads) < 0.65


def test_selfies_show_the_head_and_hands_of_a_natural_size():
    sizes = []
    for seed in range(40):
        scene = sample_scene(seed, frame="selfie", size_hw=(100, 100), gesture="palm", background="plain")
        person = scene.people[0]
        head = scene.camera.project(person.body[:5])
        assert (head[:, :2] > 0).all()
        assert (head[:, :2] < 100).all()
        sizes.append(np.ptp(pixels(scene, scene.gesture_sides[0])[:, 1]))
        assert 600 < np.linalg.norm(scene.camera.translation) < 3200
    assert min(sizes) > 9
    assert max(sizes) < 28
    assert 12 < np.median(sizes) < 20


def test_near_selfies_are_twice_as_near():
    def share(seed, *, near):
        scene = sample_scene(seed, frame="selfie", size_hw=(100, 100), gesture="palm", background="plain", near=near)
        head = scene.camera.project(scene.people[0].body[:5])[:, :2]
        assert (head > 0).all()
        assert (head < 100).all()
        return np.ptp(pixels(scene, scene.gesture_sides[0])[:, 1])

    usual, near = ([share(seed, near=near) for seed in range(40)] for near in (False, True))
    assert 1.4 < np.median(near) / np.median(usual) < 2.2
    assert 20 < np.median(near) < 35


def test_whole_bodies_are_whole():
    for seed in range(20):
        scene = sample_scene(seed, frame="whole_body", size_hw=(96, 64), background="plain")
        body = scene.camera.project(scene.people[0].body)[:, :2]
        assert (body > 0).all()
        assert (body < [64, 96]).all()


def test_hands_alone_have_forearms_and_no_body():
    both = 0
    for seed in range(20):
        scene = sample_scene(seed, frame="hands", size_hw=(64, 42))
        person = scene.people[0]
        assert person.body is None
        assert person.head_centre is None
        assert set(person.elbows) == set(person.hands) == set(scene.gesture_sides)
        for side, hand in person.hands.items():
            axis = hand.joints[9] - hand.joints[0]
            if scene.gesture not in TWO_HANDED:
                assert axis @ (person.elbows[side] - hand.joints[0]) < 0
        if len(person.hands) == 2 and scene.gesture == "free":
            both += 1
            assert bone_gaps(*(person.hands[side].joints for side in SIDES)).min() >= 19
    assert both > 2


def test_a_seed_is_a_scene_at_any_size():
    small, large = (sample_scene(7, frame="selfie", size_hw=(size, size)) for size in (128, 384))
    np.testing.assert_allclose(pixels(large, "left")[:, :2], 3 * pixels(small, "left")[:, :2])
    assert small.caption == large.caption
    assert np.abs(large.background[1::3, 1::3].astype(int) - small.background).mean() < 4


def test_the_same_seed_gives_the_same_bytes_and_another_another():
    first, second, other = (sample_scene(seed, frame="selfie", size_hw=(48, 48)) for seed in (3, 3, 4))
    assert first.background.tobytes() == second.background.tobytes()
    assert first.people[0].body.tobytes() == second.people[0].body.tobytes()
    assert (first.caption, first.gesture_sides) == (second.caption, second.gesture_sides)
    assert first.people[0].body.tobytes() != other.people[0].body.tobytes()


@pytest.mark.parametrize("gesture", GESTURES)
def test_captions_tell_what_is_drawn(gesture):
    for frame in ("selfie", "hands"):
        scene = sample_scene(11, frame=frame, size_hw=(48, 48), gesture=gesture)
        assert scene.gesture == gesture
        appearance = scene.people[0].appearance
        assert f"{appearance.skin_name} skin" in scene.caption
        assert scene.background_name in scene.caption
        words, alone = GESTURES[gesture].words, GESTURES[gesture].words_alone
        assert (alone if frame == "hands" and alone else words) in scene.caption
        if gesture not in TWO_HANDED:
            (side,) = scene.gesture_sides
            assert f"{side} hand" in scene.caption
        assert frame == "selfie" or "lips" not in scene.caption
        if frame == "selfie":
            assert f"{appearance.top_name} top with {appearance.sleeves} sleeves" in scene.caption
            assert appearance.hair_style in scene.caption


def test_hands_meet_where_the_gesture_asks():
    holy, heart = (
        sample_scene(2, frame="selfie", size_hw=(48, 48), gesture=name).people[0].hands
        for name in ("holy", "hand_heart2")
    )
    assert np.linalg.norm(holy["left"].joints[12] - holy["right"].joints[12]) < 25
    assert np.linalg.norm(heart["left"].joints[8] - heart["right"].joints[8]) < 40
    assert heart["left"].joints[9, 0] > heart["right"].joints[9, 0]


def test_more_people_stand_beside_the_first():
    scene = sample_scene(5, frame="whole_body", size_hw=(96, 128), num_people=3)
    necks = [person.body[5:7].mean(axis=0)[0] for person in scene.people]
    assert len(necks) == 3
    assert min(abs(necks[0] - necks[1]), abs(necks[0] - necks[2]), abs(necks[1] - necks[2])) > 600
    assert "two other people" in scene.caption


def test_unknown_gestures_are_refused():
    with pytest.raises(UserError, match="waving"):
        sample_scene(0, frame="selfie", size_hw=(48, 48), gesture="waving")


@pytest.mark.parametrize("kind", ["plain", "gradient", "cluttered"])
def test_backgrounds_are_of_their_kind(kind):
    spread = []
    for seed in range(6):
        scene = sample_scene(seed, frame="selfie", size_hw=(64, 48), background=kind)
        assert scene.background_kind == kind
        assert scene.background.shape == (64, 48, 3)
        edges = np.abs(np.diff(scene.background.astype(int), axis=0)).mean()
        spread.append(edges)
    assert (np.mean(spread) > 3) == (kind == "cluttered")
