"""Captions of studio data sets: what is known of the person and of the sequence, from a table. Nobody looks.

A table's row has a pattern for the pictures' ids, as `interhand/test/Capture4/*`, and what is known of them: a whole
`caption`, or words for `gender`, `skin`, `look` (of the hands), `doing` and `place`. Of the rows that match, the first
that knows a thing decides it; the user's rows come before the shipped ones. What no row knows is not said.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from h2d.annotate.base import CaptionRequest
from h2d.config import config
from h2d.errors import UserError

WORDS: Final = ("caption", "gender", "skin", "look", "doing", "place")
COLUMNS: Final = ("pictures", *WORDS)

VERSION: Final = 1
"""Counted up when the sentence changes."""

_SHIPPED: Final = files("h2d.annotate.captions") / "sequences.yaml"


@config
class SequenceCaptioner:
    """Says "a photo of the right hand of a person with light skin, giving a thumbs up, in a capture studio"."""

    captions: Path | None = None
    """The user's table: CSV with a heading, or a YAML list of mappings; its rows go before the shipped ones."""
    sees_pictures: ClassVar[bool] = False
    batch_size: int = 512

    def identity(self) -> Mapping[str, Any]:
        """The sentence's version and both tables' hashes; raises `UserError` when the user's is not in order."""
        if self.captions is not None:
            _rows_of(self.captions)
        own = None if self.captions is None else hashlib.sha256(self.captions.read_bytes()).hexdigest()
        shipped = hashlib.sha256(_SHIPPED.read_bytes()).hexdigest()
        return {"captioner": "sequence", "version": VERSION, "shipped": shipped, "captions": own}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def caption(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """One sentence per request, in order; the picture itself is not looked at."""
        rows = (*(_rows_of(self.captions) if self.captions else ()), *_shipped_rows())
        return [_sentence(_known(request.id, rows), request.hands) for request in requests]


def read_table(text: str, *, name: str) -> list[dict[str, str]]:
    """The rows of a table of captions; raises `UserError` naming the row and what is wrong with it."""
    try:
        rows: Any = list(csv.DictReader(text.splitlines())) if name.endswith(".csv") else yaml.safe_load(text)
    except (csv.Error, yaml.YAMLError) as error:
        raise UserError(f"{name}: not a table of captions: {' '.join(str(error).split())}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{name}: expected rows with the columns {', '.join(COLUMNS)}")
    return [_checked(row, f"{name}: row {number}") for number, row in enumerate(rows, start=1)]


def _checked(row: Mapping[Any, Any], where: str) -> dict[str, str]:
    unknown = [str(column) for column in row if column not in COLUMNS]
    if unknown:
        raise UserError(f"{where}: {unknown[0]} is no column: choose from {', '.join(COLUMNS)}")
    texts = {column: " ".join(str(value).split()) for column, value in row.items() if value not in (None, "")}
    if not texts.get("pictures") or len(texts) == 1:
        raise UserError(f"{where}: needs `pictures`, a pattern for their ids, and one of {', '.join(WORDS)}")
    return texts


def _rows_of(file: Path) -> list[dict[str, str]]:
    if file.suffix not in (".csv", ".yaml", ".yml"):
        raise UserError(f"captions = {file}: expected a .csv or .yaml file")
    try:
        return read_table(file.read_text("utf-8"), name=str(file))
    except OSError as error:
        raise UserError(f"captions = {file}: cannot be read: {error.strerror}") from None


@cache
def _shipped_rows() -> tuple[dict[str, str], ...]:
    return tuple(read_table(_SHIPPED.read_text("utf-8"), name="sequences.yaml"))


def _known(picture: str, rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    known: dict[str, str] = {}
    for row in rows:
        if fnmatchcase(picture, row["pictures"]):
            known = {**row, **known}
    return known


def _sentence(known: Mapping[str, str], hands: Sequence[str]) -> str:
    if "caption" in known:
        return known["caption"]
    shown = "both hands" if len(hands) == 2 else f"the {hands[0]} hand" if hands else "the hands"
    about = [f"with {known['skin']} skin" if "skin" in known else "", f"and {known['look']}" if "look" in known else ""]
    if "skin" not in known and "look" in known:
        about = [f"with {known['look']}"]
    owner = " ".join(filter(None, (f"a {known.get('gender', 'person')}", *about)))
    return ", ".join(filter(None, (f"a photo of {shown} of {owner}", known.get("doing"), known.get("place"))))
