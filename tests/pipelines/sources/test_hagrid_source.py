import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from h2d.config import validate_config
from h2d.errors import UserError
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.hagrid import HagridSource

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data"

V1 = {
    "bboxes": [[0.2, 0.3, 0.1, 0.1]],
    "labels": ["call"],
    "landmarks": [[]],
    "leading_conf": 1.0,
    "leading_hand": "left",
}
V2 = {"bboxes": [[0.2, 0.3, 0.1, 0.1]], "labels": ["call"]}
V2_1M = {**V2, "united_bbox": None, "united_label": None, "meta": {"age": [None]}, "hand_landmarks": [[]]}


def note(file, *ids, entry=V2_1M, **entries):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**{key: {**entry, "user_id": f"of-{key}"} for key in ids}, **entries}))


def snap(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / (name if "." in name else f"{name}.jpg")).write_bytes(b"x" * 7)


def listed(root, **choices):
    """(split, id) of the records, and (kind, split, name) of the findings."""
    found = list(HagridSource(root=root, **choices).records())
    records = [item for item in found if isinstance(item, Record)]
    assert len({record.id for record in records}) == len(records)
    for record in records:
        assert (root / record.path).stat().st_size == record.size_bytes
    findings = sorted((item.kind, item.split, item.name) for item in found if isinstance(item, Finding))
    return sorted((record.split, record.id) for record in records), findings


def pooled(root, images="hagrid_dataset", annotations="hagrid_annotations", entry=V2_1M):
    for gesture in ("call", "fist"):
        for split in ("train", "val", "test"):
            note(root / annotations / split / f"{gesture}.json", f"{split}-1", entry=entry)
            snap(root / images / gesture, f"{split}-1")


POOLED = [(split, f"hagrid/{gesture}/{split}-1") for split in ("test", "train", "val") for gesture in ("call", "fist")]


@pytest.mark.parametrize(
    "images", ["hagrid_dataset", "HaGRIDv2_dataset_512", "hagrid_512", "a/HaGRIDv2_dataset_512", "."]
)
@pytest.mark.parametrize("annotations", ["hagrid_annotations", "annotations", "annotations/annotations", "."])
def test_every_folder_of_version_two_is_found(tmp_path, images, annotations):
    pooled(tmp_path, images, annotations)
    assert listed(tmp_path) == (POOLED, [])
    assert listed(tmp_path, split="val", gestures=("fist",)) == ([("val", "hagrid/fist/val-1")], [])


@pytest.mark.parametrize(
    "train", ["train/{}", "train_val/{}", "train_val_{}", "train_val_{}/{}", "a/b/train_val_{}", "train/train/{}"]
)
@pytest.mark.parametrize(
    "notes", ["ann_train_val", "ann_train", "annotations/ann_train_val", "a/annotations/ann_train_val"]
)
def test_every_folder_of_version_one_is_found(tmp_path, train, notes):
    for gesture in ("call", "fist"):
        note(tmp_path / notes / f"{gesture}.json", "t-1", entry=V1)
        note(tmp_path / Path(notes).parent / "ann_test" / f"{gesture}.json", "e-1", entry=V1)
        snap(tmp_path / train.format(gesture, gesture), "t-1")
        snap(tmp_path / "test" / gesture, "e-1")
    records, findings = listed(tmp_path)
    assert records == [
        (s, f"hagrid/{g}/{s[1] if s == 'test' else 't'}-1") for s in ("test", "train") for g in ("call", "fist")
    ]
    assert findings == []
    assert listed(tmp_path, split="test")[0] == records[:2]
    assert HagridSource(root=tmp_path).describe().startswith("HaGRID v1 (folders ")


def test_pictures_and_annotations_may_lie_apart(tmp_path):
    pooled(tmp_path / "set", "../pictures", "../notes")
    (tmp_path / "set").mkdir(exist_ok=True)
    apart = {"images": tmp_path / "pictures", "annotations": tmp_path / "notes"}
    assert listed(tmp_path / "set", **apart) == (POOLED, [])
    assert listed(tmp_path, **apart) == (POOLED, [])
    one_split = {**apart, "annotations": tmp_path / "notes" / "val"}
    assert [split for split, _ in listed(tmp_path, **one_split)[0]] == ["val", "val"]


