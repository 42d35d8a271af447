"""Manifests merged, dealt into other splits, and compared."""

import json
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from h2d.errors import UserError
from h2d.manifests.derive import ROWS_PER_FILE, TableWriter
from h2d.manifests.difference import differences, settings_that_differ
from h2d.manifests.files import write_parquet
from h2d.manifests.merge_manifests import merge
from h2d.manifests.schema import TABLES
from h2d.manifests.split_manifest import parse_shares, split_manifest
from h2d.manifests.store import Manifest, part_path
from h2d.manifests.validate import validate


@pytest.fixture
def first(make_manifest, tmp_path):
    return make_manifest(tmp_path / "first", num_pictures=8, num_rejects=4)


@pytest.fixture
def second(make_manifest, tmp_path):
    """The same pictures under other names."""
    root = make_manifest(tmp_path / "second", num_pictures=5, num_rejects=1)
    for table in TABLES:
        for path in Manifest(root).parts(table):
            _rewrite(path, lambda name: name.replace("drawn/", "other/"), ("id", "image_id"))
    return root


def _rewrite(path, change, columns):
    rows = pq.ParquetFile(path).read()
    schema = rows.schema
    for column in set(columns) & set(rows.column_names):
        at = schema.get_field_index(column)
        rows = rows.set_column(at, schema.field(at), pa.array(map(change, rows[column].to_pylist()), pa.string()))
    write_parquet(path, rows.cast(schema))


def _ids(root, table="images"):
    return sorted(Manifest(root).table(table, ["id"])["id"].to_pylist())


def test_a_merged_manifest_is_valid_and_holds_every_row(first, second, tmp_path):
    counts = merge([first, second], tmp_path / "both")
    assert validate(tmp_path / "both") == []
    assert counts == {key: Manifest(first).counts[key] + Manifest(second).counts[key] for key in counts}
    for table in TABLES:
        assert _ids(tmp_path / "both", table) == sorted(_ids(first, table) + _ids(second, table))
    name = _ids(second)[0]
    assert repr(Manifest(tmp_path / "both").row(name)) == repr(Manifest(second).row(name))
    assert len(Manifest(tmp_path / "both").unmatched) == 4


def test_ids_that_stand_in_both_are_named(first, make_manifest, tmp_path):
    again = make_manifest(tmp_path / "again", num_pictures=2)
    with pytest.raises(UserError, match=r"drawn/call/0000 stands in .*first and in .*again \(4 such ids\)"):
        merge([first, again], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_another_major_version_is_refused(first, second, tmp_path):
    file = second / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": "0.9"}))
    with pytest.raises(UserError, match=r"second: schema version 0\.9"):
        merge([first, second], tmp_path / "both")


def test_nothing_is_overwritten_and_nothing_is_left_half_done(first, second, tmp_path, monkeypatch):
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "mine.txt").write_text("")
    with pytest.raises(UserError, match="is there already"):
        merge([first, second], tmp_path / "both")
    monkeypatch.setattr("h2d.manifests.derive.write_report", lambda root: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        merge([first, second], tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "first", "second"]


def test_no_person_stands_in_two_splits(first, tmp_path):
    pictures = split_manifest(first, tmp_path / "dealt", {"train": 1, "held": 1}, seed=3)
    manifest = Manifest(tmp_path / "dealt")
    assert validate(tmp_path / "dealt") == []
    assert pictures == {"train": 4, "held": 4}
    homes = defaultdict(set)
    for row in manifest.table("images", ["subject", "split"]).to_pylist():
        homes[row["subject"]].add(row["split"])
    assert all(len(splits) == 1 for splits in homes.values())
    for table in TABLES:
        assert _ids(tmp_path / "dealt", table) == _ids(first, table)


def test_the_same_seed_deals_alike_and_another_does_not(make_manifest, tmp_path):
    root = make_manifest(tmp_path / "many", num_pictures=12)
    for path in Manifest(root).parts("images"):
        _rewrite(path, lambda name: "", ("subject",))
    dealt = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        split_manifest(root, tmp_path / name, {"train": 2, "val": 1}, seed=seed)
        dealt[name] = Manifest(tmp_path / name).table("images", ["id"], "val")["id"].to_pylist()
    assert len(dealt["a"]) == 4
    assert dealt["a"] == dealt["b"] != dealt["c"]


def test_too_few_people_for_a_split(first, tmp_path):
    with pytest.raises(UserError, match="4 people are too few to fill split"):
        split_manifest(first, tmp_path / "dealt", dict.fromkeys("abcde", 1.0))


@pytest.mark.parametrize(
    "text", ["", "train", "train=x", "train=0", "train=-1", "train=1,train=2", "a/b=1", "train=inf"]
)
def test_wrong_shares_are_refused(text):
    with pytest.raises(UserError, match="is no share"):
        parse_shares(text)


def test_shares_are_read():
    assert parse_shares("train=0.9, val=10") == {"train": 0.9, "val": 10.0}


def test_a_manifest_does_not_differ_from_itself_dealt_into_the_same_files(first, second, tmp_path):
    merge([first, second], tmp_path / "a")
    merge([second, first], tmp_path / "b")
    assert all(one.is_empty for one in differences(Manifest(tmp_path / "a"), Manifest(tmp_path / "b")))


def test_differing_rows_and_columns_are_named(first, tmp_path, make_manifest):
    other = make_manifest(tmp_path / "other", num_pictures=6, num_rejects=4, captions=("Another.",))
    images, hands, rejects = differences(Manifest(first), Manifest(other))
    assert len(images.only_first) == 2
    assert images.only_second == ()
    assert set(images.changed) == {"caption"}
    assert len(images.changed["caption"]) == 6
    assert hands.changed.keys() == {"caption"}
    assert rejects.is_empty


def test_a_changed_picture_and_a_changed_point_are_seen(first, make_manifest, tmp_path):
    other = make_manifest(tmp_path / "other", num_pictures=8, num_rejects=4)
    path = part_path(other, "images", "train", 0)
    rows = pq.ParquetFile(path).read()
    plain = rows.to_pylist()
    plain[0]["image"]["bytes"] += b"\0"
    plain[1]["body"][0] += 1
    write_parquet(path, pa.Table.from_pylist(plain, schema=rows.schema))
    images = differences(Manifest(first), Manifest(other))[0]
    assert images.changed == {"image": (plain[0]["id"],), "body": (plain[1]["id"],)}


def test_other_settings_are_named(first, second):
    file = second / "manifest.json"
    facts = json.loads(file.read_text())
    facts["stages"]["mask"]["options"]["iterations"] = 9
    facts["stages"]["pose"]["fingerprint"] = "0"
    file.write_text(json.dumps(facts))
    assert settings_that_differ(Manifest(first), Manifest(second)) == ["mask"]


def test_rows_are_cut_into_files_of_one_size(first, tmp_path):
    rows = Manifest(first).table("rejects")
    writer = TableWriter(root=tmp_path / "cut", table="rejects", facts={"source": "drawn"})
    for _ in range(300):
        writer.add("train", rows)
    writer.close()
    sizes = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "cut").rglob("*.parquet"))]
    assert sizes == [ROWS_PER_FILE, ROWS_PER_FILE, 300 * len(rows) - 2 * ROWS_PER_FILE]
