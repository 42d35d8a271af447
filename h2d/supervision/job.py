"""What a supervised process does, and what is known of the pictures on which one died before."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

NUM_ATTEMPTS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What came of some pictures: how many by status, and failures by reason."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(statuses=self.statuses + other.statuses, reasons=self.reasons + other.reasons)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a picture has no result."""

    status: str
    """error, crash or timeout."""
    reason: str
    message: str
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Care:
    """What is known of a shard on which workers died or hung; pictures by their place in it."""

    alone: frozenset[int] = frozenset()
    """Not to be worked on in company, so that the next death has one suspect."""
    given_up: Mapping[int, Failure] = field(default_factory=dict)
    """Not to be worked on at all."""


OnPictures: TypeAlias = Callable[[Tally], None]
"""Told of pictures as they are worked on, before their shard is written."""
OnBegin: TypeAlias = Callable[[Sequence[int]], None]
"""Told of the pictures, by their place in the shard, just before the annotator gets them."""


@runtime_checkable
class Shard(Protocol):
    """Some pictures that are done and committed together."""

    @property
    def title(self) -> str:
        """For messages."""


@runtime_checkable
class Job(Protocol):
    """Something done shard by shard; picklable before `setup`."""

    @property
    def name(self) -> str:
        """For progress and messages."""

    def setup(self) -> None:
        """Load weights; once per worker process."""

    def run(self, shard: Any, on_pictures: OnPictures, on_begin: OnBegin, care: Care) -> Any:
        """Do one shard and commit its result; `on_begin` hears which pictures would be to blame for a death now."""

    def close(self) -> None:
        """Give back what `setup` took."""
