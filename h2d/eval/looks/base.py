"""A look at pictures, and its results on disk: what was looked at once is not looked at again.

Results lie beside the pictures, in `looks/<look>/<fingerprint>/part-NNNNN.parquet`; the fingerprint hashes everything
that changes the answers, and each row names its picture's hash. Axis legend: h w picture size.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, UInt8

from h2d.errors import UserError
from h2d.eval.picture_list import Entry, PictureList
from h2d.eval.pictures import PictureFolder
from h2d.eval.placing import Shard, Watch, do_all, shards_of
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

    def identity(self) -> Mapping[str, Any]:
        """Everything that changes the answers, JSON-ready: part of the number's conventions."""

    def setup(self) -> None:
        """Load weights."""

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """A row for each picture, in order."""

    def close(self) -> None:
        """Give back what `setup` took."""


def look_at(
    look: Look,
    pictures: PictureList,
    folder: PictureFolder,
    watch: Watch,
    *,
    about: str,
    fingerprint: str,
    given: Mapping[str, pa.Table] | None = None,
    workers: int = 1,
    address: str | None = None,
) -> pa.Table | None:
    """The look's rows for every picture of the folder, in the list's order; None when stopped before the last.

    `fingerprint` is `fingerprint_of` the look; `given` are other looks' tables by the column that is needed of them.
    Raises `UserError` where pictures are missing.
    """
    lacking = folder.lacking(pictures.entries)
    if lacking:
        raise UserError(
            f"{folder.path}: {len(lacking)} of {len(pictures)} pictures are not there yet, first {lacking[0]:05d}: run"
            " the same command to go on"
        )
    place = answers_folder(folder, look.name, fingerprint)
    hashes = _hashes(folder, pictures)
    shards = shards_of(range(len(pictures)), SHARD)
    waiting = [shard for shard in shards if not _is_done(place, shard, hashes)]
    if waiting:
        write_json(place / _IDENTITY_FILE, {"look": look.name, **json.loads(json.dumps(look.identity(), default=str))})
    tables = {name: (given or {})[name] for name in look.needs}
    work = Looking(look=look, entries=pictures.entries, folder=folder, place=place, given=tables)
    done = sum(map(len, shards)) - sum(map(len, waiting))
    finished = do_all(
        f"{look.name}: {about}", work, waiting, num_done=done, watch=watch, workers=workers, address=address
    )
    if not finished:
        return None
    return read_answers(place, len(pictures))


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
    """The work of looking: a part file a shard."""

    look: Look
    entries: Sequence[Entry]
    folder: PictureFolder
    place: Path
    given: Mapping[str, pa.Table]
    needs_gpu: bool = field(init=False)

    def __post_init__(self) -> None:
        self.needs_gpu = self.look.needs_gpu

    def setup(self) -> None:
        """Open the look."""
        self.look.setup()

    def run(self, shard: Shard) -> None:
        """Look at the shard's pictures and commit the rows."""
        seen, hashes = [], []
        for number in shard:
            entry = self.entries[number]
            picture, sha256 = self.folder.read(entry)
            hashes.append(sha256)
            seen.append(Seen(entry=entry, picture=picture, **self._given(number)))
        answers = self.look.look(seen)
        rows = [
            {"number": number, "sha256": sha256, **answer}
            for number, sha256, answer in zip(shard, hashes, answers, strict=True)
        ]
        schema = pa.schema([*_NUMBER, *self.look.columns])
        write_parquet(part_with(self.place, shard[0]), pa.Table.from_pylist(rows, schema=schema))

    def close(self) -> None:
        """Close the look."""
        self.look.close()

    def _given(self, number: int) -> dict[str, Any]:
        given: dict[str, Any] = {}
        if "points" in self.given:
            given["found"] = points_array(self.given["points"]["points"].slice(number, 1))[0]
        if "mask" in self.given:
            given["mask"] = decode_rle(self.given["mask"]["mask"][number].as_py())
        return given


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


def _hashes(folder: PictureFolder, pictures: PictureList) -> list[str]:
    return [hashlib.sha256(folder.picture(entry.name).read_bytes()).hexdigest() for entry in pictures.entries]


def _is_done(place: Path, shard: Shard, hashes: Sequence[str]) -> bool:
    """Whether the part is there, whole, and of these very pictures."""
    part = part_with(place, shard[0])
    if not part.exists():
        return False
    try:
        rows = pq.read_table(part, columns=["number", "sha256"])
    except (pa.ArrowInvalid, OSError):
        return False
    wanted = [(number, hashes[number]) for number in shard]
    return list(zip(rows["number"].to_pylist(), rows["sha256"].to_pylist(), strict=True)) == wanted
