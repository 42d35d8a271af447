"""A part of a dataset: the first pictures, or a random sample with the dataset's own mix of gestures.

Axis legend: n things to choose from, l levels of groups, k things of one group.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Int64

from h2d.errors import UserError
from h2d.pipelines.sources.base import Record

Key = TypeVar("Key", bound=Hashable)


def select(records: Sequence[Record], *, limit: int | None, sample: int | None, seed: int) -> list[Record]:
    """Sort by split and id, draw `sample` of them, keep the first `limit`; the order given makes no difference.

    A sample has every split's share and, within it, every gesture's share to within one picture; seeds settle which
    gesture gets the odd one. Asking for more than there are gives all of them.
    """
    for name, value, least in (("limit", limit, 1), ("sample", sample, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise UserError(f"{name} = {value}: must be at least {least}")
    chosen = sorted(records, key=_by_id)
    if sample is not None and sample < len(chosen):
        chosen = sorted(_drawn(chosen, sample, np.random.default_rng(seed)), key=_by_id)
    return chosen[:limit]


def _by_id(record: Record) -> tuple[str, str]:
    return record.split, record.id


def _drawn(records: Sequence[Record], count: int, random: np.random.Generator) -> list[Record]:
    names = ([record.split for record in records], [record.gesture or "" for record in records])
    levels = np.stack([np.unique(level, return_inverse=True)[1] for level in names], axis=1)
    return [records[index] for index in draw(levels, count, random).tolist()]


def draw(levels: Int64[np.ndarray, "n l"], count: int, random: np.random.Generator) -> Int64[np.ndarray, " count"]:
    """Which of n things, given in order, make a sample of `count`.

    Things with one number in the first column form a group that gets its share of the sample, those with one number in
    the second a group within it, and so on; in the last groups chance decides.
    """
    order = np.lexsort(levels.T[::-1])  # stable: by the order given within a group
    chosen: list[Int64[np.ndarray, " k"]] = [np.zeros(0, np.int64)]
    groups = [(0, len(order), 0, count)]
    while groups:
        start, stop, level, wanted = groups.pop()
        if level == levels.shape[1]:
            chosen.append(start + random.permutation(stop - start)[:wanted])
            continue
        changes = np.flatnonzero(np.diff(levels[order[start:stop], level])) + 1
        edges = [start, *(start + changes).tolist(), stop]
        inner = list(pairwise(edges))
        per_group = shares({group: group[1] - group[0] for group in inner}, wanted, random)
        groups += [(*group, level + 1, per_group[group]) for group in reversed(inner) if per_group[group]]
    return np.asarray(order[np.concatenate(chosen)], np.int64)


def shares(sizes: Mapping[Key, int], count: int, random: np.random.Generator) -> dict[Key, int]:
    """Divide `count` in proportion to `sizes` by largest remainders, equal ones in random order; at most their sum."""
    total = sum(sizes.values())
    assert 0 <= count <= total
    quotas = {key: divmod(count * size, total) for key, size in sizes.items()}
    order = random.permutation(len(sizes))
    by_remainder = sorted(zip(quotas, order, strict=True), key=lambda pair: (-quotas[pair[0]][1], pair[1]))
    left = count - sum(quota for quota, _ in quotas.values())
    rounded_up = {key for key, _ in by_remainder[:left]}
    return {key: quota + (key in rounded_up) for key, (quota, _) in quotas.items()}
