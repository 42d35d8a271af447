"""A look at pictures, and its results on disk: what was looked at once is not looked at again.

Results lie beside the pictures, in `looks/<look>/<fingerprint>/part-NNNNN.parquet`; the fingerprint hashes everything
that changes the answers, and each row names its picture's hash. Axis legend: h w picture size.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, UInt8

from h2d.eval.picture_list import Entry
from h2d.eval.pictures import PictureFolder
from h2d.eval.placing import Shard, shards_of
from h2d.hashes import short_hash
from h2d.manifests.files import write_json, write_parquet
from h2d.manifests.rle import decode_rle
from h2d.manifests.schema import POINTS_133
from h2d.manifests.store import points_array
from h2d.pose.points import present

SHARD: Final = 32
_IDENTITY_FILE: Final = "identity.json"
_VERSION: Final = 1
PROBLEM: Final = pa.field("problem", pa.string())
"""How what looks at pictures died of one, which then has the answer for one that shows nobody."""
_NUMBER: Final = [pa.field("number", pa.int32(), nullable=False), pa.field("sha256", pa.string(), nullable=False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A picture as a look gets it."""

    entry: Entry
    picture: UInt8[np.ndarray, "h w 3"]
    """At the list's size."""
    found: Float32[np.ndarray, "133 3"] | None = None
    """The person's points that were found in it; for looks that need them."""
    mask: Bool[np.ndarray, "h w"] | None = None
    """Where the person is; for looks that need it."""

    @property
    def title(self) -> str:
        """For messages."""
        return f"picture {self.entry.name}"

    @property
    def person(self) -> Float32[np.ndarray, "133 3"]:
        """The points that were found, or those asked for where nobody was."""
        if self.found is not None and present(self.found).any():
            return self.found
        asked: Float32[np.ndarray, "133 3"] = self.entry.pose.people[0]
        return asked


@runtime_checkable
class Look(Protocol):
    """Looks at pictures. Building it is cheap, and it can be pickled before `setup`."""

    name: str
    columns: ClassVar[tuple[pa.Field, ...]]
    needs: tuple[str, ...]
    """Columns of other looks that it is given: `points`, `mask`."""
    needs_gpu: bool
    apart: bool
    """Whether it looks in a process of its own, so that others can look beside it."""

    def identity(self) -> Mapping[str, Any]:
        """Everything that changes the answers, JSON-ready: part of the number's conventions."""

    def setup(self) -> None:
        """Load weights."""

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """A row for each picture, in order."""

    def close(self) -> None:
        """Give back what `setup` took."""


def answers_folder(folder: PictureFolder, look: str, fingerprint: str) -> Path:
    """Where a look's answers about the pictures of a folder lie."""
    return folder.path / "looks" / look / fingerprint


def read_identity(place: Path) -> dict[str, Any]:
    """That of the look whose answers lie there."""
    identity: dict[str, Any] = json.loads((place / _IDENTITY_FILE).read_text(encoding="utf-8"))
    return identity


def read_answers(place: Path, count: int) -> pa.Table:
    """The rows of all `count` pictures of a list, in its order; raises what pyarrow does where some are not there."""
    parts = [pq.read_table(part_with(place, shard[0])) for shard in shards_of(range(count), SHARD)]
    return pa.concat_tables(parts, promote_options="default")  # earlier parts have no column of problems


def problems_in(table: pa.Table) -> dict[int, str]:
    """How looking died, by the number of the picture."""
    if PROBLEM.name not in table.column_names:
        return {}
    return {number: how for number, how in enumerate(table[PROBLEM.name].to_pylist()) if how is not None}


