"""Shards, and what a plan's hash notices."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from h2d.errors import UserError
from h2d.pipelines import index
from h2d.pipelines.difference import difference
from h2d.pipelines.index import digest, index_table
from h2d.pipelines.plan import Shard, cut, read_index, read_plan
from h2d.pipelines.sources.base import Record


def record(number: int, split: str = "train", **changes) -> Record:
    base = Record(
        id=f"x/{number:03d}",
        split=split,
        path=f"{number}.jpg",
        size_bytes=10,
        gesture="call",
        subject="someone",
        boxes_xywh=np.array([[0.1, 0.2, 0.3, 0.4]], np.float32),
        box_labels=("call",),
        box_landmarks=(np.zeros((21, 2), np.float32),),
    )
    return replace(base, **changes)


def _digest(records) -> str:
    return digest(index_table(records))


@pytest.mark.parametrize("shard_size", [1, 3, 4, 100])
def test_shards_cover_every_picture_once_and_never_span_splits(shard_size):
    records = [record(number, "test") for number in range(7)] + [record(number, "train") for number in range(7, 12)]
    blocks = [index_table(records).slice(start, 5) for start in range(0, 12, 5)]
    shards = list(cut(blocks, shard_size))
    assert [name for _, members in shards for name in members["id"].to_pylist()] == [item.id for item in records]
    assert [shard.number for shard, _ in shards] == list(range(len(shards)))
    for shard, members in shards:
        assert set(members["split"].to_pylist()) == {shard.split}
        assert shard.num_pictures == len(members) <= shard_size


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "y"},
        {"split": "val"},
        {"path": "b.jpg"},
        {"size_bytes": 11},
        {"gesture": None},
        {"subject": None},
        {"mask_path": "m.png"},
        {"boxes_xywh": np.array([[0.1, 0.2, 0.3, 0.5]], np.float32)},
        {"box_labels": ("fist",)},
        {"box_landmarks": (None,)},
        {"box_landmarks": (np.ones((21, 2), np.float32),)},
    ],
)
def test_the_hash_notices_every_label(changes):
    assert _digest([record(0)]) != _digest([record(0, **changes)])
    assert _digest([record(0)]) == _digest([record(0)])


def test_the_hash_notices_the_order():
    assert _digest([record(0), record(1)]) != _digest([record(1), record(0)])


def test_a_damaged_plan_is_named(tmp_path):
    (tmp_path / "plan.json").write_text('{"version": 2}')
    with pytest.raises(UserError, match=r"plan\.json: damaged plan .* --fresh"):
        read_plan(tmp_path)


def test_a_newer_plan_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text('{"version": 99}')
    with pytest.raises(UserError, match="plan version 99, this h2d reads 2"):
        read_plan(tmp_path)


def test_the_index_gives_back_the_labels(tmp_path):
    from h2d.manifests.files import write_parquet

    shard = Shard(number=3, split="train", num_pictures=2)
    write_parquet(
        tmp_path / "index" / shard.file_name,
        index_table(
            [record(0), record(1, boxes_xywh=np.zeros((0, 4), np.float32), box_labels=(), box_landmarks=(None,))]
        ),
    )
    first, second = read_index(tmp_path, shard)
    assert np.allclose(first["boxes_xywh"], [[0.1, 0.2, 0.3, 0.4]])
    assert len(first["box_landmarks"][0]) == 42
    assert (second["boxes_xywh"], second["box_landmarks"]) == ([], [None])


def test_a_hash_does_not_depend_on_how_the_rows_came_together():
    whole = index_table([record(0), record(1, gesture=None, box_landmarks=(None,)), record(2)])
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert digest(pieces) == digest(whole) == digest(pa.concat_tables([whole, whole]).slice(3))


@pytest.mark.parametrize(("per_run", "per_block"), [(1000, 1000), (7, 3), (1, 1)])
def test_rows_come_out_in_order_however_many_runs_they_make(monkeypatch, per_run, per_block):
    monkeypatch.setattr(index, "ROWS_PER_RUN", per_run)
    monkeypatch.setattr(index, "ROWS_PER_BLOCK", per_block)
    records = [record(number, split) for number in range(20) for split in ("train", "test")]
    rows = index.SortedRows()
    for start in range(0, 40, 4):
        shuffled = np.random.default_rng(0).permutation(40)[start : start + 4]
        rows.add(index_table([records[place] for place in shuffled]))
    for _ in range(2):
        found = pa.concat_tables(rows.blocks())
        assert found.equals(index_table(sorted(records, key=lambda one: (one.split, one.id))))


@pytest.mark.parametrize("per_block", [1, 3, 100])
def test_a_difference_is_exact(monkeypatch, per_block):
    monkeypatch.setattr(index, "ROWS_PER_BLOCK", per_block)
    before, now = index.SortedRows(), index.SortedRows()
    before.add(index_table([record(number) for number in range(10)]))
    changed = [record(3, size_bytes=11), record(4, gesture=None), record(5), record(6, "val")]
    now.add(index_table([record(0), record(1), *changed, *(record(number) for number in range(7, 13))]))
    found = difference(before.blocks(), now.blocks())
    assert found.groups == {
        "new": (4, "x/010"),
        "gone": (2, "x/002"),
        "of another size": (1, "x/003"),
        "with other labels": (1, "x/004"),
    }
    assert (found.num_gone, found.num_changed) == (2, 2)
    assert pa.concat_tables(found.new.blocks())["id"].to_pylist() == ["x/010", "x/011", "x/012", "x/006"]
