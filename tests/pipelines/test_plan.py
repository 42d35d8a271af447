"""Shards, and what a plan's hash notices."""

from dataclasses import replace

import numpy as np
import pytest

from h2d.errors import UserError
from h2d.pipelines.plan import Listing, _digest, read_index, read_plan
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


def listing(records, shard_size) -> Listing:
    return Listing(description="x", records=records, findings=[], choices={}, shard_size=shard_size)


@pytest.mark.parametrize("shard_size", [1, 3, 4, 100])
def test_shards_cover_every_picture_once_and_never_span_splits(shard_size):
    records = [record(number, "test") for number in range(7)] + [record(number, "train") for number in range(7, 12)]
    shards = listing(records, shard_size).shards()
    assert [member.id for _, members in shards for member in members] == [item.id for item in records]
    assert [shard.number for shard, _ in shards] == list(range(len(shards)))
    for shard, members in shards:
        assert {member.split for member in members} == {shard.split}
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
    from h2d.pipelines.plan import Shard, _index_table

    shard = Shard(number=3, split="train", num_pictures=2)
    write_parquet(
        tmp_path / "index" / shard.file_name,
        _index_table(
            [record(0), record(1, boxes_xywh=np.zeros((0, 4), np.float32), box_labels=(), box_landmarks=(None,))]
        ),
    )
    first, second = read_index(tmp_path, shard)
    assert np.allclose(first["boxes_xywh"], [[0.1, 0.2, 0.3, 0.4]])
    assert len(first["box_landmarks"][0]) == 42
    assert (second["boxes_xywh"], second["box_landmarks"]) == ([], [None])
