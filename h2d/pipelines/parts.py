"""Part files: what a stage made of a shard. A part that exists, is whole and has its rows is done; nothing else is.

A part lies at `work/<stage>/<fingerprint>/part-NNNNN.parquet`. The fingerprint hashes the stage's code version,
options and models and the fingerprints it reads from, so a changed option re-runs what it touches and nothing more.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from h2d.manifests.files import TEMPORARY
from h2d.pipelines.plan import Shard

STATUS_COLUMNS: Final = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("message", pa.string()),
    pa.field("attempts", pa.int32(), nullable=False),
]
"""At the head of every part: ok, or why not. "blocked" means that an earlier stage has no result for the picture."""

_NAME: Final = b"h2d_part"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What came of a shard or of a stage: pictures by status, and failures by reason."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(statuses=self.statuses + other.statuses, reasons=self.reasons + other.reasons)


def fingerprint(stage: str, version: int, identity: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """Sixteen hexadecimal digits that change when anything that shapes the stage's output changes."""
    text = json.dumps([stage, version, identity, list(inputs)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def part_folder(work: Path, stage: str, stage_fingerprint: str) -> Path:
    """Where a stage's parts lie."""
    return work / stage / stage_fingerprint


def is_done(file: Path, shard: Shard) -> bool:
    """Whether the part is there, whole, says that it is this one, and has one row per picture of its shard."""
    try:
        footer = pq.read_metadata(file)
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    except OSError as error:
        if error.errno is not None:
            raise
        return False  # Arrow's way to say that a footer makes no sense
    name = (footer.metadata or {}).get(_NAME)
    return bool(footer.num_rows == shard.num_pictures and name == _part_name(file.parent.name, shard))


def part_schema(columns: pa.Schema, stage_fingerprint: str, shard: Shard) -> pa.Schema:
    """The schema of a stage's part: status, the stage's columns, and which part it is."""
    name = {_NAME: _part_name(stage_fingerprint, shard)}
    return pa.schema([*STATUS_COLUMNS, *columns], metadata=name)


def _part_name(stage_fingerprint: str, shard: Shard) -> bytes:
    return f"{stage_fingerprint}/{shard.number}".encode()


def read_tally(file: Path) -> Tally:
    """Count a part's rows by status and reason, reading those two columns only."""
    table = pq.read_table(file, columns=["status", "reason"])
    return Tally(
        statuses=Counter(table["status"].to_pylist()),
        reasons=Counter(reason for reason in table["reason"].to_pylist() if reason is not None),
    )


def set_aside(part: Path) -> Path:
    """Where a part waits whose failures are tried once more: its good rows are taken over into the next one."""
    return part.with_name(f"retry-{part.name}")


def remove_leftovers(folder: Path) -> int:
    """Delete the unfinished files of runs that were killed; returns how many there were."""
    leftovers = [file for file in folder.rglob(f".*{TEMPORARY}*") if file.is_file()]
    for file in leftovers:
        file.unlink(missing_ok=True)
    return len(leftovers)
