"""A part of a dataset: the first pictures, or a random sample with the dataset's own mix of gestures."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from h2d.errors import UserError

Key = TypeVar("Key", bound=Hashable)

Blocks: TypeAlias = Callable[[], Iterable[pa.Table]]
"""Rows by split and id, from the beginning at each call; "split" and "gesture" are read."""


def select(blocks: Blocks, *, limit: int | None, sample: int | None, seed: int) -> Iterator[pa.Table]:
    """Draw `sample` of the rows, keep the first `limit`, in order.

    A sample has every split's share and, within it, every gesture's share to within one picture; seeds settle which
    gesture gets the odd one. Asking for more than there are gives all of them.
    """
    for name, value, least in (("limit", limit, 1), ("sample", sample, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise UserError(f"{name} = {value}: must be at least {least}")
    return _first(blocks() if sample is None else _sampled(blocks, sample, np.random.default_rng(seed)), limit)


def _first(blocks: Iterable[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    left = limit
    for block in blocks:
        yield block if left is None else block.slice(0, left)
        if left is not None:
            left -= len(block)
            if left <= 0:
                return


def _sampled(blocks: Blocks, sample: int, random: np.random.Generator) -> Iterator[pa.Table]:
    sizes = Counter[tuple[str, str]]()
    for block in blocks():
        sizes.update(_groups(block))
    if sample >= sizes.total():
        yield from blocks()
        return
    chosen = _drawn(sizes, sample, random)
    seen = Counter[tuple[str, str]]()
    for block in blocks():
        kept = []
        for group in _groups(block):
            kept.append(seen[group] in chosen[group])
            seen[group] += 1
        yield block.filter(pa.array(kept, pa.bool_()))


def _groups(block: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(block["split"].to_pylist(), block["gesture"].fill_null("").to_pylist(), strict=True)


def _drawn(
    sizes: Mapping[tuple[str, str], int], count: int, random: np.random.Generator
) -> dict[tuple[str, str], set[int]]:
    """Of each split's gestures the places, counted within the group, of the rows to keep."""
    drawn = {}
    splits = sorted({split for split, _ in sizes})
    of_split = {split: sorted(gesture for part, gesture in sizes if part == split) for split in splits}
    totals = {split: sum(sizes[split, gesture] for gesture in of_split[split]) for split in splits}
    per_split = shares(totals, count, random)
    for split, gestures in of_split.items():
        per_gesture = shares({gesture: sizes[split, gesture] for gesture in gestures}, per_split[split], random)
        for gesture in gestures:
            places = random.permutation(sizes[split, gesture])[: per_gesture[gesture]]
            drawn[split, gesture] = set(places.tolist())
    return drawn


def shares(sizes: Mapping[Key, int], count: int, random: np.random.Generator) -> dict[Key, int]:
    """Divide `count` in proportion to `sizes` by largest remainders, equal ones in random order; at most their sum."""
    total = sum(sizes.values())
    assert 0 <= count <= total
    quotas = {key: divmod(count * size, total) for key, size in sizes.items()}
    order: Sequence[int] = random.permutation(len(sizes)).tolist()
    by_remainder = sorted(zip(quotas, order, strict=True), key=lambda pair: (-quotas[pair[0]][1], pair[1]))
    left = count - sum(quota for quota, _ in quotas.values())
    rounded_up = {key for key, _ in by_remainder[:left]}
    return {key: quota + (key in rounded_up) for key, (quota, _) in quotas.items()}
