"""HaGRID's files as its documentation has them, and as our reader reads them."""

import json
import re
import uuid

import numpy as np
import pytest
from fake_studio import STUDIO, TWO_HANDED, studio_that_keeps

from h2d.images import load_rgb
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.hagrid import HagridSource
from h2d.synth.generate import generate
from h2d.synth.layouts.base import NO_WISH, Wish
from h2d.synth.layouts.hagrid import CLASSES_V1, CLASSES_V2_1M, HagridLayout

COUNT = 37
KEYS = {
    "v1": ["bboxes", "labels", "landmarks", "leading_conf", "leading_hand", "user_id"],
    "2.0": ["bboxes", "labels", "user_id"],
    "v2-1M": ["bboxes", "labels", "united_bbox", "united_label", "user_id", "hand_landmarks", "meta"],
}
SPLITS = {"v1": ("train", "test"), "2.0": ("train", "val", "test"), "v2-1M": ("train", "val", "test")}


@pytest.fixture(scope="module", params=KEYS)
def drawn(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("hagrid")
    generate("hagrid", root, count=COUNT, seed=2, size_px=96, flavour=request.param, studio=STUDIO, workers=1)
    return request.param, root


def entries(flavour, root):
    for split in SPLITS[flavour]:
        folder = root / (f"ann_{split}" if flavour == "v1" else f"hagrid_annotations/{split}")
        for file in sorted(folder.iterdir()):
            for key, entry in json.loads(file.read_text()).items():
                yield split, file.stem, key, entry


def test_every_split_has_a_file_for_every_gesture(drawn):
    flavour, root = drawn
    classes = CLASSES_V2_1M if flavour == "v2-1M" else CLASSES_V1
    assert (len(CLASSES_V1), len(CLASSES_V2_1M)) == (18, 34)
    for split in SPLITS[flavour]:
        folder = root / (f"ann_{split}" if flavour == "v1" else f"hagrid_annotations/{split}")
        assert {file.name for file in folder.iterdir()} == {f"{name}.json" for name in classes}
    gestures = [gesture for _, gesture, _, _ in entries(flavour, root)]
    assert set(gestures) == set(classes)
    assert max(gestures.count(name) for name in classes) - min(gestures.count(name) for name in classes) <= 1


def test_pictures_lie_where_the_entries_say(drawn):
    flavour, root = drawn
    listed = {
        f"{split if flavour == 'v1' else 'hagrid_dataset'}/{gesture}/{key}.jpg"
        for split, gesture, key, _ in entries(flavour, root)
    }
    assert listed == {path.relative_to(root).as_posix() for path in root.rglob("*.jpg")}
    assert len(listed) == COUNT
    for path in sorted(listed)[:4]:
        assert load_rgb(root / path).shape == (96, 96, 3)
        name = path.split("/")[-1].removesuffix(".jpg")
        assert str(uuid.UUID(name)) == name
        assert uuid.UUID(name).version == 4


def test_an_entry_has_the_fields_of_its_version(drawn):
    flavour, root = drawn
    users = []
    for _, gesture, _, entry in entries(flavour, root):
        assert list(entry) == KEYS[flavour]
        assert len(entry["bboxes"]) == len(entry["labels"]) >= 1
        assert set(entry["labels"]) <= {gesture, "no_gesture"}
        for box in entry["bboxes"]:
            assert len(box) == 4
            assert all(isinstance(number, float) and 0 <= number <= 1 for number in box)
            assert all(len(repr(number).split(".")[1]) <= (10 if flavour == "v2-1M" else 8) for number in box)
            assert box[0] + box[2] <= 1 + 1e-7
            assert box[1] + box[3] <= 1 + 1e-7
        assert re.fullmatch("[0-9a-f]{32}", entry["user_id"])
        users.append(entry["user_id"])
        for points in entry.get("landmarks", entry.get("hand_landmarks", [])):
            assert np.asarray(points).shape in ((0,), (21, 2))
    assert len(set(users)) == COUNT


def test_what_only_one_version_says(drawn):
    flavour, root = drawn
    for _, gesture, _, entry in entries(flavour, root):
        if flavour == "v1":
            assert entry["leading_hand"] in ("left", "right")
            assert entry["leading_conf"] == 1.0
        if flavour == "v2-1M":
            assert entry["meta"] == {"age": [None], "gender": [None], "race": [None]}
            two = entry["labels"].count(gesture) == 2 and gesture in TWO_HANDED
            assert (entry["united_bbox"] is None) == (entry["united_label"] is None) == (not two)
            if two:
                (union,) = entry["united_bbox"]
                boxes = np.array(
                    [box for box, label in zip(entry["bboxes"], entry["labels"], strict=True) if label == gesture]
                )
                assert union[:2] == pytest.approx(boxes[:, :2].min(axis=0).tolist())
                far = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
                assert [union[0] + union[2], union[1] + union[3]] == pytest.approx(far.tolist())
                assert entry["united_label"] == [gesture]
    if flavour == "v2-1M":
        united = {gesture for _, gesture, _, entry in entries(flavour, root) if entry["united_bbox"] is not None}
        assert united == TWO_HANDED


def test_boxes_and_landmarks_are_those_of_the_drawing(tmp_path):
    note = HagridLayout(seed=5, count=1, size_px=128).draw(4, tmp_path, STUDIO, NO_WISH)
    drawn = []
    HagridLayout(seed=5, count=1, size_px=128).draw(4, tmp_path, studio_that_keeps(drawn), NO_WISH)
    ((scene, _),) = drawn
    (side,) = scene.gesture_sides
    points = np.array(note["entry"]["hand_landmarks"][0])
    truth = scene.camera.project(scene.people[0].hands[side].joints)[:, :2] / 128
    np.testing.assert_allclose(points, truth, atol=1e-9)
    left, top, width, height = note["entry"]["bboxes"][0]
    inside = ((truth >= 0) & (truth <= 1)).all(axis=1)
    assert (truth[inside] >= np.array([left, top]) - 1e-9).all()
    assert (truth[inside] <= np.array([left + width, top + height]) + 1e-9).all()
    mask = STUDIO.render(scene).people[0].hand_masks[side]
    rows, columns = np.nonzero(mask)
    assert left * 128 <= columns.min() + 1e-6
    assert columns.max() + 1 <= (left + width) * 128 + 1e-6
    assert top * 128 <= rows.min() + 1e-6


def test_the_reader_finds_nothing_wrong(drawn):
    flavour, root = drawn
    source = HagridSource(root=root)
    found = list(source.records())
    assert [item for item in found if isinstance(item, Finding)] == []
    records = [item for item in found if isinstance(item, Record)]
    assert len(records) == COUNT
    assert {record.split for record in records} == set(SPLITS[flavour])
    assert all(record.boxes_xywh.shape == (len(record.box_labels), 4) for record in records)
    assert source.describe().startswith(f"HaGRID {flavour} (")
    if flavour != "2.0":
        assert sum(points is not None for record in records for points in record.box_landmarks) >= COUNT


def test_splits_have_about_the_dataset_s_shares():
    layout = HagridLayout(seed=0, count=1)
    assert layout.splits == ("train", "val", "test")
    assert HagridLayout(seed=0, count=1, flavour="v1").splits == ("train", "test")


def test_no_hand_in_view_leaves_no_box(tmp_path):
    for index in range(6):
        note = HagridLayout(seed=0, count=9, size_px=96).draw(index, tmp_path, STUDIO, Wish(hands_in_view=False))
        assert note["entry"]["bboxes"] == note["entry"]["labels"] == note["entry"]["hand_landmarks"] == []


def test_another_person_s_hands_make_no_gesture(tmp_path):
    note = HagridLayout(seed=0, count=9, size_px=192).draw(4, tmp_path, STUDIO, Wish(num_people=2))
    assert note["entry"]["labels"].count("call") == 1
    assert len(note["entry"]["labels"]) > 2
