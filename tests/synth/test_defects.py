"""A hard set: exactly what is planted can be found, and everything else is as it was."""

import io
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_studio import STUDIO
from PIL import Image

from h2d.images import DecodeError, decode_rgb, load_rgb
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.hagrid import HagridSource
from h2d.registry import resolve
from h2d.synth.defects import DEFECTS
from h2d.synth.defects.base import Defect, assigned, edited, wished
from h2d.synth.defects.laion_human import MARKER
from h2d.synth.generate import generate
from h2d.synth.layouts import LAYOUTS
from h2d.synth.layouts.base import NO_WISH

FIELDS = ["kind", "name", "path", "split", "caught_by", "expect", "finding"]

DATASETS = [layout for layout in LAYOUTS if resolve(DEFECTS, layout, kind="layout")]


def draw(root, layout, flavour=None, *, hard=True, count=40, seed=3):
    generate(
        layout, root, count=count, seed=seed, size_px=96, flavour=flavour, hard=hard, studio=STUDIO, workers=1
    )  # fmt: skip
    return json.loads((root / "planted.json").read_text()) if hard else []


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    cache = {}

    def once(layout, flavour=None):
        if (layout, flavour) not in cache:
            root = tmp_path_factory.mktemp(layout)
            cache[layout, flavour] = (root, draw(root, layout, flavour))
        return cache[layout, flavour]

    return once


def opened(path):
    return Image.open(io.BytesIO(path.read_bytes()))


def named(planted, kind):
    return next(entry for entry in planted if entry["kind"] == kind)


@pytest.mark.parametrize("layout", DATASETS)
def test_every_kind_is_planted_once_and_listed(drawn, layout):
    _, planted = drawn(layout)
    flavour = resolve(LAYOUTS, layout, kind="layout").flavours[0]
    kinds = [
        defect.kind
        for defect in resolve(DEFECTS, layout, kind="layout")
        if not defect.flavours or flavour in defect.flavours
    ]
    assert Counter(entry["kind"] for entry in planted) == Counter(kinds)
    assert len(set(kinds)) == len(kinds)
    assert len({entry["name"] for entry in planted}) == len(planted)
    for entry in planted:
        assert list(entry) == FIELDS
        assert entry["caught_by"] in ("index", "read", "pose", "nothing")
        assert entry["expect"].endswith(".")


@pytest.mark.parametrize("flavour", ["v1", "2.0", "v2-1M"])
def test_the_hagrid_reader_finds_exactly_what_was_planted(drawn, flavour):
    root, planted = drawn("hagrid", flavour)
    found = list(HagridSource(root=root).records())
    findings = sorted((item.kind, item.split, item.name) for item in found if isinstance(item, Finding))
    expected = sorted(
        (entry["finding"]["kind"], entry["finding"]["split"], entry["finding"]["name"])
        for entry in planted
        if entry["finding"]
    )
    assert findings == expected
    assert {entry["kind"] for entry in planted if entry["finding"]} == {
        entry["kind"] for entry in planted if entry["caught_by"] == "index"
    }
    records = {item.path: item for item in found if isinstance(item, Record)}
    assert len(records) == 39  # one picture has no entry
    unreadable = set()
    for path in records:
        try:
            load_rgb(root / path)
        except DecodeError:
            unreadable.add(path)
    assert unreadable == {entry["path"] for entry in planted if entry["caught_by"] == "read"}
    assert len(records[named(planted, "no_hand_in_view")["path"]].boxes_xywh) == 0
    assert flavour == "v1" or records[named(planted, "duplicate_entry")["path"]].split == "train"


@pytest.mark.parametrize("layout", DATASETS)
def test_the_other_pictures_are_those_of_the_easy_set(drawn, tmp_path, layout):
    root, planted = drawn(layout)
    draw(tmp_path, layout, hard=False)
    pictures = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*g")}
    own = {entry["path"] for entry in planted} | {entry["path"].replace("/images/", "/masks/") for entry in planted}
    assert len(pictures - own) >= 15
    for path in pictures - own:
        assert (root / path).read_bytes() == (tmp_path / path).read_bytes()


def test_a_hard_set_has_the_same_defects_again(drawn, tmp_path):
    root, planted = drawn("hagrid")
    assert draw(tmp_path, "hagrid") == planted
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*g")} == {
        path.relative_to(root): path.read_bytes() for path in root.rglob("*.*g")
    }
    assert [entry["name"] for entry in draw(tmp_path / "other", "hagrid", seed=4)] != [e["name"] for e in planted]


