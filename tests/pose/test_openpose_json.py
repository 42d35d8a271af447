"""OpenPose's JSON: every dialect is read, what is written is read back, and what is wrong is one line."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from posed_people import pose_of, standing_person

from h2d.errors import UserError
from h2d.pose.layouts import BODY, FACE, FEET, HANDS, HIPS, SHOULDERS, SIDES, WRISTS
from h2d.pose.openpose_json import DIALECTS, format_pose, parse_pose, read_pose, write_pose
from h2d.pose.openpose_layouts import BODY_18, BODY_25, MID_HIP, NECK
from h2d.pose.points import missing_points, present

PARTS = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")


def document(dialect="webui") -> dict:
    """A person as JSON, free to be spoilt."""
    plain = format_pose(pose_of(standing_person()), dialect=dialect)
    return copy.deepcopy(plain[0] if dialect == "comfyui" else plain)


def without(points: np.ndarray, part: slice) -> np.ndarray:
    points = points.copy()
    points[part] = missing_points(part.stop - part.start)
    return points


def assert_same(pose, other):
    assert (pose.width, pose.height) == (other.width, other.height)
    np.testing.assert_allclose(pose.people, other.people, rtol=1e-5, atol=1e-3)


# What is written


@pytest.mark.parametrize("dialect", DIALECTS)
def test_written_and_read_is_the_same_pose(dialect, tmp_path):
    one, other = standing_person(), standing_person() * (0.5, 0.7, 1)
    if dialect != "openpose":  # BODY_18 has no feet
        one, other = without(one, FEET), without(other, FEET)
    pose = pose_of(one, other)
    write_pose(pose, tmp_path / "new" / "pose.json", dialect=dialect)
    again = read_pose(tmp_path / "new" / "pose.json", size_hw=pose.size_hw)
    assert again.pose_hash() == pose.pose_hash()


@settings(deadline=None, max_examples=60)
@given(
    xy=arrays.arrays(np.float32, (133, 2), elements=st.floats(3, 500, width=32)),
    there=arrays.arrays(np.bool_, 133),
    unsure=arrays.arrays(np.float32, 133, elements=st.floats(0.3125, 1, width=32)),
    dialect=st.sampled_from(sorted(DIALECTS)),
)
def test_any_pose_survives_every_dialect(xy, there, unsure, dialect):
    points = np.column_stack([xy, unsure if dialect == "openpose" else np.ones(133)]).astype(np.float32)
    points[~there] = (np.nan, np.nan, 0)
    points[0] = (250, 250, 1)
    if dialect != "openpose":
        points = without(points, FEET)
    pose = pose_of(points)
    again = parse_pose(format_pose(pose, dialect=dialect), name="pose", size_hw=pose.size_hw)
    assert again.pose_hash() == pose.pose_hash()


def test_web_ui_editors_get_all_that_they_read():
    written = document("webui")
    assert list(written) == ["people", "animals", "canvas_width", "canvas_height"]
    assert [len(written["people"][0][part]) for part in PARTS] == [54, 210, 63, 63]
    confidences = {value for part in PARTS for value in written["people"][0][part][2::3]}
    assert confidences == {1.0}


def test_parts_that_are_not_there_are_null_and_a_body_is_zeros():
    hand_alone = missing_points(133)
    hand_alone[HANDS["left"]] = standing_person()[HANDS["left"]]
    (person,) = format_pose(pose_of(hand_alone))["people"]
    assert person["pose_keypoints_2d"] == [0] * 54
    assert person["hand_right_keypoints_2d"] is None
    assert person["face_keypoints_2d"] is None
    assert len(person["hand_left_keypoints_2d"]) == 63


def test_comfyui_gets_a_list_and_openpose_its_own_form():
    assert isinstance(format_pose(pose_of(standing_person()), dialect="comfyui"), list)
    written = document("openpose")
    assert list(written) == ["version", "people"]
    assert len(written["people"][0]["pose_keypoints_2d"]) == 75


def test_neck_hips_and_pupils_are_made():
    points = standing_person()
    person = document("openpose")["people"][0]
    body = np.reshape(person["pose_keypoints_2d"], (25, 3))
    for place, pair in ((NECK, SHOULDERS), (MID_HIP, HIPS)):
        np.testing.assert_allclose(body[place, :2], points[list(pair.values()), :2].mean(axis=0))
    face = np.reshape(person["face_keypoints_2d"], (70, 3))
    np.testing.assert_allclose(face[68:, :2], points[[2, 1], :2])


def test_editors_get_no_point_that_no_skeleton_shows():
    points = standing_person()
    points[WRISTS["left"], 2] = 0.29
    points[HANDS["right"], 2] = 0.2
    (person,) = format_pose(pose_of(points))["people"]
    assert person["pose_keypoints_2d"][3 * 7 : 3 * 8] == [0, 0, 0]
    assert person["hand_right_keypoints_2d"] is None
    kept = parse_pose(format_pose(pose_of(points), dialect="openpose"), name="pose")
    np.testing.assert_allclose(kept.people[0, WRISTS["left"], 2], 0.29)
    points[:, 2] = 0.2
    with pytest.raises(UserError, match=r"^no point's confidence reaches 0\.3, the best is 0\.2"):
        format_pose(pose_of(points))


def test_an_unknown_dialect_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="unknown dialect 'gif' of pose files: choose one of webui, comfyui, openpose"):
        write_pose(pose_of(standing_person()), tmp_path / "pose.json", dialect="gif")
    with pytest.raises(UserError, match="cannot be written: Is a directory: give another --out"):
        write_pose(pose_of(standing_person()), tmp_path)


# What is read


def test_body_25_and_18_are_the_same_people():
    pose = pose_of(without(standing_person(), FEET))
    for dialect in DIALECTS:
        again = parse_pose(document(dialect), name="pose", size_hw=(512, 512))
        assert_same(pose_of(without(again.people[0], FEET)), pose)
    assert [BODY_25[place] for place in range(25) if place != MID_HIP][:18] == list(BODY_18)


@pytest.mark.parametrize("absent", [None, [], "absent"])
def test_parts_may_be_null_empty_or_absent(absent):
    for part in PARTS:
        spoilt = document()
        if absent == "absent":
            del spoilt["people"][0][part]
        else:
            spoilt["people"][0][part] = absent
        points = parse_pose(spoilt, name="pose").people[0]
        where = {"pose": BODY, "face": FACE, "hand_left": HANDS["left"], "hand_right": HANDS["right"]}
        for name, part_slice in where.items():
            assert present(points[part_slice]).any() == (not part.startswith(name))


def test_faces_of_68_and_70_points_are_one():
    spoilt = document()
    spoilt["people"][0]["face_keypoints_2d"] = spoilt["people"][0]["face_keypoints_2d"][: 3 * 68]
    assert parse_pose(spoilt, name="pose").pose_hash() == parse_pose(document(), name="pose").pose_hash()


def fractions_of(plain: dict, low: float = 0.0, pixels: float = 512) -> dict:
    for part in PARTS:
        points = np.reshape(plain["people"][0][part], (-1, 3))
        points[:, :2] = points[:, :2] / pixels * (1 - low) + low
        plain["people"][0][part] = points.ravel().tolist()
    return plain


def test_fractions_are_of_the_canvas():
    pose = parse_pose(document(), name="pose")
    assert_same(parse_pose(fractions_of(document()), name="pose"), pose)


def test_points_a_little_outside_the_canvas_are_fractions_still():
    plain = fractions_of(document())
    plain["people"][0]["pose_keypoints_2d"][0] = 1.04
    assert parse_pose(plain, name="pose").people[0, 0, 0] == pytest.approx(1.04 * 512)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_openposes_own_scales_span_the_outer_pixels(low):
    scaled = fractions_of(document("openpose"), low=low, pixels=511)
    again = parse_pose(scaled, name="pose", size_hw=(512, 512))
    assert_same(again, parse_pose(document("openpose"), name="pose", size_hw=(512, 512)))


def test_zeros_alone_do_not_make_fractions_of_pixels():
    plain = document()
    plain["people"][0]["pose_keypoints_2d"] = [0] * 54
    pose = parse_pose(plain, name="pose")
    np.testing.assert_allclose(pose.hand(0, "left"), standing_person()[HANDS["left"]])


def test_a_pose_without_canvas_gets_one_that_holds_it_or_the_one_given():
    guessed = parse_pose(document("openpose"), name="pose.json")
    assert (guessed.width, guessed.height, guessed.canvas_stated) == (384, 512, False)
    unsure = document("openpose")
    unsure["people"][0]["pose_keypoints_2d"][3 * 10 : 3 * 11] = [100, 9000, 0.2]
    assert parse_pose(unsure, name="pose.json").size_hw == guessed.size_hw, "points that count as missing"
    given_one = parse_pose(document("openpose"), name="pose.json", size_hw=(600, 700))
    assert (given_one.width, given_one.height, given_one.canvas_stated) == (700, 600, True)
    assert parse_pose(document(), name="pose", size_hw=(600, 700)).size_hw == (512, 512)


def test_confidences_count_from_above_nothing():
    plain = document("openpose")
    plain["people"][0]["pose_keypoints_2d"][2] = 0.01
    plain["people"][0]["hand_left_keypoints_2d"][2] = -1
    plain["people"][0]["hand_left_keypoints_2d"][5] = 1e-60
    plain["people"][0]["hand_left_keypoints_2d"][8] = 2
    pose = parse_pose(plain, name="pose")
    assert pose.people[0, 0, 2] == np.float32(0.01)
    np.testing.assert_array_equal(pose.hand(0, "left")[:3, 2], [0, 0, 1])


def test_old_names_triples_and_presets_of_hands_are_read():
    plain = document()
    (person,) = plain["people"]
    old = {part.removesuffix("_2d"): values for part, values in person.items()}
    expected = parse_pose(plain, name="pose")
    assert_same(parse_pose({**plain, "people": [old]}, name="pose"), expected)
    triples = {part: np.reshape(values, (-1, 3)).tolist() for part, values in person.items()}
    assert_same(parse_pose({**plain, "people": [triples]}, name="pose"), expected)
    preset = {f"{side}_hand": triples[f"hand_{side}_keypoints_2d"] for side in SIDES} | {"face": []}
    pose = parse_pose(preset, name="preset")
    assert list(pose.hands()) == [(0, "left"), (0, "right")]
    assert not present(pose.people[0, :91]).any()


@pytest.mark.parametrize("nested", [False, True])
def test_the_older_editors_pairs_are_read(nested):
    (person,) = document()["people"]
    pairs = np.reshape(person["pose_keypoints_2d"], (18, 3))[:, :2].tolist()
    keypoints = [pairs, pairs] if nested else pairs + pairs
    pose = parse_pose({"width": 512, "height": 512, "keypoints": keypoints}, name="pose")
    assert (pose.num_people, pose.size_hw) == (2, (512, 512))
    np.testing.assert_array_equal(pose.people[1, BODY], standing_person()[BODY])


@pytest.mark.parametrize(
    "key",
    [
        "pose_keypoints_3d",
        "hand_left_keypoints_3d",
        "foot_keypoints_2d",
        "body_keypoints_2d",
        "person_id",
        "hands",
        "id",
    ],
)
def test_what_other_tools_add_is_fine(key):
    plain = document()
    plain["people"][0][key] = [1, 2, 3]
    assert_same(parse_pose(plain, name="pose"), parse_pose(document(), name="pose"))


def test_a_slip_that_holds_nothing_does_no_harm():
    plain = document()
    plain["people"][0]["hand_rigth_keypoints_2d"] = []
    assert_same(parse_pose(plain, name="pose"), parse_pose(document(), name="pose"))


def test_one_of_several_frames_is_chosen():
    frames = [document(), document(), document()]
    frames[2]["canvas_width"] = 513
    assert parse_pose(frames, name="pose", frame=2).width == 513
    assert parse_pose(frames[:1], name="pose").width == 512


def test_people_without_a_point_are_left_out():
    plain = document()
    plain["people"] = [{}, *plain["people"], dict.fromkeys(PARTS), {PARTS[0]: [0] * 54}]
    assert parse_pose(plain, name="pose").num_people == 1


# What is wrong


def spoil(**changes) -> dict:
    plain = document()
    for key, value in changes.items():
        (plain["people"][0] if key in PARTS else plain)[key] = value
    return plain


WRONG = {
    "a number": (3, "3 where a pose should be: give an object"),
    "a text": ("pose", '"pose" where a pose should be'),
    "no frames": ([], "an empty list: give a pose of at least one person"),
    "null frame": ([None], "null where a pose should be"),
    "several frames": ([{}, {}], "a list of 2 poses: choose one with --frame 0 to 1"),
    "no people": ({"shapes": [], "version": 1}, 'no `people`; its keys are "shapes", "version"'),
    "nothing": ({}, "no `people`; its keys are none"),
    "animals": ({"version": "ap10k", "animals": [[1, 2, 1]]}, "no `people` (it has animals alone)"),
    "null people": (spoil(people=None), "people is null: give a list of persons"),
    "no person": (spoil(people=[]), "no person: `people` is empty"),
    "empty person": (spoil(people=[{}]), "no person has a point that is there"),
    "person is a list": (spoil(people=[[1, 2]]), "people[0] is a list of 2: give an object"),
    "zeros": ({"people": [{PARTS[0]: [0] * 54}]}, "no person has a point that is there"),
    "one-point hand": (
        spoil(hand_left_keypoints_2d=[5, 5, 1]),
        "people[0].hand_left_keypoints_2d has 3 numbers: give 63 (21 points)",
    ),
    "a slip": (
        spoil(people=[{PARTS[0]: [1] * 54, "hand_rigth_keypoints_2d": [1] * 63}]),
        'people[0]: "hand_rigth_keypoints_2d" is no part of a person: did you mean hand_right_keypoints_2d?',
    ),
    "another order": (
        spoil(people=[{"left_hand_keypoints_2d": [1] * 63}]),
        'people[0]: "left_hand_keypoints_2d" is no part of a person: did you mean hand_left_keypoints_2d?',
    ),
    "17 points": (spoil(pose_keypoints_2d=[1] * 51), "has 51 numbers: give 54 (18 points) or 75 (25 points)"),
    "NaN": (spoil(pose_keypoints_2d=[float("nan")] * 54), "people[0].pose_keypoints_2d[0] is NaN: give a number"),
    "infinite": (spoil(pose_keypoints_2d=[1, float("inf")] * 27), "[1] is Infinity: give a number"),
    "huge": (spoil(pose_keypoints_2d=[1, 1, 1e9] * 18), "[2] is 1000000000.0: give a number"),
    "null point": (spoil(hand_right_keypoints_2d=[None] * 63), "hand_right_keypoints_2d[0] is null: give a number"),
    "boolean": (spoil(hand_right_keypoints_2d=[True] * 63), "hand_right_keypoints_2d[0] is true: give a number"),
    "text part": (spoil(face_keypoints_2d="x" * 99), 'face_keypoints_2d is "xxx'),
    "canvas of nothing": (spoil(canvas_width=0), "canvas_width is 0: give 1 to 32768 pixels"),
    "canvas a text": (spoil(canvas_height="512"), 'canvas_height is "512"'),
    "half a canvas": (spoil(canvas_height=None), "one side of its canvas and no canvas_height"),
    "all outside": (
        spoil(canvas_width=40, canvas_height=40),
        "every point lies outside the canvas of 40 x 40: x 162 to 350, y 61 to 490",
    ),
    "fractions of nothing": (
        {"people": [{PARTS[0]: [0.5, 0.25, 1] * 18}]},
        "the coordinates, 0.25 to 0.5, are fractions of a canvas, and it names none: state it with --size",
    ),
    "pairs": ({"keypoints": [[1, 2]] * 17}, "keypoints is a list of 17: give x, y pairs, 18 for each person"),
    "half a pair": ({"keypoints": [[1, 2]] * 17 + [[1]]}, "keypoints[17] is a list of 1: give an x, y pair"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_with_name_value_and_remedy(case):
    data, message = WRONG[case]
    with pytest.raises(UserError) as raised:
        parse_pose(data, name="my/pose.json")
    assert str(raised.value).startswith("my/pose.json: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0", "make one of a photograph, or of a video's frame, with h2d pose extract"),
        (b'{"people": [', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not JSON"),
        (b'{"people": "\xff"}', "not text in UTF-8"),
    ],
)
def test_a_file_that_is_not_json_is_one_line(content, message, tmp_path):
    file = tmp_path / "pose.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read_pose(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: cannot be read: No such file"):
        read_pose(tmp_path / "none.json")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    file = tmp_path / "pose.json"
    file.write_text(json.dumps(document()), encoding="utf-8-sig")
    assert read_pose(file).num_people == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(value, path=()):
    """Where something can be spoilt in a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