@dataclass(kw_only=True)
class Looking:
    """The work of one look at several folders' pictures of a list: a part file a shard.

    Pictures are numbered through the folders: number i of folder f is f * len(entries) + i.
    """

    look: Look
    fingerprint: str
    """`fingerprint_of` the look."""
    upon: Mapping[str, tuple[str, str]]
    """Name and fingerprint of the look that gives a column, by the column: those that the look needs."""
    entries: Sequence[Entry]
    folders: Sequence[PictureFolder]
    needs_gpu: bool = field(init=False)

    def __post_init__(self) -> None:
        self.needs_gpu = self.look.needs_gpu

    def waiting(self, hashes: Sequence[Sequence[str]]) -> list[Shard]:
        """What nobody has looked at yet; `hashes` are the SHA-256 of the folders' picture files."""
        count = len(self.entries)
        shards = [
            tuple(first + number for number in shard)
            for first in range(0, len(self.folders) * count, count)
            for shard in shards_of(range(count), SHARD)
        ]
        return [shard for shard in shards if not self._is_done(shard, hashes)]

    def begin(self) -> None:
        """Write beside the answers what will have given them."""
        identity = json.loads(json.dumps(self.look.identity(), default=str))
        for folder in self.folders:
            place = answers_folder(folder, self.look.name, self.fingerprint)
            write_json(place / _IDENTITY_FILE, {"look": self.look.name, **identity})

    def title(self, shard: Shard) -> str:
        """For messages."""
        folder, numbers = self._in_folder(shard)
        return f"pictures {numbers[0]} to {numbers[-1]} of {folder.path.name}"

    def part(self, shard: Shard) -> Path:
        """The file that the shard's rows are committed to."""
        folder, numbers = self._in_folder(shard)
        return part_with(answers_folder(folder, self.look.name, self.fingerprint), numbers[0])

    def parts_needed(self, shard: Shard) -> dict[str, Path]:
        """The files of other looks that must be there before this shard, by the column that is needed of each."""
        folder, numbers = self._in_folder(shard)
        return {column: part_with(answers_folder(folder, *self.upon[column]), numbers[0]) for column in self.look.needs}

    def setup(self) -> None:
        """Open the look."""
        self.look.setup()

    def run(self, shard: Shard) -> None:
        """Look at the shard's pictures and commit the rows."""
        folder, numbers = self._in_folder(shard)
        given = {column: pq.read_table(part)[column] for column, part in self.parts_needed(shard).items()}
        seen, hashes = [], []
        for row, number in enumerate(numbers):
            picture, sha256 = folder.read(self.entries[number])
            hashes.append(sha256)
            seen.append(Seen(entry=self.entries[number], picture=picture, **_given(given, row)))
        answers = self.look.look(seen)
        rows = [
            {"number": number, "sha256": sha256, **answer}
            for number, sha256, answer in zip(numbers, hashes, answers, strict=True)
        ]
        schema = pa.schema([*_NUMBER, *self.look.columns])
        write_parquet(self.part(shard), pa.Table.from_pylist(rows, schema=schema))

    def close(self) -> None:
        """Close the look."""
        self.look.close()

    def _in_folder(self, shard: Shard) -> tuple[PictureFolder, Shard]:
        """The folder of a shard, and its pictures' numbers in the list."""
        folder, first = divmod(shard[0], len(self.entries))
        return self.folders[folder], tuple(range(first, first + len(shard)))

    def _is_done(self, shard: Shard, hashes: Sequence[Sequence[str]]) -> bool:
        """Whether the part is there, whole, and of these very pictures."""
        part = self.part(shard)
        if not part.exists():
            return False
        try:
            rows = pq.read_table(part, columns=["number", "sha256"])
        except (pa.ArrowInvalid, OSError):
            return False
        _, numbers = self._in_folder(shard)
        of_folder = hashes[shard[0] // len(self.entries)]
        wanted = [(number, of_folder[number]) for number in numbers]
        return list(zip(rows["number"].to_pylist(), rows["sha256"].to_pylist(), strict=True)) == wanted


def fingerprint_of(look: Look, upon: Sequence[str] = ()) -> str:
    """Sixteen hexadecimal digits that change when anything that shapes the answers does.

    `upon` are the fingerprints of the looks that it needs: their answers shape its own.
    """
    return short_hash([_VERSION, look.name, look.identity(), *upon])


def points_field() -> pa.Field:
    """The column of 133 points."""
    return pa.field("points", POINTS_133, nullable=False)


def part_with(place: Path, number: int) -> Path:
    """The file that holds the answer about a picture."""
    return place / f"part-{number // SHARD * SHARD:05d}.parquet"


def _given(columns: Mapping[str, pa.ChunkedArray], row: int) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if "points" in columns:
        given["found"] = points_array(columns["points"].slice(row, 1))[0]
    if "mask" in columns:
        given["mask"] = decode_rle(columns["mask"][row].as_py())
    return given
