"""What a stage promises.

A stage gets rows in the order of the shard: `id` and the columns of the index that it names, and under the name of each
stage that it reads `id`, `status` and the columns of that stage that it names.
It answers with one dictionary of its own columns per row, or raises.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

Row: TypeAlias = Mapping[str, Any]


@runtime_checkable
class Stage(Protocol):
    """One step over pictures, apart from files, shards and processes."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised by hand when the code's answers change."""
    schema: ClassVar[pa.Schema]

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Of the index."""

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """The stages whose columns it needs, or whose refusal of a picture spares it the work, each with those columns.

        "crops.list.element.hands" names a field within a list of structs.
        """

    @property
    def batch_size(self) -> int:
        """How many rows it likes to get at once."""

    @property
    def annotator(self) -> str:
        """The name of the model or method behind it."""

    @property
    def needs_gpu(self) -> bool:
        """Whether each worker wants a GPU of its own."""

    @property
    def uses_all_cores(self) -> bool:
        """Whether one process keeps every core busy: a torch model without a GPU."""

    def identity(self) -> Mapping[str, Any]:
        """Everything that changes its answers, JSON-ready."""

    def setup(self) -> None:
        """Load weights; once per worker process."""

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """One dictionary of columns per row, in order."""

    def close(self) -> None:
        """Give back what `setup` took."""


def refusal(reason: str, message: str, *, status: str = "skipped") -> dict[str, Any]:
    """The answer for a picture that a rule leaves out, instead of columns; "error" for one with broken labels."""
    return {"status": status, "reason": reason, "message": message}
