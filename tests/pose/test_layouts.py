import numpy as np

from h2d.pose.layouts import (
    BODY,
    BODY_BONES,
    ELBOWS,
    EYES,
    FACE,
    FACE468_TO_68,
    FEET,
    FLIP,
    FLIP_FACE68,
    HAND_BONES,
    HANDS,
    HIPS,
    NUM_HAND_POINTS,
    NUM_POINTS,
    PALM,
    POSE33_TO_BODY,
    POSE33_TO_FEET,
    SHOULDERS,
    WRISTS,
)

# MediaPipe's own names for the 33 points of its body.
LEFT_OF_33 = {2: 5, 7: 8, 11: 12, 13: 14, 15: 16, 23: 24, 25: 26, 27: 28, 29: 30, 31: 32}
SMALL_TOES = {18, 21}


def test_the_parts_tile_the_133_points():
    parts = [BODY, FEET, FACE, HANDS["left"], HANDS["right"]]
    assert [point for part in parts for point in range(part.start, part.stop)] == list(range(NUM_POINTS))
    assert [part.stop - part.start for part in parts] == [17, 6, 68, NUM_HAND_POINTS, NUM_HAND_POINTS]


def test_flipping_twice_is_the_identity_and_keeps_each_part():
    flip = np.array(FLIP)
    np.testing.assert_array_equal(flip[flip], np.arange(NUM_POINTS))
    for part in (BODY, FEET, FACE):
        assert sorted(flip[part]) == list(range(part.start, part.stop))
    np.testing.assert_array_equal(flip[HANDS["left"]], np.arange(NUM_POINTS)[HANDS["right"]])


def test_flipping_swaps_the_named_sides():
    for joint in (EYES, SHOULDERS, ELBOWS, WRISTS, HIPS):
        assert FLIP[joint["left"]] == joint["right"]


def test_the_tables_from_mediapipe_keep_left_and_right():
    partner = LEFT_OF_33 | {right: left for left, right in LEFT_OF_33.items()} | {0: 0}
    for point in range(17):
        assert POSE33_TO_BODY[FLIP[point]] == partner[POSE33_TO_BODY[point]]
    for point, source in POSE33_TO_FEET.items():
        assert POSE33_TO_FEET[FLIP[point]] == partner[source]


def test_feet_lack_their_small_toes_alone():
    assert set(range(FEET.start, FEET.stop)) - set(POSE33_TO_FEET) == SMALL_TOES


def test_the_face_takes_68_different_points():
    assert len(FACE468_TO_68) == len(FLIP_FACE68) == 68
    assert len(set(FACE468_TO_68)) == 68
    assert max(FACE468_TO_68) < 468


def test_hand_bones_make_a_tree_from_the_wrist():
    reached = {0}
    for start, end in HAND_BONES:
        assert start in reached
        assert end not in reached
        reached.add(end)
    assert reached == set(range(NUM_HAND_POINTS))
    assert set(PALM) <= reached


def test_body_bones_reach_every_point_and_look_the_same_mirrored():
    assert {point for bone in BODY_BONES for point in bone} == set(range(17))
    bones = {frozenset(bone) for bone in BODY_BONES}
    assert {frozenset(FLIP[point] for point in bone) for bone in BODY_BONES} == bones
