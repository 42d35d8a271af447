import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2d.errors import UserError
from h2d.pipelines.index import SortedRows, index_table
from h2d.pipelines.sources import selection
from h2d.pipelines.sources.base import Record
from h2d.pipelines.sources.selection import shares


def select(records, **choices):
    rows = SortedRows()
    rows.add(index_table(records))
    by_id = {(record.split, record.id): record for record in records}
    chosen = selection.select(rows.blocks, **choices)
    return [by_id[row["split"], row["id"]] for block in chosen for row in block.to_pylist()]


def records_of(sizes):
    return [
        Record(id=f"set/{gesture}/{number:04d}", split=split, path="x.jpg", size_bytes=1, gesture=gesture)
        for (split, gesture), size in sizes.items()
        for number in range(size)
    ]


def ids(records):
    return [record.id for record in records]


GROUPS = st.tuples(st.sampled_from(["train", "val", "test"]), st.sampled_from(["call", "fist", "ok", None]))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(GROUPS, st.integers(0, 25), max_size=8), st.integers(1, 120), st.integers(0, 9), st.randoms())
def test_a_sample_is_exact_sorted_fair_and_blind_to_the_order_given(sizes, count, seed, shuffler):
    records = records_of(sizes)
    chosen = select(records, limit=None, sample=count, seed=seed)
    assert len(chosen) == min(count, len(records))
    assert len({id(record) for record in chosen} & {id(record) for record in records}) == len(chosen)
    assert [(record.split, record.id) for record in chosen] == sorted((record.split, record.id) for record in chosen)
    shuffler.shuffle(records)
    assert select(records, limit=None, sample=count, seed=seed) == chosen
    share = len(chosen) / max(1, len(records))
    taken = Counter((record.split, record.gesture) for record in chosen)
    for split in {split for split, _ in sizes}:
        size = sum(size for (there, _), size in sizes.items() if there == split)
        in_split = sum(number for (there, _), number in taken.items() if there == split)
        assert abs(in_split - share * size) < 1
        for (there, gesture), members in sizes.items():
            if there == split and size:
                assert abs(taken[there, gesture] - in_split * members / size) < 1


def test_seeds_draw_different_pictures_and_different_odd_gestures():
    records = records_of({("train", gesture): 40 for gesture in ("call", "fist", "ok", "palm")})
    draws = [select(records, limit=None, sample=6, seed=seed) for seed in range(12)]
    assert len({tuple(ids(draw)) for draw in draws}) == 12
    assert len({frozenset(Counter(record.gesture for record in draw).items()) for draw in draws}) > 3


def test_a_small_sample_still_shows_every_split():
    sizes = {
        (split, f"gesture{number}"): size
        for split, size in (("train", 80), ("val", 10), ("test", 10))
        for number in range(20)
    }
    chosen = select(records_of(sizes), limit=None, sample=10, seed=0)
    assert Counter(record.split for record in chosen) == {"train": 8, "val": 1, "test": 1}


def test_the_limit_takes_the_first_in_order_also_of_a_sample():
    records = records_of({("val", "call"): 5, ("train", "ok"): 5})
    random.Random(0).shuffle(records)
    assert ids(select(records, limit=6, sample=None, seed=0)) == [f"set/ok/{n:04d}" for n in range(5)] + [
        "set/call/0000"
    ]
    sample = select(records, limit=None, sample=6, seed=3)
    assert select(records, limit=2, sample=6, seed=3) == sample[:2]


def test_more_than_there_are_is_all_of_them():
    records = records_of({("train", "ok"): 3})
    assert select(records, limit=9, sample=9, seed=0) == records
    assert select([], limit=9, sample=9, seed=0) == []


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"sample": 0}, {"sample": -3}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} = "):
        select([], **{"limit": None, "sample": None, "seed": 0, **wrong})


def test_shares_sum_up_and_never_exceed_their_group():
    assert shares({"a": 1, "b": 1, "c": 98}, 100, np.random.default_rng(0)) == {"a": 1, "b": 1, "c": 98}
    assert sum(shares({"a": 1, "b": 1, "c": 1}, 2, np.random.default_rng(0)).values()) == 2
    assert shares({}, 0, np.random.default_rng(0)) == {}
