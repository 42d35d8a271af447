import subprocess
import sys
from collections import Counter
from itertools import islice
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_tables import write_rows

from h2d.errors import UserError
from h2d.manifests import torch_dataset
from h2d.manifests.store import Manifest
from h2d.manifests.torch_dataset import ManifestRows, RowLoader

NUM_ROWS = 53
ALL_IDS = [f"{number:04d}/left" for number in range(NUM_ROWS)]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows") / "manifest"
    return Manifest(write_rows(root, parts={"train": [20, 1, 32], "val": [5]}, rows_per_group=6))


def open_rows(manifest, **choices):
    return ManifestRows(manifest, "hands", **{"columns": ["id"], "split": "train", **choices})


def ids_of(rows, worker=0, num_workers=1):
    info = SimpleNamespace(id=worker, num_workers=num_workers)
    with mock.patch.object(torch_dataset, "get_worker_info", return_value=info):
        return [row["id"] for row in rows]


def in_turn(streams, batch_size):
    """What a DataLoader gives: a batch of each worker in turn, until all are empty."""
    cut = [[stream[at : at + batch_size] for at in range(0, len(stream), batch_size)] for stream in streams]
    return [
        name for turn in range(max(map(len, cut))) for batches in cut for name in (batches[turn : turn + 1] or [[]])[0]
    ]


readers = given(
    num_ranks=st.integers(1, 5),
    num_workers=st.integers(1, 4),
    batch_size=st.integers(1, 9),
    buffer_rows=st.integers(1, 70),
    seed=st.none() | st.integers(0, 2**31),
    epoch=st.integers(0, 3),
)


@quick
@readers
def test_ranks_and_workers_together_give_every_row_once(
    manifest, num_ranks, num_workers, batch_size, buffer_rows, seed, epoch
):
    seen = []
    for rank in range(num_ranks):
        rows = open_rows(
            manifest, seed=seed, rank=rank, num_ranks=num_ranks, batch_size=batch_size, buffer_rows=buffer_rows
        )
        rows.epoch = epoch
        own = [ids_of(rows, worker, num_workers) for worker in range(num_workers)]
        assert len(rows) == sum(map(len, own))
        short = [len(ids) % batch_size for ids in own]
        assert sum(1 for rest in short if rest) <= 1
        seen += [name for ids in own for name in ids]
    assert sorted(seen) == ALL_IDS


