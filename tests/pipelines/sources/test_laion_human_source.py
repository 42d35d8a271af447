"""LAION-Human's reader: every label comes back, every planted defect is found under its name and nothing else."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from h2d.errors import UserError
from h2d.images import DecodeError, load_rgb
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.laion_human import LaionHumanSource
from h2d.pipelines.sources.laion_human_poses import PoseFileError, read_people
from h2d.synth.generate import generate
from h2d.synth.layouts.base import scene_seed
from h2d.synth.layouts.pose_npz import people_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "synth"))
from fake_studio import STUDIO


def listed(root, **choices):
    found = list(LaionHumanSource(root=root, **choices).records())
    return [item for item in found if isinstance(item, Record)], [item for item in found if isinstance(item, Finding)]


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    root = tmp_path_factory.mktemp("easy")
    generate("laion-human", root, count=120, seed=1, size_px=64, studio=STUDIO, workers=1)
    return root


@pytest.fixture
def copy(easy, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(easy, root)
    return root


def mapping_of(root):
    return json.loads((root / "Aesthetics_Human" / "mapping_file_training.json").read_text())


def write_mapping(root, mapping):
    (root / "Aesthetics_Human" / "mapping_file_training.json").write_text(
        mapping if isinstance(mapping, str) else json.dumps(mapping)
    )


def test_every_label_comes_back_exactly(easy):
    records, findings = listed(easy)
    assert findings == []
    mapping = mapping_of(easy)
    assert [record.id for record in records] == [f"laion-human/{name}" for name in mapping]
    for index, record in enumerate(records):
        entry = mapping[record.id.removeprefix("laion-human/")]
        assert (record.path, record.pose_path, record.split) == (entry["img_path"], entry["pose_path"], "train")
        assert record.original_caption == entry["prompt"]
        assert record.size_bytes == (easy / record.path).stat().st_size
        if index % 10 == 0:
            size_hw = load_rgb(easy / record.path).shape[:2]
            scene = STUDIO.sample(scene_seed(1, index, 2), frame="whole_body", size_hw=size_hw, num_people=1)
            (person,), (expected,) = read_people(easy / record.pose_path), people_of(STUDIO.render(scene))
            np.testing.assert_array_equal(person.keypoints, expected["keypoints"])
            assert (person.score, person.area) == (expected["score"], expected["area"])


def test_what_is_planted_is_found_by_name_and_nothing_else(tmp_path):
    generate("laion-human", tmp_path, count=40, seed=3, size_px=96, hard=True, studio=STUDIO, workers=1)
    planted = json.loads((tmp_path / "planted.json").read_text())
    records, findings = listed(tmp_path)
    expected = [tuple(entry["finding"].values()) for entry in planted if entry["finding"]]
    assert sorted((item.kind, item.split, item.name) for item in findings) == sorted(expected)
    assert {entry["kind"] for entry in planted if entry["finding"]} == {
        entry["kind"] for entry in planted if entry["caught_by"] == "index"
    }
    assert len(records) == 40 - len(findings)
    unreadable = set()
    for record in records:
        try:
            load_rgb(tmp_path / record.path)
            read_people(tmp_path / record.pose_path)
        except (DecodeError, PoseFileError):
            unreadable.add(record.path)
    assert unreadable == {entry["path"] for entry in planted if entry["caught_by"] == "read"}


def test_the_folder_is_found_from_above_and_from_within(easy, tmp_path):
    (tmp_path / "humansd_data" / "datasets").mkdir(parents=True)
    (tmp_path / "humansd_data" / "datasets" / "Laion").symlink_to(easy)
    ids = {record.id: record.size_bytes for record in listed(easy)[0]}
    for root in (
        easy / "Aesthetics_Human",
        tmp_path,
        tmp_path / "humansd_data",
        tmp_path / "humansd_data" / "datasets",
        tmp_path / "humansd_data" / "datasets" / "Laion",
    ):
        records, findings = listed(root)
        assert findings == []
        assert {record.id: record.size_bytes for record in records} == ids
        assert all((root / record.path).is_file() and (root / record.pose_path).is_file() for record in records)


def test_leading_parts_of_the_mappings_paths_may_differ(copy):
    mapping = mapping_of(copy)
    for number, entry in enumerate(mapping.values()):
        for key in ("img_path", "pose_path"):
            entry[key] = ("/data/x/", "Laion/", "./")[number % 3] + entry[key]
    write_mapping(copy, mapping)
    records, findings = listed(copy)
    assert (len(records), findings) == (120, [])
    assert all((copy / record.path).is_file() for record in records)


def test_a_picture_in_the_shard_that_the_other_page_names(copy):
    mapping = mapping_of(copy)
    name = next(name for name in mapping if name.startswith("00001"))
    source = copy / mapping[name]["img_path"]
    target = source.parents[1] / "00000" / source.name
    source.rename(target)
    records, findings = listed(copy)
    assert findings == []
    assert {record.path for record in records if record.id.endswith(name)} == {str(target.relative_to(copy))}


@pytest.mark.parametrize("path", ["../secret/00000/000000000.jpg", "/etc/passwd", "a.jpg", "", "x/../../y/z.jpg"])
def test_a_path_that_leads_out_of_the_dataset_is_no_picture(copy, path):
    (copy.parent / "secret" / "00000").mkdir(parents=True)
    (copy.parent / "secret" / "00000" / "000000000.jpg").write_bytes(b"x")
    mapping = mapping_of(copy)
    name = next(iter(mapping))
    mapping[name]["img_path"] = path
    write_mapping(copy, mapping)
    records, findings = listed(copy)
    assert len(records) == 119
    assert Counter(item.kind for item in findings)["picture_without_entry"] == 1
    assert len(findings) == 2


def test_a_link_out_of_the_pictures_is_no_picture(copy):
    file = copy / next(record.path for record in listed(copy)[0])
    secret = copy.parent / "secret.jpg"
    file.rename(secret)
    file.symlink_to(secret)
    records, findings = listed(copy)
    assert len(records) == 119
    assert Counter(item.kind for item in findings)["picture_without_entry"] == 1


def test_the_pictures_may_all_lie_elsewhere(copy):
    """Users link big folders to where there is room; only links within these are a stranger's."""
    images = copy / "Aesthetics_Human" / "images"
    images.rename(copy.parent / "elsewhere")
    images.symlink_to(copy.parent / "elsewhere")
    assert len(listed(copy)[0]) == 120