PLACES = [path for path in places(document()) if path]
DELETED = object()


def put(inner, path, value):
    """Spoil one place, where an earlier change has left it there."""
    for key in path[:-1]:
        there = key in inner if isinstance(inner, dict) else isinstance(inner, list) and key in range(len(inner))
        if not there:
            return
        inner = inner[key]
    if isinstance(inner, dict) and value is DELETED:
        inner.pop(path[-1], None)
    elif isinstance(inner, dict) or (isinstance(inner, list) and path[-1] in range(len(inner))):
        inner[path[-1]] = None if value is DELETED else value


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PLACES), values | st.just(DELETED)), min_size=1, max_size=4))
@example([(("people", 0, "pose_keypoints_2d", 2), 1e-300)])
def test_a_spoilt_document_is_read_or_is_one_line(changes):
    plain = document()
    for path, value in changes:
        put(plain, path, value)
    check_reads_or_complains(plain)


@settings(deadline=None, max_examples=150)
@given(values | st.fixed_dictionaries({"people": st.lists(st.dictionaries(st.sampled_from(PARTS), values))}))
def test_any_json_is_read_or_is_one_line(data):
    check_reads_or_complains(data)


def check_reads_or_complains(data):
    complaint = None
    try:
        pose = parse_pose(json.loads(json.dumps(data)), name="pose.json")
    except UserError as error:
        complaint = str(error)
    if complaint is None:
        assert present(pose.people.reshape(-1, 3)).any()
        format_pose(pose, dialect="openpose")
    else:
        assert complaint.startswith("pose.json: ")
        assert "\n" not in complaint


SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "openpose-json"
REAL = {
    "openpose-1.2-body25": (1, (192, 128), False),
    "openpose-1.3-hands-face": (1, (960, 640), False),
    "openpose-1.3-three-people": (3, (512, 512), False),
    "webui-editor-output-pose": (1, (192, 128), False),
    "webui-editor-pose-hand-fixed": (1, (512, 768), True),
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no real samples at ../shared/data/openpose-json")
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_and_survive_every_dialect(name):
    pose = read_pose(SAMPLES / f"{name}.json")
    assert (pose.num_people, pose.size_hw, pose.canvas_stated) == REAL[name]
    for dialect in DIALECTS:
        again = parse_pose(format_pose(pose, dialect=dialect), name=name, size_hw=pose.size_hw)
        assert again.num_people == pose.num_people
        if dialect == "openpose":
            assert again.pose_hash() == pose.pose_hash()