def test_damaged_jpegs(drawn):
    root, planted = drawn("hagrid")
    assert (root / named(planted, "empty_picture")["path"]).read_bytes() == b""
    assert (root / named(planted, "web_page_as_picture")["path"]).read_bytes().startswith(b"<!DOCTYPE html>")
    with pytest.raises(DecodeError, match="truncated"):
        load_rgb(root / named(planted, "truncated_picture")["path"])
    turned = opened(root / named(planted, "exif_rotated")["path"])
    assert turned.getexif()[0x0112] == 6
    assert opened(root / named(planted, "cmyk_picture")["path"]).mode == "CMYK"
    assert opened(root / named(planted, "greyscale_picture")["path"]).mode == "L"
    for kind in ("exif_rotated", "cmyk_picture", "greyscale_picture"):
        assert decode_rgb((root / named(planted, kind)["path"]).read_bytes()).shape == (96, 96, 3)


def hagrid_entry(root, item, **changes):
    gesture, key = item["name"].split("/")
    file = root / "hagrid_annotations" / changes.get("split", item["split"]) / f"{gesture}.json"
    return json.loads(file.read_text())[key]


def test_oddities_of_hagrid_entries(drawn):
    root, planted = drawn("hagrid", "v2-1M")
    bare = hagrid_entry(root, named(planted, "bare_united_bbox"))
    assert len(bare["united_bbox"]) == 4
    assert all(isinstance(number, float) for number in bare["united_bbox"])
    assert hagrid_entry(root, named(planted, "united_bbox_of_nulls"))["united_bbox"] == [None]
    empty = hagrid_entry(root, named(planted, "empty_landmarks"))
    assert empty["hand_landmarks"] == [[]] * len(empty["bboxes"]) != []
    box = hagrid_entry(root, named(planted, "box_outside"))["bboxes"][0]
    assert box[0] + box[2] > 1.2
    assert hagrid_entry(root, named(planted, "box_without_area"))["bboxes"][0][2] == 0
    two = named(planted, "duplicate_entry")
    assert hagrid_entry(root, two, split="train") == hagrid_entry(root, two, split="test")
    assert len(hagrid_entry(root, named(planted, "two_people"))["labels"]) > 1


def interhand(root, split, part):
    return json.loads((root / "annotations" / split / f"InterHand2.6M_{split}_{part}.json").read_text())


def test_oddities_of_interhand(drawn):
    root, planted = drawn("interhand")

    def image_of(item):
        data = interhand(root, item["split"], "data")
        name = item["name"].split("/", 1)[1]
        return next((image for image in data["images"] if image["file_name"] == name), None)

    def joints_of(item):
        capture, frame = item["name"].split("/Capture")[1].split("/")[0], item["name"].split("/image")[1][:-4]
        return interhand(root, item["split"], "joint_3d")[capture][frame]

    swapped = named(planted, "wrong_size_in_json")
    image = image_of(swapped)
    assert load_rgb(root / swapped["path"]).shape[:2] == (image["width"], image["height"])
    missing = named(planted, "entry_without_picture")
    assert image_of(missing) is not None
    assert not (root / missing["path"]).exists()
    unlisted = named(planted, "picture_without_entry")
    assert image_of(unlisted) is None
    assert (root / unlisted["path"]).exists()
    one = joints_of(named(planted, "unannotated_hand"))
    assert one["hand_type"] == "right"
    assert np.ravel(one["joint_valid"]).tolist() == [True] * 21 + [False] * 21
    assert one["world_coord"][30] == [1.0, 1.0, 1.0]
    assert joints_of(named(planted, "invalid_wrist"))["joint_valid"][20] == [False]
    assert np.shape(joints_of(named(planted, "joints_as_in_v0"))) == (42, 3)


def test_oddities_of_laion_human(drawn):
    root, planted = drawn("laion-human")
    folder = root / "Aesthetics_Human"
    mapping = json.loads((folder / "mapping_file_training.json").read_text())
    links = {row["key"]: row for row in pq.read_table(folder / "images" / "00000.parquet").to_pylist()}
    dead = named(planted, "dead_link")
    assert dead["name"] in mapping
    assert not (root / dead["path"]).exists()
    assert links[dead["name"].split("_")[1]]["status"] == "failed_to_download"
    assert not (root / mapping[named(planted, "missing_pose")["name"]]["pose_path"]).exists()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(root / mapping[named(planted, "truncated_pose")["name"]]["pose_path"])
    nobody = np.load(root / mapping[named(planted, "pose_of_nobody")["name"]]["pose_path"], allow_pickle=True)["arr_0"]
    assert (nobody.shape, nobody.dtype) == ((0,), object)
    unlisted = named(planted, "picture_without_entry")
    assert unlisted["name"] not in mapping
    assert (root / unlisted["path"]).exists()
    elsewhere = named(planted, "listed_in_another_shard")["name"].split("_")[1]
    assert elsewhere not in links
    assert pq.read_table(folder / "images" / "00001.parquet")["key"].to_pylist() == [elsewhere]
    people = np.load(root / mapping[named(planted, "two_people")["name"]]["pose_path"], allow_pickle=True)["arr_0"]
    assert len(people) == 2


