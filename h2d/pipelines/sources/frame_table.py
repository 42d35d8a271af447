"""The pictures of a capture studio, listed in a few bytes each: millions of frames in folders by camera.

Axis legend: n pictures, f folders, l levels of groups, k pictures of one group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

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
    folder: Int64[np.ndarray, " n"]
    """The place of each picture's folder."""
    frame: Int64[np.ndarray, " n"]
    """Its number in the folder."""

    def chosen(self, *, limit: int | None, sample: int | None, seed: int) -> Int64[np.ndarray, " m"]:
        """The rows of a sample spread over the groups; else those of enough folders for the first `limit` ids."""
        ranks = self._ranks()
        if sample is not None and sample < len(self.folder):
            order = np.lexsort((self.frame, ranks[self.folder]))
            levels = self._levels()[self.folder[order]]
            return np.asarray(np.sort(order[_drawn(levels, sample, np.random.default_rng(seed))]), np.int64)
        if sample is None and limit is not None and limit < len(self.folder):
            counts = np.bincount(ranks[self.folder], minlength=len(ranks))
            needed = int(np.searchsorted(np.cumsum(counts), limit)) + 1
            return np.asarray(np.flatnonzero(ranks[self.folder] < needed), np.int64)
        return np.arange(len(self.folder))

    def _ranks(self) -> Int64[np.ndarray, " f"]:
        order = sorted(range(len(self.folders)), key=lambda n: (self.folders[n].split, self.folders[n].id_start))
        ranks = np.zeros(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks

    def _levels(self) -> Int64[np.ndarray, "f l"]:
        names = [(folder.split, *folder.groups) for folder in self.folders]
        return np.stack([np.unique(level, return_inverse=True)[1] for level in zip(*names, strict=True)], axis=1)


def _drawn(levels: Int64[np.ndarray, "n l"], count: int, random: np.random.Generator) -> Int64[np.ndarray, " count"]:
    """Which of n pictures, given in order, make a sample of `count`.

    Those with one number in the first column form a group that gets its share of the sample, those with one number in
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
        inner = list(pairwise([start, *(start + changes).tolist(), stop]))
        per_group = shares({group: group[1] - group[0] for group in inner}, wanted, random)
        groups += [(*group, level + 1, per_group[group]) for group in reversed(inner) if per_group[group]]
    return np.asarray(order[np.concatenate(chosen)], np.int64)
