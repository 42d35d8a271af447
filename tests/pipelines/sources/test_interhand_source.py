import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_studio import STUDIO

from h2d.errors import UserError
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.interhand import InterhandSource
from h2d.pipelines.sources.interhand_labels import read_entries
from h2d.pose.layouts import HANDS, SIDES
from h2d.pose.points import present
from h2d.registry import resolve
from h2d.synth.defects import DEFECTS
from h2d.synth.generate import generate
from h2d.synth.layouts.base import NO_WISH
from h2d.synth.layouts.interhand import InterhandLayout

MINI = Path(__file__).parents[4] / "shared" / "data" / "interhand-mini"
GOLDEN = {  # right and left: wrist and tip of the index finger
    "image69148": {"right": ((48.99, 241.67), (198.48, 215.46)), "left": ((193.29, 260.34), (114.50, 199.93))},
    "image44669": {"right": ((185.47, 228.06), (142.69, 113.13)), "left": ((266.01, 235.77), (159.40, 110.95))},
    "image29590": {"left": ((200.34, 200.63), (47.87, 133.97))},
    "image2017": {"right": ((175.53, 180.95), (237.54, 121.80))},
}


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    root = tmp_path_factory.mktemp("interhand")
    generate("interhand", root, count=40, seed=5, size_px=128, flavour=None, hard=False, studio=STUDIO, workers=1)
    return root


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    root = tmp_path_factory.mktemp("interhand-hard")
    generate("interhand", root, count=40, seed=3, size_px=96, flavour=None, hard=True, studio=STUDIO, workers=1)
    return root, json.loads((root / "planted.json").read_text())


def listed(root, **options):
    found = list(InterhandSource(root=root, **options).records())
    return [item for item in found if isinstance(item, Record)], [item for item in found if isinstance(item, Finding)]


def selected_ids(source, selection, shard_size):
    return [name for block in list_source(source, selection, shard_size).blocks() for name in block["id"].to_pylist()]


def test_what_is_drawn_comes_back_with_its_exact_labels(easy, tmp_path):
    records, findings = listed(easy)
    assert findings == []
    by_path = {record.path: record for record in records}
    layout = InterhandLayout(seed=5, count=40, size_px=128)
    drawn = []

    def render(scene):
        drawn.append(STUDIO.render(scene))
        return drawn[-1]

    studio = type(STUDIO)(sample=STUDIO.sample, render=render, setup=STUDIO.setup)
    for index in range(40):
        note = layout.draw(index, tmp_path, studio, NO_WISH)
        record, person = by_path[note["path"]], drawn[-1].people[0]
        assert set(record.hands) == {side for side in SIDES if person.hand_masks[side].any()}
        assert record.stated_size_hw == drawn[-1].picture.shape[:2]
        assert (record.split, record.gesture) == (note["split"], note["image"]["seq_name"].split("_", 1)[1])
        for side, points in record.hands.items():
            inside = present(person.points[HANDS[side]])
            assert np.abs(points[inside, :2] - person.points[HANDS[side]][inside, :2]).max() < 0.05
            assert present(points).all()
    assert len({record.id for record in records}) == len(records) == 40
    assert len({record.subject for record in records}) == len(
        {(record.split, record.id.split("/")[2]) for record in records}
    )


def test_a_capture_of_the_same_number_in_two_splits_is_two(easy):
    records, _ = listed(easy)
    assert len({record.id.split("/")[2] for record in records if "/Capture0/" in record.id}) == 1
    assert len({record.subject for record in records if "/Capture0/" in record.id}) == 3


def test_planted_defects_are_found_under_their_names_and_nothing_else_is(hard):
    root, planted = hard
    records, findings = listed(root)
    assert sorted((item.kind, item.split, item.name) for item in findings) == sorted(
        tuple(entry["finding"].values()) for entry in planted if entry["finding"]
    )
    assert {entry["kind"] for entry in planted} == {
        defect.kind for defect in resolve(DEFECTS, "interhand", kind="layout")
    }
    by_path = {record.path: record for record in records}

    def one(kind):
        return by_path[next(entry["path"] for entry in planted if entry["kind"] == kind)]

    assert set(one("unannotated_hand").hands) == {"right"}
    assert set(one("invalid_wrist").hands) == {"left"}
    assert one("joints_as_in_v0").hands
    height, width = one("wrong_size_in_json").stated_size_hw
    camera = one("wrong_size_in_json").id.split("/")[4]
    assert (height < width) == (camera != "cam410028")


def move_labels(root, folder):
    for split in ("train", "val", "test"):
        (root / "annotations" / folder).mkdir(exist_ok=True)
        for file in (root / "annotations" / split).glob("*.json"):
            file.rename(root / "annotations" / folder / file.name)


@pytest.mark.parametrize("folder", ["all", "human_annot", "machine_annot"])
def test_older_copies_have_their_labels_elsewhere(tmp_path, folder):
    generate("interhand", tmp_path, count=24, seed=5, size_px=64, flavour=None, hard=False, studio=STUDIO, workers=1)
    before = {record.id: record for record in listed(tmp_path)[0]}
    move_labels(tmp_path, folder)
    after = {record.id: record for record in listed(tmp_path)[0]}
    assert before.keys() == after.keys()
    assert f"annotations/{folder}" in InterhandSource(root=tmp_path).describe()


