"""Part files: what a stage made of a shard. A part that exists, is whole and has its rows is done; nothing else is.

A part says of which pictures it was made and how they came out, so that one look at its end tells all.
A part lies at `work/<stage>/<fingerprint>/part-NNNNN.parquet`. The fingerprint hashes the stage's code version,
options and models and the fingerprints it reads from, so a changed option re-runs what it touches and nothing more.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from h2d.hashes import short_hash
from h2d.manifests.files import TEMPORARY, write_parquet
from h2d.manifests.io import Location, open_parquet
from h2d.pipelines.plan import Shard
from h2d.supervision.job import Tally

STATUS_COLUMNS: Final = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("message", pa.string()),
    pa.field("attempts", pa.int32(), nullable=False),
]
"""At the head of every part: ok, or why not. "blocked" means that an earlier stage has no result for the picture."""


_FACTS: Final = b"h2d_part"


def fingerprint(stage: str, version: int, identity: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """Sixteen hexadecimal digits that change when anything that shapes the stage's output changes."""
    return short_hash([stage, version, identity, list(inputs)])


def part_folder(work: Location, stage: str, stage_fingerprint: str) -> Location:
    """Where a stage's parts lie."""
    return work / stage / stage_fingerprint


def write_part(file: Location, rows: pa.Table, shard: Shard) -> Tally:
    """Commit what a stage made of a shard, with what came of it in the file's metadata; returns that."""
    reasons = Counter(reason for reason in rows["reason"].to_pylist() if reason is not None)
    tally = Tally(statuses=Counter(rows["status"].to_pylist()), reasons=reasons)
    facts = {
        "fingerprint": file.parent.name,
        "shard": shard.sha256,
        "statuses": tally.statuses,
        "reasons": tally.reasons,
    }
    write_parquet(file, rows.replace_schema_metadata({_FACTS: json.dumps(facts)}), compression="LZ4")
    return tally


def is_done(file: Location, shard: Shard) -> bool:
    """Whether the part is there, whole, made of this shard's pictures, and has one row per picture."""
    try:
        with open_parquet(file) as part:
            metadata = part.metadata
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    except OSError as error:
        if error.errno is not None:
            raise
        return False  # Arrow's way to say that a footer makes no sense
    facts = json.loads((metadata.metadata or {}).get(_FACTS, b"{}"))
    named = facts.get("fingerprint") == file.parent.name and facts.get("shard") == shard.sha256
    return bool(named and metadata.num_rows == shard.num_pictures)


def read_tally(file: Location) -> Tally:
    """What came of the part's pictures."""
    with open_parquet(file) as part:
        facts = json.loads(part.metadata.metadata[_FACTS])
    return Tally(statuses=Counter(facts["statuses"]), reasons=Counter(facts["reasons"]))


def set_aside(part: Location) -> Location:
    """Where a part waits whose failures are tried once more: its good rows are taken over into the next one."""
    return part.with_name(f"retry-{part.name}")


def remove_leftovers(folder: Location) -> int:
    """Delete the unfinished files of runs that were killed; returns how many there were."""
    if not isinstance(folder, Path):
        return 0  # a store shows no unfinished file
    leftovers = [file for file in folder.rglob(f".*{TEMPORARY}*") if file.is_file()]
    for file in leftovers:
        file.unlink(missing_ok=True)
    return len(leftovers)
