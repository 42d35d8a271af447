"""`h2d manifest split`: the same rows in other splits, every person in one split alone."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from h2d.errors import UserError
from h2d.manifests.derive import TableWriter, facts_in_common, finish, folder_made_whole
from h2d.manifests.io import Location
from h2d.manifests.schema import TABLES
from h2d.manifests.store import Manifest


def parse_shares(text: str) -> dict[str, float]:
    """Read "train=0.9,val=0.05,test=0.05"; in any unit. Raises `UserError`."""
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, mark, value = (part.strip() for part in item.partition("="))
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not (name and mark and share > 0 and np.isfinite(share)) or "/" in name or name in shares:
            raise UserError(f"--shares {text!r}: {item.strip()!r} is no share: write train=0.9,val=0.05,test=0.05")
        shares[name] = share
    return shares


def split_manifest(root: Location, out: Path, shares: Mapping[str, float], *, seed: int = 0) -> dict[str, int]:
    """Write the manifest's rows to `out` in the splits named; returns pictures by split.

    A person goes where most is wanting, in an order drawn from `seed`, so that shares are met as near as people
    allow. A picture of nobody known is its own person. Raises `UserError` when a split would stay empty.
    """
    manifest = Manifest(root)
    pictures = manifest.table("images", ["id", "subject"])
    people = _people(pictures)
    homes = _assign(Counter(people.values()), shares, seed)
    empty = [name for name in shares if name not in set(homes.values())]
    if empty:
        raise UserError(
            f"{root}: {len(homes)} people are too few to fill split {empty[0]}: give fewer or larger shares"
        )
    split_of = {picture: homes[person] for picture, person in people.items()}
    said: dict[str, Any] = {"manifest": manifest.name, "shares": dict(shares), "seed": seed}
    facts: dict[str, Any] = {**facts_in_common([manifest]), "resplit": said}
    with folder_made_whole(out) as folder:
        writers = [TableWriter(root=folder, table=table, facts=facts) for table in TABLES]
        for writer in writers:
            key = "image_id" if writer.table == "hands" else "id"
            for _, rows in manifest.row_groups(writer.table):
                names = rows[key].to_pylist()
                _deal(writer, rows, [split_of.get(name) or _drawn(name, shares, seed) for name in names])
        finish(folder, writers, facts, manifest.unmatched.replace_schema_metadata(None))
    return dict(Counter(split_of.values()))


def _people(pictures: pa.Table) -> dict[str, str]:
    columns = zip(pictures["id"].to_pylist(), pictures["subject"].to_pylist(), strict=True)
    return {picture: f"person {subject}" if subject else f"picture {picture}" for picture, subject in columns}


def _assign(num_pictures: Counter[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """A split for each person."""
    people = sorted(num_pictures)
    np.random.default_rng(seed).shuffle(people)
    whole = sum(shares.values())
    wanting = {name: share / whole * num_pictures.total() for name, share in shares.items()}
    homes = {}
    for person in sorted(people, key=lambda person: -num_pictures[person]):
        home = max(wanting, key=lambda name: wanting[name])
        homes[person] = home
        wanting[home] -= num_pictures[person]
    return homes


def _drawn(name: str, shares: Mapping[str, float], seed: int) -> str:
    """A split for a picture that was left out and whose person is not known, by its name alone."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    for split, share in shares.items():
        place -= share
        if place < 0:
            return split
    return next(reversed(list(shares)))


def _deal(writer: TableWriter, rows: pa.Table, splits: list[str]) -> None:
    names = np.array(splits)
    renamed = rows.set_column(rows.schema.get_field_index("split"), "split", pa.array(splits, pa.string()))
    for split in dict.fromkeys(splits):
        writer.add(split, renamed.take(np.flatnonzero(names == split)))
