import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2d.errors import UserError
from h2d.pipelines.sources.hagrid_entries import parse_entry, read_entries, version_of

BOX = [0.2, 0.3, 0.4, 0.2]
POINTS = [[0.3 + 0.01 * index, 0.4] for index in range(21)]


def entry(**changes):
    return {"bboxes": [BOX], "labels": ["call"], "user_id": "ann", "hand_landmarks": [POINTS], **changes}


def test_a_sound_entry_is_taken_whole():
    hands = parse_entry(entry())
    np.testing.assert_allclose(hands.boxes_xywh, [BOX], atol=1e-6)
    assert (hands.labels, hands.subject, hands.problems) == (("call",), "ann", ())
    np.testing.assert_allclose(hands.landmarks[0], POINTS, atol=1e-6)
    assert hands.boxes_xywh.dtype == hands.landmarks[0].dtype == np.float32


@pytest.mark.parametrize("united", [None, [None], [], [BOX], [BOX, BOX], BOX, "x", [math.nan]])
def test_united_boxes_of_any_shape_change_nothing(united):
    hands = parse_entry(entry(united_bbox=united, united_label=united))
    assert hands.problems == ()
    assert len(hands.boxes_xywh) == 1


@pytest.mark.parametrize("nothing", [None, [], [[]], [None]])
def test_missing_landmarks_are_none(nothing):
    hands = parse_entry(entry(hand_landmarks=nothing))
    assert hands.landmarks == (None,)
    assert hands.problems == (("lengths_differ",) if nothing == [] else ())


def test_v1_names_its_points_landmarks():
    v1 = {"bboxes": [BOX], "labels": ["call"], "landmarks": [POINTS], "leading_hand": "right"}
    assert parse_entry(v1).landmarks[0] is not None


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ([[x + 0.5, y] for x, y in POINTS], "landmarks_contradict_box"),
        (POINTS[:20], "malformed_landmarks"),
        ([[*point, 0.0] for point in POINTS], "malformed_landmarks"),
        ([*POINTS[:20], [math.nan, 0.4]], "malformed_landmarks"),
        ([*POINTS[:20], [None, 0.4]], "malformed_landmarks"),
        ([*POINTS[:19], [1e300, 0.4], [-1e300, 0.4]], "malformed_landmarks"),
        ([*POINTS[:20], [10**400, 0.4]], "malformed_landmarks"),
        ([*POINTS[:20], [0.4]], "malformed_landmarks"),
        ("points", "malformed_landmarks"),
        ({"0": 1}, "malformed_landmarks"),
    ],
)
def test_landmarks_not_to_be_trusted_are_left_out_by_name(points, problem):
    hands = parse_entry(entry(hand_landmarks=[points]))
    assert hands.landmarks == (None,)
    assert hands.problems == (problem,)
    assert len(hands.boxes_xywh) == 1


def test_single_points_may_lie_outside_the_picture():
    edge = [[-0.05 + 0.01 * index, 0.4] for index in range(21)]
    assert parse_entry(entry(bboxes=[[0.0, 0.3, 0.3, 0.2]], hand_landmarks=[edge])).landmarks[0][0, 0] < 0


