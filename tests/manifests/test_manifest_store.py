import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from h2d.errors import UserError
from h2d.manifests.schema import TABLES
from h2d.manifests.store import Manifest, part_path, points_array


@pytest.fixture(scope="module")
def manifest(good_manifest):
    return Manifest(good_manifest)


def test_tables_splits_and_columns(manifest):
    assert manifest.counts == {"indexed": 8, "images": 6, "hands": 7, "rejects": 2}
    assert manifest.splits("images") == ["train", "val"]
    assert manifest.table("images").schema == TABLES["images"]
    assert manifest.table("images", ["id"], "train")["id"].to_pylist() == [
        "drawn/call/0000",
        "drawn/four/0002",
        "drawn/rock/0004",
    ]
    assert manifest.table("images", split="test").num_rows == 0
    assert manifest.table("images", ["split", "id"], "test").column_names == ["split", "id"]
    assert manifest.unmatched.num_rows == 2
    with pytest.raises(UserError, match=r"no column 'colour': choose from id, source"):
        manifest.table("images", ["colour"])
    with pytest.raises(UserError, match="no column"):
        manifest.table("images", ["colour"], "test")


@pytest.mark.parametrize("name", ["drawn/four/0002", "four/0002", "0002", "2"])
def test_row_by_name_or_ending(manifest, name):
    assert manifest.row(name)["id"] == "drawn/four/0002"


def test_whole_parts_of_a_name_come_first(make_manifest):
    root = make_manifest(num_pictures=2, splits=("train",))
    path = part_path(root, "images", "train", 0)
    data = pq.read_table(path)
    ids = pa.array(["drawn/a/1", "drawn/a/11"])
    pq.write_table(data.set_column(0, data.schema.field("id"), ids), path)
    assert Manifest(root).row("1")["id"] == "drawn/a/1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("drawn/four/0009", "nearest: drawn/four/000"),
        ("four", "nearest: drawn/four/000"),
        ("", "fits 6 rows"),
        ("rejected/0001", "left out at stage pose: DecodeError"),
    ],
)
def test_unknown_and_ambiguous_names_say_what_is_near(manifest, name, message):
    with pytest.raises(UserError, match=message):
        manifest.row(name)


def test_hands_of_a_picture(manifest):
    assert [row["hands"] for row in manifest.hands_of("drawn/call/0000")] == ["left", "right"]
    assert manifest.hands_of("nobody") == []


def test_points_array_keeps_rows_and_slices(manifest):
    column = manifest.table("images", ["hand_left"])["hand_left"]
    points = points_array(column)
    assert points.shape == (6, 21, 3)
    np.testing.assert_array_equal(points_array(column.slice(2, 2)), points[2:4])
    assert points_array(TABLES["images"].empty_table()["body"]).shape == (0, 133, 3)


def test_row_groups_say_where_rows_lie(make_manifest):
    root = make_manifest(num_pictures=130, splits=("train",), num_rejects=0)
    manifest = Manifest(root)
    places = [(place.group, rows.num_rows) for place, rows in manifest.row_groups("images", ["id"])]
    assert places == [(0, 128), (1, 2)]
    assert manifest.find("0129").group == 1


@pytest.mark.parametrize("table", TABLES)
def test_plain_readers_read_a_tables_folder(good_manifest, manifest, table):
    """Why the folders are not named `split=train`."""
    folder = good_manifest / table
    expected = manifest.table(table, ["split"])["split"].to_pylist()
    assert sorted(pd.read_parquet(folder, columns=["split"])["split"]) == sorted(expected)
    assert pq.read_table(folder)["split"].to_pylist() == expected
    assert ds.dataset(folder, partitioning="hive").to_table(
        filter=ds.field("split") == "val"
    ).num_rows == expected.count("val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a finished manifest"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"schema_version": "1.0", "counts": {"indexed": 1}}', "damaged"),
        (json.dumps({"schema_version": "2.0", "counts": dict.fromkeys(["indexed", *TABLES], 0)}), "upgrade h2d"),
    ],
)
def test_a_folder_that_is_no_manifest(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        Manifest(tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="no such folder"):
        Manifest(tmp_path / "nowhere")


def test_a_damaged_part_is_named(make_manifest):
    root = make_manifest()
    path = part_path(root, "images", "train", 0)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"part-00000.parquet: damaged or cut short"):
        Manifest(root).table("images", ["id"])
