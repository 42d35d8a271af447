"""Which pictures a mix is made of: one crop each, the sources' gestures kept, nobody in two splits, nothing twice.

Reads the light columns of the manifests alone; pictures are copied later, by the places that are drawn here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from h2d.config import config
from h2d.errors import UserError
from h2d.manifests.store import Manifest
from h2d.pipelines.sources.selection import shares

SPLITS: Final = ("test", "val", "train")
"""A person or a picture that stands in several belongs to the first of these: what measures is kept apart first."""

SAME: Final = "the same picture as another"

_MANY: Final = 10**9


@config
class MixPart:
    """So many pictures of one split of one manifest."""

    manifest: Path
    count: int | None = None
    """Pictures, which is crops: each picture gives one."""
    share: float | None = None
    """Of the mix's `total`, in any unit, instead of a count."""
    split: str = "train"

    def __post_init__(self) -> None:
        if (self.count is None) == (self.share is None):
            raise ValueError(f"{self.manifest}: give count or share, one of them")
        if self.count is not None and self.count < 1:
            raise ValueError(f"{self.manifest}: count must be at least 1, got {self.count}")
        if self.share is not None and not 0 < self.share < _MANY:
            raise ValueError(f"{self.manifest}: share must be positive, got {self.share}")
        if self.split not in SPLITS:
            raise ValueError(f"{self.manifest}: split must be one of {', '.join(SPLITS)}, got {self.split!r}")


PAPER: Final = (
    MixPart(manifest=Path("manifests/interhand"), count=60_000),
    MixPart(manifest=Path("manifests/reinterhand"), count=56_500),
    MixPart(manifest=Path("manifests/hagrid"), count=76_800),
)
"""The hand generator's training set."""


@config
class MixConfig:
    """What `h2d prepare mix` can be told; the defaults are the paper's."""

    out: Path = Path("manifests/mix_hand")
    parts: tuple[MixPart, ...] = PAPER
    total: int | None = None
    """Pictures that the shares divide."""
    seed: int = 0
    with_masks: bool = True
    """Draw only crops that have a mask: the hand generator cannot be trained on others."""
    shard_size: int = 512
    """Rows per file, and held in memory at once."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts is empty: name at least one manifest")
        shared = [part for part in self.parts if part.share is not None]
        if bool(shared) != (self.total is not None):
            raise ValueError("total goes with shares: give both or neither")
        if self.total is not None and self.total < len(shared):
            raise ValueError(f"total must be at least 1 for each share, got {self.total}")
        if self.seed < 0 or not 1 <= self.shard_size <= 4096:
            raise ValueError(f"seed must not be negative and shard_size 1 to 4096, got {self.seed}, {self.shard_size}")
        pairs = [(str(part.manifest), part.split) for part in self.parts]
        if len(set(pairs)) < len(pairs):
            raise ValueError("the same split of the same manifest stands in parts twice: add the counts up")

    def counts(self) -> list[int]:
        """How many pictures each part gives; shares by largest remainder, equal ones to the first."""
        whole = self.total or 0
        given = {number: part.share for number, part in enumerate(self.parts) if part.share is not None}
        exact = {number: whole * share / sum(given.values()) for number, share in given.items()}
        result = {number: int(quota) for number, quota in exact.items()}
        by_remainder = sorted(exact, key=lambda number: (result[number] - exact[number], number))
        for number in by_remainder[: whole - sum(result.values())]:
            result[number] += 1
        return [result.get(number, part.count or 0) for number, part in enumerate(self.parts)]


@dataclass(frozen=True, kw_only=True)
class DrawnPart:
    """One part with its pictures."""

    part: MixPart
    manifest: Manifest
    source: str
    candidates: int
    """Pictures that could have been drawn."""
    left_out: dict[str, int]
    """Pictures of the split that could not, by reason."""
    duplicates: pd.DataFrame
    """`id` of what was left out as the same picture as another, and that other's."""
    available: dict[str, int]
    """Candidates by gesture; "" where there is none."""
    rows: pd.DataFrame
    """What was drawn, in the manifest's order. Of its columns, `id` is the picture's and `hand_id` its crop's."""