def test_the_malicious_pose_runs_for_the_careless_and_only_touches_a_file(drawn, tmp_path, monkeypatch):
    root, planted = drawn("laion-human")
    mapping = json.loads((root / "Aesthetics_Human" / "mapping_file_training.json").read_text())
    archive = root / mapping[named(planted, "malicious_pose")["name"]]["pose_path"]
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(archive) as file:
        member = io.BytesIO(file.read("arr_0.npy"))
    assert np.lib.format.read_magic(member) == (1, 0)
    assert not Path(MARKER).exists()
    np.load(archive, allow_pickle=True)["arr_0"]
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [(MARKER, 0)]


def test_oddities_of_reinterhand(drawn):
    root, planted = drawn("reinterhand")
    assert not (root / named(planted, "frame_without_picture")["path"]).exists()
    without = named(planted, "missing_mask")["path"]
    assert (root / without).exists()
    assert not (root / without.replace("/images/", "/masks/")).exists()
    small = named(planted, "mask_of_another_size")["path"]
    assert opened(root / small).width == 2 * opened(root / small.replace("/images/", "/masks/")).width - 1
    extra = named(planted, "camera_without_pictures")["path"].split("/")[0]
    assert "400049" in json.loads((root / extra / "Mugsy_cameras" / "cam_params.json").read_text())
    outside = named(planted, "mostly_outside")["path"]
    ratios = json.loads((root / outside.split("/images/")[0] / "truncation_ratio.json").read_text())
    assert ratios[Path(outside).stem] == 0.1
    one = named(planted, "keypoints_of_one_kind")["path"]
    frame, capture = int(Path(one).stem), root / one.split("/")[0]
    assert (capture / "keypoints_orig" / "keypoints_orig" / f"{frame}.json").exists()
    assert not (capture / "orig_fits" / "left" / "Keypoints" / f"keypoint-{frame:06d}.json").exists()


def test_each_hundred_pictures_begun_has_every_defect():
    defects = resolve(DEFECTS, "hagrid", kind="layout")
    wishing = [defect for defect in defects if defect.wish != NO_WISH]
    chosen = wished(defects, count=230, seed=0)
    assert Counter(defect.kind for defect in chosen.values()) == Counter({defect.kind: 3 for defect in wishing})
    assert wished(defects, count=230, seed=0) == chosen != wished(defects, count=230, seed=1)


def test_what_suits_no_picture_is_not_planted_and_said(tmp_path):
    defects = [defect for defect in resolve(DEFECTS, "hagrid", kind="layout") if defect.kind == "duplicate_entry"]
    assert assigned(defects, [{"split": "val"}] * 4, seed=0) == {}
    for _ in range(2):
        written = generate(
            "interhand", tmp_path, count=12, seed=0, size_px=64, hard=True, studio=STUDIO, workers=1
        )  # fmt: skip
        planted = [entry["kind"] for entry in json.loads((tmp_path / "planted.json").read_text())]
        assert len(planted) == written.num_planted
        kinds = {defect.kind for defect in resolve(DEFECTS, "interhand", kind="layout")}
        assert set(written.not_planted) == kinds - set(planted) != set()


def test_a_frame_s_defect_is_in_all_its_pictures_and_a_picture_has_its_own_beside():
    def mark(word):
        return lambda note: [{**note, "words": [*note["words"], word]}]

    def defect(kind, edit, **more):
        return Defect(kind=kind, expect="Read.", caught_by="nothing", edit=edit, **more)

    frame_wide, own = defect("f", mark("frame"), whole_frame=True), defect("o", mark("own"))
    notes = [{"frame": index // 2, "words": []} for index in range(6)]
    after = edited(notes, {0: frame_wide, 1: own, 2: own, 4: defect("d", lambda note: [])})
    assert [(note["frame"], note["words"]) for note in after] == [
        (0, ["frame"]), (0, ["frame", "own"]), (1, ["own"]), (1, []), (2, [])
    ]  # fmt: skip
    chosen = assigned([frame_wide] * 3, notes, seed=0)
    assert sorted(notes[index]["frame"] for index in chosen) == [0, 1, 2]