def test_ids_do_not_depend_on_the_layout(tmp_path):
    pooled(tmp_path / "a")
    pooled(tmp_path / "b", "HaGRIDv2_dataset_512", "annotations")
    assert listed(tmp_path / "a")[0] == listed(tmp_path / "b")[0]


def test_a_record_carries_what_the_entry_says(tmp_path):
    note(tmp_path / "annotations/train/call.json", "a")
    snap(tmp_path / "pictures/call", "a.PNG")
    (record,) = HagridSource(root=tmp_path).records()
    assert (record.id, record.path, record.size_bytes) == ("hagrid/call/a", "pictures/call/a.PNG", 7)
    assert (record.gesture, record.subject, record.box_labels, record.box_landmarks) == (
        "call",
        "of-a",
        ("call",),
        (None,),
    )
    np.testing.assert_allclose(record.boxes_xywh, V2["bboxes"], atol=1e-6)


@pytest.mark.parametrize("suffix", ["jpeg", "jpg", "jp2", "png", "tiff", "jfif", "bmp", "webp", "heic", "JPG"])
def test_every_official_extension_is_a_picture(tmp_path, suffix):
    note(tmp_path / "annotations/train/call.json", "a")
    snap(tmp_path / "pictures/call", f"a.{suffix}", "._a.jpg", "Thumbs.db")
    assert listed(tmp_path) == ([("train", "hagrid/call/a")], [])


@pytest.mark.parametrize(("in_json", "in_folder"), [("hand_heart2", "hands_heart2"), ("hands_heart2", "hand_heart2")])
def test_the_misspelt_gesture_is_the_same_gesture(tmp_path, in_json, in_folder):
    note(tmp_path / f"annotations/train/{in_json}.json", "a")
    snap(tmp_path / "pictures" / in_folder, "a")
    assert listed(tmp_path, gestures=("hands_heart2",)) == ([("train", "hagrid/hand_heart2/a")], [])


def test_a_gesture_that_nobody_knows_is_read_too(tmp_path):
    note(tmp_path / "annotations/train/wave.json", "a")
    snap(tmp_path / "pictures/wave", "a")
    snap(tmp_path / "pictures/shrug", "b")
    assert listed(tmp_path) == (
        [("train", "hagrid/wave/a")],
        [("gesture_without_annotations", "", "shrug"), ("picture_without_entry", "", "pictures/shrug/b.jpg")],
    )


def test_entries_and_pictures_without_the_other_are_named(tmp_path):
    pooled(tmp_path)
    snap(tmp_path / "hagrid_dataset/call", "stray")
    (tmp_path / "hagrid_dataset/call/val-1.jpg").unlink()
    records, findings = listed(tmp_path)
    assert len(records) == len(POOLED) - 1
    assert findings == [
        ("entry_without_picture", "val", "call/val-1"),
        ("picture_without_entry", "", "hagrid_dataset/call/stray.jpg"),
    ]
    assert listed(tmp_path, split="train")[1] == findings[1:]
    assert listed(tmp_path, gestures=("fist",))[1] == []


@pytest.mark.parametrize("target", ["gone.jpg", "val-1.jpg"])
def test_a_broken_link_is_no_picture(tmp_path, target):
    pooled(tmp_path)
    picture = tmp_path / "hagrid_dataset/call/val-1.jpg"
    picture.unlink()
    picture.symlink_to(target)
    assert listed(tmp_path)[1] == [("entry_without_picture", "val", "call/val-1")]


def test_a_gesture_not_downloaded_is_one_finding_a_file(tmp_path):
    pooled(tmp_path)
    for split in ("train", "test"):
        note(tmp_path / f"hagrid_annotations/{split}/like.json", *map(str, range(50)))
    note(tmp_path / "hagrid_annotations/val/like.json")
    (tmp_path / "hagrid_dataset/palm").mkdir()
    note(tmp_path / "hagrid_annotations/val/palm.json", "a", "b")
    assert listed(tmp_path)[1] == [
        ("gesture_without_pictures", "test", "like"),
        ("gesture_without_pictures", "train", "like"),
        ("gesture_without_pictures", "val", "palm"),
    ]


