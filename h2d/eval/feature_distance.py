"""How far apart two sets of pictures are in a space of features: Frechet's distance and the kernel distance.

Axis legend: n pictures, m others, c channels, s subsets.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from h2d.eval.measured import REPEATS, Counts, Undefined

DEGREE = 3
"""Of the polynomial kernel (x . y / c + 1) ^ 3, KID's."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrechetDistance:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of the normal laws fitted to both sets: FID on trained features.

    With `counts`, both sets are resampled alike, picture by picture, where they are `paired`; else the made one alone.
    """

    real: Float32[np.ndarray, "n c"]
    made: Float32[np.ndarray, "m c"]
    paired: bool = True

    def __post_init__(self) -> None:
        assert self.real.shape[1] == self.made.shape[1]
        assert not self.paired or len(self.real) == len(self.made)

    @property
    def num_pictures(self) -> int:
        """How many were generated."""
        return len(self.made)

    def on(self, counts: Counts | None = None) -> float:
        """The distance, at least 0; raises `Undefined` for sets of fewer than two pictures."""
        real = _moments(self.real, counts if self.paired else None)
        return _frechet(real, _moments(self.made, counts))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KernelDistance:
    """Squared maximum mean discrepancy, unbiased, averaged over random subsets: KID on trained features."""

    real: Float32[np.ndarray, "n c"]
    made: Float32[np.ndarray, "m c"]
    subsets: int = 100
    subset_size: int = 1000
    """At most: smaller sets are taken whole, which the measure's conventions must tell."""
    seed: int = 0
    paired: bool = True

    def __post_init__(self) -> None:
        assert self.real.shape[1] == self.made.shape[1]
        assert not self.paired or len(self.real) == len(self.made)
        assert self.subsets > 0
        assert self.subset_size > 1

    @property
    def num_pictures(self) -> int:
        """How many were generated."""
        return len(self.made)

    def on(self, counts: Counts | None = None) -> float:
        """The mean over subsets, may be below 0.

        Raises `Undefined` for sets of fewer than two pictures, and where a picture is taken more than once.
        """
        return float(self.over_subsets(counts).mean())

    def over_subsets(self, counts: Counts | None = None) -> Float64[np.ndarray, " s"]:
        """The distance of each subset, once where each would be the whole of both sets; raises as `on`."""
        if counts is not None and counts.max(initial=0) > 1:
            raise Undefined(REPEATS)
        taken = slice(None) if counts is None else counts > 0
        made, real = self.made[taken], self.real[taken] if self.paired else self.real
        size = min(self.subset_size, len(real), len(made))
        if size < 2:
            raise Undefined(_TOO_FEW.format(count=size))
        rng = np.random.default_rng(self.seed)
        values = np.empty(1 if size == len(real) == len(made) else self.subsets)
        for number in range(len(values)):
            ours, theirs = (rng.permutation(len(rows))[:size] for rows in (real, made))
            values[number] = _discrepancy(real[ours].astype(np.float64), made[theirs].astype(np.float64))
        return values


_TOO_FEW = "{count} picture: a distance between sets needs two at least in each"

_Moments = tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, "c c"]]


def _moments(features: Float32[np.ndarray, "n c"], counts: Counts | None) -> _Moments:
    """Mean and unbiased covariance of the pictures taken `counts` times."""
    weights = np.ones(len(features)) if counts is None else counts.astype(np.float64)
    total = weights.sum()
    if total < 2:
        raise Undefined(_TOO_FEW.format(count=int(total)))
    rows = features.astype(np.float64)
    mean = weights @ rows / total
    rows = (rows - mean) * np.sqrt(weights)[:, None]
    return mean, rows.T @ rows / (total - 1)


def _frechet(real: _Moments, made: _Moments) -> float:
    """By the roots of symmetric matrices, exact where they are singular: fewer pictures than channels."""
    # torch's, for numpy's OpenBLAS takes up to fifty times as long where its threads share their cores with others.
    from torch import from_numpy, linalg

    values, vectors = (part.numpy() for part in linalg.eigh(from_numpy(real[1])))
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    squares = linalg.eigvalsh(from_numpy(root @ made[1] @ root)).numpy()
    common = np.sqrt(squares.clip(min=0)).sum()
    apart = ((real[0] - made[0]) ** 2).sum()
    return float(max(0.0, apart + np.trace(real[1]) + np.trace(made[1]) - 2 * common))


def _discrepancy(real: Float64[np.ndarray, "n c"], made: Float64[np.ndarray, "n c"]) -> float:
    size, width = real.shape

    def kernel(first: Float64[np.ndarray, "n c"], second: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, "n n"]:
        return np.asarray((first @ second.T / width + 1) ** DEGREE)

    within = sum(table.sum() - np.trace(table) for table in (kernel(real, real), kernel(made, made)))
    return float(within / (size * (size - 1)) - 2 * kernel(real, made).mean())