@pytest.mark.parametrize(
    ("box", "clipped", "problems"),
    [
        ([-0.0005, 0.2, 0.3, 0.8005], [0, 0.2, 0.2995, 0.8], ()),
        ([-0.1, 0.2, 0.3, 0.9], [0, 0.2, 0.2, 0.8], ("box_outside",)),
        ([0.9, 0.2, 0.3, 0.3], [0.9, 0.2, 0.1, 0.3], ("box_outside",)),
        ([1.2, 0.2, 0.3, 0.3], None, ("box_outside", "box_without_area")),
        ([0.2, 0.2, 0.0, 0.3], None, ("box_without_area",)),
        ([0.2, 0.2, -0.1, 0.3], None, ("box_without_area",)),
        ([0.2, 0.2, math.nan, 0.3], None, ("malformed_box",)),
        ([0.2, 0.2, math.inf, 0.3], None, ("malformed_box",)),
        ([0.2, 0.2, 10**400, 0.3], None, ("malformed_box",)),
        ([0.2, 0.2, "0.1", 0.3], None, ("malformed_box",)),
        ([0.2, 0.2, 0.1], None, ("malformed_box",)),
        (None, None, ("malformed_box",)),
        (0.2, None, ("malformed_box",)),
    ],
)
def test_boxes_are_clipped_or_dropped_by_name(box, clipped, problems):
    hands = parse_entry(entry(bboxes=[box, BOX], labels=["bad", "call"], hand_landmarks=[[], POINTS]))
    expected = [BOX] if clipped is None else [clipped, BOX]
    np.testing.assert_allclose(hands.boxes_xywh, expected, atol=1e-6)
    assert hands.problems == problems
    assert hands.labels[-1] == "call"
    assert len(hands.labels) == len(hands.landmarks) == len(expected)
    assert hands.landmarks[-1] is not None


@pytest.mark.parametrize("labels", [[], ["call", "call"]])
def test_lists_of_different_lengths_are_a_finding(labels):
    hands = parse_entry(entry(labels=labels))
    assert hands.problems == ("lengths_differ",)
    assert hands.labels == ((labels or [""])[0],)


@pytest.mark.parametrize(
    "broken",
    [None, [], "x", 3, {}, {"bboxes": None}, {"bboxes": {}}, entry(labels=None), entry(labels=[3]), entry(user_id=[])],
)
def test_an_entry_of_another_shape_is_malformed(broken):
    assert parse_entry(broken).problems == ("malformed_entry",)


def test_a_picture_without_hands_has_no_boxes():
    hands = parse_entry(entry(bboxes=[], labels=[], hand_landmarks=[]))
    assert hands.boxes_xywh.shape == (0, 4)
    assert hands.problems == ()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner)
)
NUMBERS = st.floats() | st.integers() | st.floats(-0.2, 1.2)
BOXES = st.lists(st.lists(NUMBERS, min_size=4, max_size=4) | ANYTHING, max_size=3) | ANYTHING
NUMBER_PAIRS = st.lists(NUMBERS, min_size=2, max_size=2)
POINT_LISTS = st.builds(
    lambda pair, index: [*POINTS[:index], pair, *POINTS[index + 1 :]], NUMBER_PAIRS, st.integers(0, 20)
)
LANDMARKS = st.lists(POINT_LISTS | ANYTHING, max_size=3)


@settings(max_examples=100, deadline=None)
@given(BOXES, ANYTHING, LANDMARKS | ANYTHING, ANYTHING)
def test_whatever_the_entry_nothing_raises_and_boxes_stay_inside(bboxes, labels, landmarks, user):
    hands = parse_entry({"bboxes": bboxes, "labels": labels, "hand_landmarks": landmarks, "user_id": user})
    assert len(hands.boxes_xywh) == len(hands.labels) == len(hands.landmarks)
    assert (hands.boxes_xywh >= 0).all()
    assert (hands.boxes_xywh[:, :2] + hands.boxes_xywh[:, 2:] <= 1 + 1e-6).all()
    assert (hands.boxes_xywh[:, 2:] > 0).all()


@pytest.mark.parametrize(
    ("keys", "version"),
    [
        (("bboxes", "labels", "landmarks", "leading_conf", "leading_hand", "user_id"), "v1"),
        (("bboxes", "labels", "user_id"), "2.0"),
        (("bboxes", "labels", "united_bbox", "user_id", "meta"), "v2-1M"),
    ],
)
def test_the_version_shows_in_the_keys(keys, version):
    assert version_of({"a": None, "b": dict.fromkeys(keys)}) == version


def test_no_entry_no_version():
    assert version_of({}) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_a_broken_file_is_named_in_one_line(tmp_path, content):
    file = tmp_path / "call.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"call\.json.*unpack the annotations again") as error:
        read_entries(str(file))
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "call.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": {}}).encode())
    assert read_entries(str(tmp_path / "call.json")) == {"a": {}}