def test_pictures_without_annotations_are_still_named(tmp_path):
    pooled(tmp_path)
    snap(tmp_path / "hagrid_dataset/palm", "a", "b")
    assert listed(tmp_path)[1] == [
        ("gesture_without_annotations", "", "palm"),
        ("picture_without_entry", "", "hagrid_dataset/palm/a.jpg"),
        ("picture_without_entry", "", "hagrid_dataset/palm/b.jpg"),
    ]


def test_a_phase_without_annotations_is_named_and_one_not_chosen_is_not(tmp_path):
    note(tmp_path / "ann_test/call.json", "e")
    snap(tmp_path / "test/call", "e")
    snap(tmp_path / "train_val_call", "t")
    assert listed(tmp_path)[1] == [
        ("gesture_without_annotations", "train", "call"),
        ("picture_without_entry", "train", "train_val_call/t.jpg"),
    ]
    assert listed(tmp_path, split="test") == ([("test", "hagrid/call/e")], [])


def test_a_folder_named_for_a_split_covers_all_below_it(tmp_path):
    note(tmp_path / "ann_test/call.json", "e")
    snap(tmp_path / "test/call", "e")
    snap(tmp_path / "train/images/call", "stray")
    assert listed(tmp_path, split="test") == ([("test", "hagrid/call/e")], [])


def test_an_entry_in_two_splits_belongs_to_the_first(tmp_path):
    pooled(tmp_path)
    note(tmp_path / "hagrid_annotations/test/call.json", "test-1", "train-1", "val-1")
    assert listed(tmp_path) == (
        POOLED,
        [("duplicate_entry", "test", "call/train-1"), ("duplicate_entry", "test", "call/val-1")],
    )
    assert listed(tmp_path, split="test")[0] == POOLED[:2]


def test_the_first_split_that_has_the_picture_gets_the_entry(tmp_path):
    note(tmp_path / "ann_train_val/call.json", "a", "b")
    note(tmp_path / "ann_subsample/call.json", "a")
    snap(tmp_path / "subsample/call", "a")
    assert listed(tmp_path) == ([("train", "hagrid/call/a")], [("gesture_without_pictures", "train", "call")])


def test_a_subsample_asked_for_by_name_is_listed_whole(tmp_path):
    note(tmp_path / "ann_train_val/call.json", "a", "b")
    note(tmp_path / "ann_subsample/call.json", "a")
    snap(tmp_path / "train/call", "a", "b")
    snap(tmp_path / "subsample/call", "a")
    (record,) = HagridSource(root=tmp_path, split="subsample").records()
    assert (record.split, record.path) == ("train", "subsample/call/a.jpg")
    assert listed(tmp_path) == (
        [("train", "hagrid/call/a"), ("train", "hagrid/call/b")],
        [("duplicate_entry", "subsample", "call/a")],
    )


def test_two_pictures_of_one_entry_are_named(tmp_path):
    note(tmp_path / "annotations/train/call.json", "a")
    snap(tmp_path / "pictures/call", "a.jpg", "a.png")
    assert listed(tmp_path) == ([("train", "hagrid/call/a")], [("duplicate_picture", "", "pictures/call/a.png")])


def test_the_oddities_of_entries_become_findings(tmp_path):
    outside = {**V2_1M, "bboxes": [[0.9, 0.2, 0.5, 0.2]]}
    note(tmp_path / "annotations/train/call.json", a=None, b=outside, c=V2_1M)
    snap(tmp_path / "pictures/call", "a", "b", "c")
    records, findings = listed(tmp_path)
    assert len(records) == 3
    assert findings == [("box_outside", "train", "call/b"), ("malformed_entry", "train", "call/a")]


