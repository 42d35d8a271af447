"""How numbers are spread, in memory that does not grow with how many there are.

Axis legend: n numbers, d distinct ones.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped

_DROPPED_BITS: Final = 9
_AT_ONCE: Final = 1 << 16


class Spread:
    """Which numbers occur how often.

    They are kept to 15 binary digits: whole numbers to 32,768 are exact, others to 0.002 %, so that of the sizes of a
    million hands no more than some ten thousand are distinct. What is not finite is left out.
    """

    def __init__(self) -> None:
        self._values: Float32[np.ndarray, " d"] = np.zeros(0, np.float32)
        self._counts: Int64[np.ndarray, " d"] = np.zeros(0, np.int64)
        self._waiting: list[Float32[np.ndarray, " n"]] = []
        self._num_waiting = 0

    def add(self, numbers: Shaped[np.ndarray, " n"]) -> None:
        """Count more."""
        kept = np.asarray(numbers, np.float32)
        kept = kept[np.isfinite(kept)]
        self._waiting.append(kept)
        self._num_waiting += len(kept)
        if self._num_waiting >= _AT_ONCE:
            self._count()

    def __len__(self) -> int:
        return int(self._counts.sum()) + self._num_waiting

    @property
    def values(self) -> Float64[np.ndarray, " d"]:
        """Those that occur, in order."""
        self._count()
        return self._values.astype(np.float64)

    @property
    def counts(self) -> Int64[np.ndarray, " d"]:
        """How often each of `values` does."""
        self._count()
        return self._counts

    def quantile(self, share: float) -> float:
        """The number below which this share of them lies, between neighbours in proportion; NaN of none."""
        self._count()
        if not len(self._values):
            return float("nan")
        place = share * (len(self) - 1)
        ends = np.cumsum(self._counts)
        low, high = self.values[np.searchsorted(ends, [np.floor(place), np.ceil(place)], side="right")]
        return float(low + (high - low) * (place - np.floor(place)))

    def add_counted(self, values: Float64[np.ndarray, " d"], counts: Int64[np.ndarray, " d"]) -> None:
        """Count what another spread has counted."""
        self._count()
        all_values = np.concatenate([self._values, values.astype(np.float32)])
        self._values, places = np.unique(all_values, return_inverse=True)
        all_counts = np.concatenate([self._counts, counts])
        self._counts = np.bincount(places, all_counts, minlength=len(self._values)).astype(np.int64)

    def _count(self) -> None:
        if not self._waiting:
            return
        bits = np.concatenate(self._waiting).view(np.uint32)
        self._waiting, self._num_waiting = [], 0
        half, mask = np.uint32(1 << (_DROPPED_BITS - 1)), np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
        rounded, counts = np.unique(((bits + half) & mask).view(np.float32), return_counts=True)
        self.add_counted(rounded.astype(np.float64), counts)


def together(spreads: Iterable[Spread]) -> Spread:
    """Several as one."""
    whole = Spread()
    for spread in spreads:
        whole.add_counted(spread.values, spread.counts)
    return whole


class Least:
    """Of numbers in order the few least, each with the row that it belongs to; of equals the first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._numbers: Float64[np.ndarray, " n"] = np.zeros(0)
        self._rows: Int64[np.ndarray, " n"] = np.zeros(0, np.int64)

    def add(self, numbers: Shaped[np.ndarray, " n"], rows: Int64[np.ndarray, " n"]) -> None:
        """Take more; what is not finite is left out."""
        is_finite = np.isfinite(numbers)
        together = np.concatenate([self._numbers, numbers[is_finite]])
        names = np.concatenate([self._rows, rows[is_finite]])
        first = np.lexsort((names, together))[: self._most]
        self._numbers, self._rows = together[first], names[first]

    @property
    def rows(self) -> list[int]:
        """The rows, the least first."""
        found: list[int] = self._rows.tolist()
        return found