@settings(quick, max_examples=15)
@given(num_ranks=st.integers(1, 60), seed=st.integers(0, 99))
def test_drop_and_pad_give_each_rank_as_many(manifest, num_ranks, seed):
    given_rows = {}
    for uneven in ("drop", "pad"):
        ranks = [
            ids_of(open_rows(manifest, seed=seed, rank=rank, num_ranks=num_ranks, uneven=uneven))
            for rank in range(num_ranks)
        ]
        assert len({len(ids) for ids in ranks}) == 1
        given_rows[uneven] = Counter(name for ids in ranks for name in ids)
    assert set(given_rows["drop"].values()) <= {1}
    assert given_rows["drop"].total() == NUM_ROWS // num_ranks * num_ranks
    assert set(given_rows["pad"]) == set(ALL_IDS)
    assert given_rows["pad"].total() == -(-NUM_ROWS // num_ranks) * num_ranks
    assert max(given_rows["pad"].values()) <= -(-num_ranks // NUM_ROWS) + 1


@quick
@given(taken=st.integers(0, NUM_ROWS), buffer_rows=st.integers(1, 70), seed=st.none() | st.integers(0, 99))
def test_going_back_to_any_row_gives_the_same_rest(manifest, taken, buffer_rows, seed):
    rows = open_rows(manifest, seed=seed, buffer_rows=buffer_rows)
    whole = [row["id"] for row in rows]
    assert sorted(whole) == ALL_IDS
    rows.epoch = 0
    assert [row["id"] for row in islice(rows, taken)] == whole[:taken]
    state = rows.state_dict()
    assert state["taken"] == taken
    again = open_rows(manifest, seed=seed, buffer_rows=buffer_rows)
    again.load_state_dict(state)
    assert [row["id"] for row in again] == whole[taken:]
    assert (again.epoch, again.taken) == (1, 0)
    rows.epoch, rows.taken = 1, 0
    assert [row["id"] for row in again] == [row["id"] for row in rows]


@quick
@given(
    num_workers=st.integers(1, 4),
    batch_size=st.integers(1, 9),
    num_ranks=st.integers(1, 3),
    buffer_rows=st.integers(1, 70),
    data=st.data(),
)
def test_workers_go_on_where_their_rank_stood(manifest, num_workers, batch_size, num_ranks, buffer_rows, data):
    rank = data.draw(st.integers(0, num_ranks - 1))
    rows = open_rows(manifest, rank=rank, num_ranks=num_ranks, batch_size=batch_size, buffer_rows=buffer_rows)
    whole = in_turn([ids_of(rows, worker, num_workers) for worker in range(num_workers)], batch_size)
    num_batches = data.draw(st.integers(0, -(-len(rows) // batch_size)))
    rows.taken = min(num_batches * batch_size, len(rows))
    left = [ids_of(rows, worker, num_workers) for worker in range(num_workers)]
    assert in_turn(left, batch_size) == whole[rows.taken :]


def test_other_seeds_and_epochs_give_other_orders(manifest):
    orders = []
    for seed in (0, 1):
        rows = open_rows(manifest, seed=seed, buffer_rows=12)
        orders += [[row["id"] for row in rows] for _ in range(2)]
    assert all(sorted(order) == ALL_IDS for order in orders)
    assert len({tuple(order) for order in [*orders, ALL_IDS]}) == 5
    assert [row["id"] for row in open_rows(manifest, seed=None)] == ALL_IDS


def test_a_small_buffer_mixes_groups_and_rows(manifest):
    order = [int(row["id"][:4]) for row in open_rows(manifest, buffer_rows=1)]
    steps = np.abs(np.diff(order))
    assert (steps > 6).sum() >= 5
    assert ((steps > 1) & (steps < 6)).sum() >= 5


def as_ids(batch):
    return [row["id"] for row in batch]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_gives_batches_and_goes_back(manifest, num_workers):
    def loader():
        return RowLoader(open_rows(manifest, seed=3, batch_size=4), collate=as_ids, num_workers=num_workers)

    straight = loader()
    epochs = [list(straight) for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4] * 13 + [1]
    assert len(straight) == 14
    assert epochs[0] != epochs[1]
    for epoch in epochs:
        assert sorted(name for batch in epoch for name in batch) == ALL_IDS
    stopped = loader()
    assert list(islice(iter(stopped), 5)) == epochs[0][:5]
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    assert list(resumed) == epochs[0][5:]
    assert list(resumed) == epochs[1]


def test_loader_drops_the_short_batch(manifest):
    loader = RowLoader(open_rows(manifest, batch_size=4), collate=as_ids, drop_last=True)
    assert len(loader) == 13 == len(list(loader))
    assert loader.state_dict()["epoch"] == 1


def test_torchs_random_numbers_are_left_alone(manifest):
    import torch

    before = torch.get_rng_state()
    list(RowLoader(open_rows(manifest), collate=as_ids))
    assert torch.equal(before, torch.get_rng_state())


def test_values_belong_to_their_row_and_may_be_written(manifest):
    names = ["id", "image", "keypoints_left", "crop_box_xywh", "mask", "caption"]
    for row in open_rows(manifest, columns=names, buffer_rows=10):
        number = int(row["id"][:4])
        assert row["image"] == f"{number:04d}".encode()
        assert row["keypoints_left"].shape == (21, 3)
        assert (row["keypoints_left"] == number).all()
        assert row["crop_box_xywh"].tolist() == [number] * 4
        assert row["mask"] is row["caption"] is None
        row["keypoints_left"] *= 2


def test_drawn_people_are_read(good_manifest):
    rows = ManifestRows(
        Manifest(good_manifest), "images", columns=["image", "body", "mask_left", "hand_boxes_xywh", "hand_left_found"]
    )
    for row in rows:
        assert row["image"].startswith(b"\xff\xd8")
        assert row["body"].shape == (133, 3)
        assert (row["mask_left"] is None) or set(row["mask_left"]) == {"size", "counts"}
        assert isinstance(row["hand_boxes_xywh"], list)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"columns": ["colour"]}, "table hands has no column 'colour': choose from id"),
        ({"split": "tset"}, "no rows of hands in split 'tset': it has train, val"),
        ({"rank": 2, "num_ranks": 2}, "rank 2 of 2"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"buffer_rows": 0}, "buffer_rows 0"),
    ],
)
def test_refusals(manifest, choices, message):
    with pytest.raises(UserError, match=message):
        open_rows(manifest, **choices)


def test_another_order_refuses_the_place(manifest):
    rows = open_rows(manifest, seed=1)
    next(iter(rows))
    with pytest.raises(UserError, match="saved with seed 1, now it is 2"):
        open_rows(manifest, seed=2).load_state_dict(rows.state_dict())
    loader = RowLoader(open_rows(manifest, batch_size=2), collate=as_ids)
    next(iter(loader))
    with pytest.raises(UserError, match="saved with num_workers 0, now it is 1"):
        RowLoader(open_rows(manifest, batch_size=2), collate=as_ids, num_workers=1).load_state_dict(loader.state_dict())
    assert not loader.state_dict()["epoch"]
    list(loader)
    RowLoader(open_rows(manifest, batch_size=3), collate=as_ids, num_workers=1).load_state_dict(loader.state_dict())


def test_manifests_are_read_without_torch():
    code = "import sys, pkgutil, h2d.manifests.store, h2d.manifests.row_order; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
