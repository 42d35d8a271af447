"""A part of a dataset: the first pictures, or a random sample with the dataset's own mix of gestures."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

import numpy as np

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


def _by_gesture(record: Record) -> str:
    return record.gesture or ""


def _drawn(records: Sequence[Record], count: int, random: np.random.Generator) -> list[Record]:
    drawn: list[Record] = []
    splits = {split: list(group) for split, group in groupby(records, key=lambda record: record.split)}
    per_split = shares({split: len(group) for split, group in splits.items()}, count, random)
    for split, in_split in splits.items():
        ordered = sorted(in_split, key=_by_gesture)  # stable: by id within a gesture
        gestures = {gesture: list(group) for gesture, group in groupby(ordered, key=_by_gesture)}
        per_gesture = shares({gesture: len(group) for gesture, group in gestures.items()}, per_split[split], random)
        for gesture, group in gestures.items():
            drawn += [group[index] for index in random.permutation(len(group))[: per_gesture[gesture]]]
    return drawn


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