def draw(choices: MixConfig) -> list[DrawnPart]:
    """Draw; raises `UserError` that names every part with too few pictures, before anything is written."""
    manifests = [Manifest(part.manifest) for part in choices.parts]
    random = np.random.default_rng(choices.seed)
    frames = [_candidates(*pair, choices, random) for pair in zip(manifests, choices.parts, strict=True)]
    everything = _without_repeats(pd.concat(frames, ignore_index=True))
    wanted = choices.counts()
    whys, drawn = [], []
    for number, (manifest, part) in enumerate(zip(manifests, choices.parts, strict=True)):
        mine = everything[everything["part"] == number]
        free = mine[mine["why_not"] == ""]
        left_out = {str(why): int(count) for why, count in mine["why_not"].value_counts().items() if why}
        if len(free) < wanted[number]:
            reasons = "".join(f", {count:,} {why}" for why, count in left_out.items())
            whys.append(
                f"{part.manifest} ({part.split}): {wanted[number]:,} wanted, {len(free):,} to draw from{reasons}"
            )
            continue
        drawn.append(
            DrawnPart(
                part=part,
                manifest=manifest,
                source=str(manifest.facts["source"]),
                candidates=len(free),
                left_out=left_out,
                duplicates=mine[mine["why_not"] == SAME][["id", "same_as"]],
                available={
                    str(name): int(count) for name, count in free["gesture"].value_counts().sort_index().items()
                },
                rows=_drawn(free, wanted[number], random),
            )
        )
    if whys:
        raise UserError(f"too few pictures: {'; '.join(whys)}: lower the counts, or prepare more")
    return drawn


def _candidates(manifest: Manifest, part: MixPart, choices: MixConfig, random: np.random.Generator) -> pd.DataFrame:
    """Every picture of the split with one of its crops, in the manifest's order."""
    number = choices.parts.index(part)
    images = manifest.table("images", ["id", "subject", "gesture", "source", "source_sha256"], part.split).to_pandas()
    hands = manifest.table("hands", ["id", "image_id", "mask_px"], part.split).to_pandas()
    if choices.with_masks:
        hands = hands[hands["mask_px"].notna()]
    # Both hands of a picture share one row, or each has its own: then one of them, at random, as in the paper.
    shuffled = hands.iloc[random.permutation(len(hands))].drop_duplicates("image_id").set_index("image_id")
    images["hand_id"] = images["id"].map(shuffled["id"])
    images["gesture"] = images["gesture"].fillna("")
    images["why_not"] = np.where(images["hand_id"].isna(), "without a crop to train on", "")
    candidates: pd.DataFrame = images.assign(part=number, split=part.split, order=np.arange(len(images)))
    return candidates


def _without_repeats(everything: pd.DataFrame) -> pd.DataFrame:
    """Mark whoever stands in a split that comes first, and what is the same picture as an earlier one."""
    rank = everything["split"].map({split: place for place, split in enumerate(SPLITS)})
    everything = everything.assign(rank=rank, same_as="").sort_values(["rank", "part", "order"], ignore_index=True)
    known = everything["subject"].notna()
    person = everything["source"] + "/" + everything["subject"].fillna("")
    first = everything[known].groupby(person[known])["rank"].min()
    elsewhere = known & (everything["why_not"] == "") & (person.map(first) < everything["rank"])
    everything.loc[elsewhere, "why_not"] = "whose person is in another split"
    name = everything["id"]
    for key in (everything["source_sha256"].fillna(name), name):  # the same name twice would be one row's
        free = key[everything["why_not"] == ""]
        repeated = free[free.duplicated()]
        first = free.drop_duplicates()
        originals = pd.Series(name[first.index].to_numpy(), index=first.to_numpy())
        everything.loc[repeated.index, "why_not"] = SAME
        everything.loc[repeated.index, "same_as"] = repeated.map(originals)
    return everything


def _drawn(free: pd.DataFrame, count: int, random: np.random.Generator) -> pd.DataFrame:
    """`count` pictures with the gestures' shares of all that are free, in the manifest's order."""
    groups = {str(gesture): rows for gesture, rows in free.groupby("gesture", sort=True)}
    quotas = shares({gesture: len(rows) for gesture, rows in groups.items()}, count, random)
    chosen = [rows.iloc[random.permutation(len(rows))[: quotas[gesture]]] for gesture, rows in groups.items()]
    rows: pd.DataFrame = pd.concat(chosen).sort_values("order", ignore_index=True)
    return rows


def describe(parts: Sequence[DrawnPart]) -> list[dict[str, Any]]:
    """What was drawn from where, JSON-ready: a part of the mix's `manifest.json`."""
    return [
        {
            "manifest": str(drawn.part.manifest),
            "source": drawn.source,
            "split": drawn.part.split,
            "count": len(drawn.rows),
            "candidates": drawn.candidates,
            "left_out": drawn.left_out,
            "gestures": {str(name): int(count) for name, count in drawn.rows["gesture"].value_counts().items()},
            "fingerprint": str(drawn.manifest.facts.get("fingerprint", "")),
        }
        for drawn in parts
    ]