def edit(root, split, part, change):
    file = root / "annotations" / split / f"InterHand2.6M_{split}_{part}.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


@pytest.fixture
def own(tmp_path):
    generate("interhand", tmp_path, count=12, seed=5, size_px=64, flavour=None, hard=False, studio=STUDIO, workers=1)
    return tmp_path


def test_a_joint_invalid_in_the_picture_is_missing_and_one_outside_it_is_kept(own):
    def record():
        return next(record for record in listed(own, split="train")[0] if record.path == path)

    path = listed(own, split="train")[0][0].path
    (side, before), *_ = record().hands.items()
    joint = {"right": 0, "left": 21}[side] + 4  # the tip of the index finger: our point 8

    def invalid(values):
        values["annotations"][0]["joint_valid"][joint] = [0]

    edit(own, "train", "data", invalid)
    (_, after), *_ = record().hands.items()
    assert np.flatnonzero(~present(after)).tolist() == [8]

    def narrow(values):
        values["images"][0]["width"] = max(1, int(before[8, 0]) - 1)

    edit(own, "train", "data", narrow)
    (_, kept), *_ = record().hands.items()
    assert present(kept)[8]


def test_entries_whose_labels_are_missing_are_listed_without_hands_and_named(own):
    edit(own, "train", "joint_3d", lambda joints: joints.clear())
    records, findings = listed(own, split="train")
    assert {finding.kind for finding in findings} == {"entry_without_joints"}
    assert len(findings) == len(records)
    assert all(not record.hands for record in records)


def test_a_frame_without_coordinates_is_a_damaged_file(own):
    def rename(joints):
        for frames in joints.values():
            for frame in frames.values():
                frame["coord"] = frame.pop("world_coord")

    edit(own, "train", "joint_3d", rename)
    with pytest.raises(UserError, match=r"train_joint_3d\.json: damaged joints \(KeyError: 'world_coord'\)"):
        listed(own)


def test_a_folder_that_is_not_there_is_one_finding(own):
    def add(values):
        for number in range(5):
            extra = {**values["images"][0], "id": 900 + number, "frame_idx": number}
            values["images"].append(
                {**extra, "seq_name": "0000_gone", "file_name": f"Capture0/0000_gone/cam1/image{number}.jpg"}
            )

    edit(own, "train", "data", add)
    assert [(item.kind, item.name) for item in listed(own)[1]] == [
        ("folder_without_pictures", "train/Capture0/0000_gone/cam1")
    ]


@pytest.mark.parametrize("part", ["data", "camera", "joint_3d"])
def test_damaged_labels_are_one_line_that_names_the_file(own, part):
    file = own / "annotations" / "train" / f"InterHand2.6M_train_{part}.json"
    file.write_text(file.read_text()[:-40])
    with pytest.raises(UserError, match=rf"train_{part}\.json: damaged"):
        listed(own)


@pytest.mark.parametrize("count", [7, 20])
def test_a_sample_is_spread_over_splits_captures_sequences_and_cameras(easy, count):
    def ids(seed):
        source = InterhandSource(root=easy)
        return selected_ids(source, SelectionConfig(sample=count, seed=seed), 512)

    assert len(ids(1)) == count
    assert ids(1) == ids(1) != ids(2)
    everything = [record.id for record in listed(easy)[0]]
    for size in (2, 3, 4):  # parts of the id: split, capture, sequence
        whole = Counter(name.rsplit("/", 5 - size + 1)[0] for name in everything)
        drawn = Counter(name.rsplit("/", 5 - size + 1)[0] for name in ids(1))
        assert all(abs(drawn[group] - count * number / 40) < size - 0.5 for group, number in whole.items())


def test_the_first_ones_are_those_of_the_whole_list(easy):
    def ids(**selection):
        return selected_ids(InterhandSource(root=easy), SelectionConfig(**selection), 9)

    assert ids(limit=11) == ids()[:11]


def test_golden_pixels_of_real_frames():
    if not MINI.is_dir():
        pytest.skip(f"{MINI} is not here")
    records, findings = listed(MINI)
    assert findings == []
    assert len(records) == 4
    for record in records:
        golden = GOLDEN[record.id.rsplit("/", 1)[1]]
        assert set(record.hands) == set(golden)
        for side, points in golden.items():
            np.testing.assert_allclose(record.hands[side][[0, 8], :2], points, atol=0.01)


@pytest.mark.parametrize("path", ["../../../../secret/image1.jpg", "/etc/image1.jpg", "Capture0/../../../image1.jpg"])
def test_a_file_name_that_leads_out_of_the_dataset_is_refused(path, tmp_path):
    image = {"id": 1, "file_name": path, "frame_idx": 1, "capture": 0, "seq_name": "s", "camera": "1", "width": 9}
    file = tmp_path / "InterHand2.6M_train_data.json"
    file.write_text(json.dumps({"images": [image | {"height": 9}], "annotations": []}))
    with pytest.raises(UserError, match="leads out of the dataset") as error:
        read_entries(file)
    assert len(str(error.value).splitlines()) == 1