@pytest.mark.parametrize(("entry", "version"), [(V1, "v1"), (V2, "2.0"), (V2_1M, "v2-1M")])
def test_the_description_says_version_folders_gestures_and_splits(tmp_path, entry, version):
    pooled(tmp_path, "hagrid_dataset_512", entry=entry)
    note(tmp_path / "hagrid_annotations/train/fist.json")
    source = HagridSource(root=tmp_path)
    assert source.describe() == (
        f"HaGRID {version} (512 px folder hagrid_dataset_512), 2 gestures, splits train, val, test"
    )
    assert HagridSource(root=tmp_path, split="val", gestures=("call",)).describe().endswith(", 1 gesture, split val")


def refusal(root, **choices):
    source = HagridSource(root=root, **choices)
    with pytest.raises(UserError) as error:
        list(source.records())
    with pytest.raises(UserError):
        source.describe()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_the_user_got_wrong_is_said_with_the_remedy(tmp_path):
    assert "no such folder" in refusal(tmp_path / "gone")
    assert "no HaGRID annotations: looked for train/" in refusal(tmp_path)
    pooled(tmp_path)
    assert "no gesture wave: choose from call, fist" in refusal(tmp_path, gestures=("call", "wave"))
    assert "split 'valid': choose from train, val, test" in refusal(tmp_path, split="valid")
    assert "split 'subsample': choose from train, val, test" in refusal(tmp_path, split="subsample")
    (tmp_path / "empty").mkdir()
    assert "no HaGRID pictures: looked for folders named call, fist" in refusal(tmp_path, images=tmp_path / "empty")
    note(tmp_path / "hagrid_annotations/train/like.json", "a")
    assert "no picture folder for like in train" in refusal(tmp_path, split="train", gestures=("like",))
    (tmp_path / "hagrid_annotations/train/call.json").write_text("{")
    with pytest.raises(UserError, match=r"train/call\.json: not valid JSON"):
        list(HagridSource(root=tmp_path).records())


def test_two_copies_of_the_pictures_must_be_chosen_between(tmp_path):
    pooled(tmp_path)
    pooled(tmp_path, "hagrid_dataset_512")
    assert "gesture 'call' is there twice" in refusal(tmp_path)
    assert listed(tmp_path, images=tmp_path / "hagrid_dataset_512") == (POOLED, [])


def test_links_to_a_folder_that_is_listed_anyway_do_no_harm(tmp_path):
    pooled(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "hagrid_dataset")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [record for _, record in listed(tmp_path)[0]] == [record for _, record in POOLED]


def test_options_are_checked_and_ready_for_json(tmp_path):
    choices = {"root": tmp_path, "split": "train_val", "gestures": ["like", "call"]}
    source = validate_config(HagridSource, choices, where="hagrid options")
    assert json.loads(json.dumps(source.options())) == {"split": "train", "gestures": ["call", "like"]}
    with pytest.raises(UserError, match="gesture"):
        validate_config(HagridSource, {**choices, "gesture": "call"}, where="hagrid options")


def test_the_real_sample_is_listed_whole():
    root = SAMPLES / "hagrid-mini"
    if not root.is_dir():
        pytest.skip(f"no sample data at {root}")
    records, findings = listed(root)
    assert Counter(split for split, _ in records) == {"train": 16, "val": 3, "test": 2}
    assert {kind for kind, _, _ in findings} <= {"landmarks_contradict_box"}
    assert HagridSource(root=root).describe() == (
        "HaGRID v2-1M (folder hagrid_dataset), 4 gestures, splits train, val, test"
    )


def test_real_annotations_of_version_one_are_read(tmp_path):
    annotations = SAMPLES / "hagrid-v1-annotations"
    if not annotations.is_dir():
        pytest.skip(f"no sample data at {annotations}")
    for file in (annotations / "ann_subsample").glob("*.json"):
        snap(tmp_path / "subsample" / file.stem, *json.loads(file.read_text()))
    source = HagridSource(root=tmp_path, annotations=annotations)
    found = list(source.records())
    records = [item for item in found if isinstance(item, Record)]
    assert Counter(len(record.boxes_xywh) for record in records) == {1: 238, 2: 162}
    assert {item.kind for item in found if isinstance(item, Finding)} <= {"landmarks_contradict_box", "box_outside"}
    assert sum(points is not None for record in records for points in record.box_landmarks) > 300
    assert source.describe() == "HaGRID v1 (folder subsample), 4 gestures, split subsample"
