"""LAION-Human's files: lists of links, the mapping, and pose archives of the published pickle."""

import io
import json
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_studio import STUDIO

from h2d.images import load_rgb
from h2d.synth.generate import generate
from h2d.synth.layouts.base import NO_WISH, Wish, scene_seed
from h2d.synth.layouts.laion_human import LaionHumanLayout
from h2d.synth.layouts.pose_npz import encode_poses, people_of

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "laion-human" / "demo.npz"
COUNT = 120


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("laion")
    generate("laion-human", out, count=COUNT, seed=1, size_px=64, studio=STUDIO, workers=1)
    return out / "Aesthetics_Human"


def test_pictures_lie_by_shard_and_key(root):
    mapping = json.loads((root / "mapping_file_training.json").read_text())
    assert len(mapping) == COUNT
    for name, entry in mapping.items():
        shard, key = name.split("_")
        assert (len(shard), len(key), int(shard)) == (5, 9, int(key) // 10000)
        assert list(entry) == ["img_path", "pose_path", "prompt"]
        assert entry["img_path"] == f"Aesthetics_Human/images/{shard}/{key}.jpg"
        assert entry["pose_path"] == f"Aesthetics_Human/pose/{shard}/{key}.npz"
        assert (root.parent / entry["img_path"]).is_file()
        assert (root.parent / entry["pose_path"]).is_file()
        assert entry["prompt"]
    shapes = {load_rgb(path).shape[:2] for path in sorted((root / "images" / "00000").iterdir())[:8]}
    assert len(shapes) == 4


def test_links_stand_in_the_parquet_of_their_shard(root):
    rows = []
    for file in sorted((root / "images").glob("*.parquet")):
        table = pq.read_table(file)
        assert table.column_names[:3] == ["url", "caption", "key"]
        rows += table.to_pylist()
        assert {int(row["key"]) // 10000 for row in table.to_pylist()} == {int(file.stem)}
    mapping = json.loads((root / "mapping_file_training.json").read_text())
    assert {row["key"] for row in rows} == {name.split("_")[1] for name in mapping}
    assert [file.name for file in sorted((root / "images").glob("*.parquet"))] == ["00000.parquet", "00001.parquet"]
    assert all(row["url"].startswith("https://pictures.invalid/") for row in rows)


def opcodes(archive):
    """Names of pickle operations and globals, without the values."""
    with zipfile.ZipFile(archive) as file:
        (member,) = file.infolist()
        data = io.BytesIO(file.read(member))
    assert (member.filename, member.compress_type, member.date_time) == (
        "arr_0.npy", zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0)
    )  # fmt: skip
    assert np.lib.format.read_magic(data) == (1, 0)
    header = np.lib.format.read_array_header_1_0(data)
    return header, [(code.name, value) for code, value, _ in pickletools.genops(data.read())]


def test_poses_are_archives_of_the_published_structure(root):
    for path in sorted((root / "pose" / "00000").iterdir())[:5]:
        people = np.load(path, allow_pickle=True)["arr_0"]
        assert (people.shape, people.dtype) == ((1,), object)
        (person,) = people
        assert list(person) == ["keypoints", "score", "area"]
        assert (person["keypoints"].shape, person["keypoints"].dtype) == ((17, 3), np.float32)
        assert {type(person["score"]), type(person["area"])} == {np.float32}
        assert person["area"] > 0
        assert 0 < person["score"] <= 1
        header, codes = opcodes(path)
        assert header == ((1,), False, np.dtype(object))
        assert codes[0] == ("PROTO", 3)
        assert {value for name, value in codes if "GLOBAL" in name} == {
            "numpy.core.multiarray scalar", "numpy.core.multiarray _reconstruct", "numpy dtype", "numpy ndarray"
        }  # fmt: skip


def test_the_pickle_is_operation_for_operation_that_of_a_real_file(tmp_path):
    if not SAMPLE.is_file():
        pytest.skip(f"no sample data at {SAMPLE}")
    people = [
        {
            name: np.float32(value) if np.ndim(value) == 0 else np.array(value.tolist(), np.float32)
            for name, value in person.items()
        }
        for person in np.load(SAMPLE, allow_pickle=True)["arr_0"]
    ]
    ours = tmp_path / "ours.npz"
    ours.write_bytes(encode_poses(people))
    header, codes = opcodes(ours)
    real_header, real_codes = opcodes(SAMPLE)
    assert header == real_header
    kinds = [name for name, _ in codes if "PUT" not in name and "GET" not in name]
    real_kinds = [name for name, _ in real_codes if "PUT" not in name and "GET" not in name]
    assert kinds == real_kinds
    with zipfile.ZipFile(ours) as file, zipfile.ZipFile(SAMPLE) as real_file:
        assert file.read("arr_0.npy") == real_file.read("arr_0.npy")


def test_points_outside_the_picture_are_zero_and_the_rest_as_drawn(tmp_path):
    layout = LaionHumanLayout(seed=1, count=4, size_px=128)
    note = layout.draw(0, tmp_path, STUDIO, Wish(num_people=2))
    people = np.load(tmp_path / note["mapping"]["pose_path"], allow_pickle=True)["arr_0"]
    assert len(people) == 2
    scene = STUDIO.sample(
        scene_seed(1, 0, 2), frame="whole_body", size_hw=(128, 128), num_people=2
    )  # fmt: skip
    for person, expected in zip(people, people_of(STUDIO.render(scene)), strict=True):
        np.testing.assert_array_equal(person["keypoints"], expected["keypoints"])
        outside = person["keypoints"][:, 2] == 0
        assert (person["keypoints"][outside] == 0).all()
        assert (person["keypoints"][~outside, :2] <= 128).all()


def test_the_prompt_is_the_caption(tmp_path):
    note = LaionHumanLayout(seed=1, count=4, size_px=64).draw(1, tmp_path, STUDIO, NO_WISH)
    assert note["mapping"]["prompt"] == note["link"]["caption"] != ""


def test_no_hand_in_view(tmp_path):
    note = LaionHumanLayout(seed=1, count=4, size_px=64).draw(1, tmp_path, STUDIO, Wish(hands_in_view=False))
    (person,) = np.load(tmp_path / note["mapping"]["pose_path"], allow_pickle=True)["arr_0"]
    assert (person["keypoints"][[9, 10], 2] == 0).all()