def test_a_picture_never_downloaded_is_told_from_one_nobody_links_to(copy):
    mapping = mapping_of(copy)
    one, other = list(mapping)[:2]
    for name in (one, other):
        (copy / mapping[name]["img_path"]).unlink()
    lists = copy / "Aesthetics_Human" / "images" / "00000.parquet"
    rows = pq.read_table(lists).to_pylist()
    kept = [{"key": row["key"], "url": row["url"]} for row in rows if row["key"] != other.split("_")[1]]
    pq.write_table(pa.Table.from_pylist(kept), lists)  # nothing but url and key is needed
    assert {(item.kind, item.name) for item in listed(copy)[1]} == {
        ("picture_not_downloaded", one),
        ("entry_without_picture", other),
    }
    assert LaionHumanSource(root=copy).describe().startswith("LAION-Human (mapping_file_training.json, 119 links in 2")
    for file in (copy / "Aesthetics_Human" / "images").glob("*.parquet"):
        file.unlink()
    assert {item.kind for item in listed(copy)[1]} == {"entry_without_picture"}


def test_odd_entries_are_findings(copy):
    mapping = mapping_of(copy)
    names = list(mapping)
    mapping[names[0]] = None
    mapping[names[1]] = {"img_path": 3, "pose_path": "x"}
    mapping[names[2]]["prompt"] = None
    text = json.dumps(mapping)
    write_mapping(copy, text[:-1] + f', "{names[3]}": ' + json.dumps(mapping[names[3]]) + "}")
    records, findings = listed(copy)
    kinds = Counter(item.kind for item in findings)
    assert kinds == {"malformed_entry": 2, "picture_without_entry": 2, "duplicate_entry": 1}
    assert next(record for record in records if record.id.endswith(names[2])).original_caption is None


def test_what_the_user_got_wrong_is_said(copy, tmp_path):
    with pytest.raises(UserError, match=r"no mapping_file_training.json here or in Aesthetics_Human"):
        LaionHumanSource(root=tmp_path / "nothing").describe()
    with pytest.raises(UserError, match=r"gone.json: no such file"):
        LaionHumanSource(root=copy, mapping=tmp_path / "gone.json").describe()
    other = tmp_path / "mapping_train.json"
    other.write_text(json.dumps(mapping_of(copy)))
    assert len(listed(copy, mapping=other)[0]) == 120
    write_mapping(copy, json.dumps(mapping_of(copy))[:-30])
    with pytest.raises(UserError, match=r"mapping_file_training.json: not valid JSON"):
        listed(copy)
    (copy / "Aesthetics_Human" / "images" / "00000.parquet").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"00000.parquet: no list of links"):
        LaionHumanSource(root=copy).describe()
