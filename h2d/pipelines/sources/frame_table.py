"""The pictures of a capture studio, listed in a few bytes each: millions of frames in folders by camera.

Axis legend: n pictures, f folders, l levels of groups, k pictures of one group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int32, Int64

from h2d.pipelines.sources.selection import shares


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameFolder:
    """What the pictures of one camera have in common."""

    split: str
    id_start: str
    """Of the records' ids, up to the frame's number."""
    groups: tuple[str, ...]
    """What a sample is spread over, the widest first: capture, sequence, camera."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTable:
    """A row per picture."""

    folders: Sequence[FrameFolder]
    folder: Int32[np.ndarray, " n"]
    """The place of each picture's folder."""
    frame: Int32[np.ndarray, " n"]
    """Its number in the folder."""

    def chosen(self, *, limit: int | None, sample: int | None, seed: int) -> Int64[np.ndarray, " m"]:
        """The rows, in order, of a sample spread over the groups; else of enough folders for the first `limit` ids."""
        if sample is not None and sample < len(self.folder):
            return self._sample(sample, np.random.default_rng(seed))
        if sample is None and limit is not None and limit < len(self.folder):
            ranks = self._ranks()
            needed = int(np.searchsorted(np.cumsum(self._counts(ranks)), limit)) + 1
            return np.asarray(np.flatnonzero(ranks[self.folder] < needed), np.int64)
        return np.arange(len(self.folder))

    def _sample(self, count: int, random: np.random.Generator) -> Int64[np.ndarray, " count"]:
        """Rows that are grouped by the first of their folder's groups get their share, within it by the second, ...

        In the last groups chance decides. Groups are those of neighbours once folders are in order, so that nothing
        but one order of the rows is as long as the table.
        """
        names = [(folder.split, *folder.groups) for folder in self.folders]
        levels = [np.unique(level, return_inverse=True)[1] for level in zip(*names, strict=True)]
        ranks = np.zeros(len(names), np.int32)
        by_levels = np.lexsort((self._ranks(), *reversed(levels)))
        ranks[by_levels] = np.arange(len(names))
        counts = self._counts(ranks)
        is_full = counts > 0
        order = np.lexsort((self.frame, ranks[self.folder]))
        drawn = _drawn(np.stack(levels, axis=1)[by_levels[is_full]], np.cumsum(counts)[is_full], count, random)
        return np.asarray(np.sort(order[drawn]), np.int64)

    def _counts(self, ranks: Int32[np.ndarray, " f"]) -> Int64[np.ndarray, " f"]:
        """How many pictures the folder of each rank has."""
        counts = np.zeros(len(ranks), np.int64)
        counts[ranks] = np.bincount(self.folder, minlength=len(ranks))
        return counts

    def _ranks(self) -> Int32[np.ndarray, " f"]:
        """The place of each folder in the order of ids."""
        order = sorted(range(len(self.folders)), key=lambda n: (self.folders[n].split, self.folders[n].id_start))
        ranks = np.zeros(len(order), np.int32)
        ranks[order] = np.arange(len(order))
        return ranks


def _drawn(
    levels: Int64[np.ndarray, "f l"], ends: Int64[np.ndarray, " f"], count: int, random: np.random.Generator
) -> Int64[np.ndarray, " count"]:
    """Which places make a sample of `count`; of the folders, in order, `ends` are where their pictures end."""
    starts = np.concatenate([[0], ends]).tolist()
    chosen: list[Int64[np.ndarray, " k"]] = [np.zeros(0, np.int64)]
    groups = [(0, len(levels), 0, count)]
    while groups:
        first, last, level, wanted = groups.pop()
        if level == levels.shape[1]:
            chosen.append(starts[first] + random.permutation(starts[last] - starts[first])[:wanted])
            continue
        changes = np.flatnonzero(np.diff(levels[first:last, level])) + 1
        inner = list(pairwise([first, *(first + changes).tolist(), last]))
        per_group = shares({group: starts[group[1]] - starts[group[0]] for group in inner}, wanted, random)
        groups += [(*group, level + 1, per_group[group]) for group in reversed(inner) if per_group[group]]
    return np.concatenate(chosen)
