"""In which order the rows of a table are read for training, and by whom; arithmetic alone, no file is touched.

An epoch puts the row groups into an order drawn from (seed, epoch). Laid end to end they are one sequence of rows. Each
rank gets a stretch of it, each worker a stretch of its rank's, so that a reader opens few groups that another opens
too. A reader fills a buffer with whole groups, gives its rows in drawn order, and fills it again: where it stands is
one number, and going back to it costs one buffer.
Axis legend: g row groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int64

from h2d.errors import UserError

Uneven: TypeAlias = Literal["keep", "drop", "pad"]
"""When the rows cannot be dealt out evenly to the ranks. keep: some ranks have one more. drop: the rest of the epoch's
sequence is left out, another one each epoch. pad: its beginning is given again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Consecutive rows of one row group."""

    group: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """One of the readers that share an epoch: a worker of a rank."""

    rank: int = 0
    num_ranks: int = 1
    worker: int = 0
    num_workers: int = 1
    batch_size: int = 1
    """A worker gives so many rows in turn; only the last batch of a rank may have fewer."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.num_ranks:
            raise UserError(f"rank {self.rank} of {self.num_ranks}: ranks count from 0 to num_ranks - 1")
        if self.batch_size < 1:
            raise UserError(f"batch_size {self.batch_size}: give at least 1")
        assert 0 <= self.worker < self.num_workers, self


def rows_of_rank(num_rows: int, reader: Reader, uneven: Uneven) -> range:
    """The rank's stretch of the epoch's sequence; beyond `num_rows` the sequence starts again."""
    share, rest = divmod(num_rows, reader.num_ranks)
    if uneven == "keep":
        first = share * reader.rank + min(reader.rank, rest)
        return range(first, first + share + (reader.rank < rest))
    if uneven == "pad" and rest:
        share += 1
    return range(share * reader.rank, share * (reader.rank + 1))


def rows_of_worker(stretch: range, reader: Reader) -> range:
    """The worker's stretch of its rank's: whole batches, so that one batch a rank is short, and it comes last."""
    num_batches = -(-len(stretch) // reader.batch_size)
    batches, rest = divmod(num_batches, reader.num_workers)
    missing = num_batches * reader.batch_size - len(stretch)
    last_worker = (num_batches - 1) % reader.num_workers
    first_batch = batches * reader.worker + min(reader.worker, rest)
    first = first_batch * reader.batch_size - (missing if reader.worker > last_worker else 0)
    count = (batches + (reader.worker < rest)) * reader.batch_size - (missing if reader.worker == last_worker else 0)
    return stretch[first : first + count]


def rows_given(taken: int, reader: Reader) -> int:
    """How many rows a worker has given when its rank has taken `taken`, in turn batch by batch from its workers."""
    if reader.num_workers == 1:
        return taken
    batches, rest = divmod(taken, reader.batch_size)
    whole, next_worker = divmod(batches, reader.num_workers)
    extra = reader.batch_size if reader.worker < next_worker else rest if reader.worker == next_worker else 0
    return whole * reader.batch_size + extra


def group_order(num_groups: int, seed: int | None, epoch: int) -> Int64[np.ndarray, " g"]:
    """The epoch's order of row groups; the table's own without a seed."""
    if seed is None:
        return np.arange(num_groups, dtype=np.int64)
    return np.random.default_rng([seed, epoch]).permutation(num_groups).astype(np.int64)


def spans(sizes: Int64[np.ndarray, " g"], order: Int64[np.ndarray, " g"], stretch: range) -> list[Span]:
    """The rows of a stretch of the sequence, group by group; `sizes` are the groups' rows."""
    ends = np.cumsum(sizes[order])
    total = int(ends[-1])
    result = []
    position = stretch.start
    while position < stretch.stop:
        within = position % total
        place = int(np.searchsorted(ends, within, side="right"))
        group = int(order[place])
        start = within - int(ends[place] - sizes[group])
        count = min(int(ends[place]) - within, stretch.stop - position)
        result.append(Span(group=group, start=start, stop=start + count))
        position += count
    return result


def buffers(pieces: Sequence[Span], buffer_rows: int) -> Iterator[list[Span]]:
    """Whole spans together until they are `buffer_rows` or more."""
    filling: list[Span] = []
    count = 0
    for piece in pieces:
        filling.append(piece)
        count += piece.stop - piece.start
        if count >= buffer_rows:
            yield filling
            filling, count = [], 0
    if filling:
        yield filling


def buffer_order(count: int, seed: int | None, epoch: int, first: int) -> Int64[np.ndarray, " n"]:
    """In which order a buffer gives its rows; `first` is the place of its first row in the epoch's sequence."""
    if seed is None:
        return np.arange(count, dtype=np.int64)
    return np.random.default_rng([seed, epoch, first, 1]).permutation(count).astype(np.int64)
