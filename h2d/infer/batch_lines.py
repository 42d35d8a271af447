"""The lines of a batch's file, each checked by itself: a bad one must not stop the others."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError

_KEYS: Final = {"id", "prompt", "pose", "seed", "options"}
_LONGEST_ID_BYTES: Final = 242
"""A file's name has 255, and a picture is `.ID.png.partial` until it is whole."""
NO_CHARACTER: Final = re.compile(r"[\x00\ud800-\udfff]")
"""JSON can spell them, but no file name, no tokenizer and no PNG takes them all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the file."""

    number: int
    id: str
    """Names the picture's file."""
    values: Mapping[str, Any]
    """As they should be, unless there is a problem."""
    problem: str | None = None


def read_lines(file: Path) -> list[Line]:
    """Every line that is not blank; raises `UserError` when two name one picture, or there are none.

    A line that is not right is kept with its `problem`.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{file}: cannot be read: {why}: give a JSONL file of prompts and poses") from None
    # Not by `splitlines`, which also cuts at what may stand in a JSON string, as U+2028.
    lines = [_line(number, row) for number, row in enumerate(text.split("\n"), start=1) if row.strip()]
    if not lines:
        raise UserError(f'{file}: no lines: give one {{"prompt": ..., "pose": "file.json"}} a picture')
    seen: dict[str, int] = {}
    for line in lines:
        if line.id in seen:
            raise UserError(
                f"{file}: lines {seen[line.id]} and {line.number} have the id {line.id!r}: give each its own"
            )
        seen[line.id] = line.number
    return lines


def _line(number: int, row: str) -> Line:
    name = f"{number:06d}"
    try:
        values = _parsed(row)
        given = _checked_id(values.get("id", name))
    except UserError as error:
        return Line(number=number, id=name, values={}, problem=str(error))
    try:
        _check(values)
    except UserError as error:
        return Line(number=number, id=given, values={}, problem=str(error))
    return Line(number=number, id=given, values=values)


def _parsed(row: str) -> dict[str, Any]:
    try:
        values = json.loads(row)
        texts = list(_texts(values))
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError("no object of prompt and pose")
    for text in texts:
        if found := NO_CHARACTER.search(text):
            raise UserError(f"{text[:60]!r}: {found[0]!r} is no character: leave it out")
    return values


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(inner)


def _checked_id(given: Any) -> str:
    if not isinstance(given, str) or not given.isprintable() or given in ("", ".") or given != Path(given).name:
        raise UserError(f"id = {given!r}: give a file name")
    if given.startswith(".") or len(given.encode()) > _LONGEST_ID_BYTES:
        raise UserError(f"id = {given[:60]!r}: give at most {_LONGEST_ID_BYTES} bytes, the first no dot")
    return given


def _check(values: Mapping[str, Any]) -> None:
    if unknown := sorted(set(values) - _KEYS):
        raise UserError(f"{unknown[0]}: there is no such key: {', '.join(sorted(_KEYS))}")
    prompt, pose, seed, own = (values.get(key) for key in ("prompt", "pose", "seed", "options"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError(f"prompt = {prompt!r}: say what the picture shows")
    if not isinstance(pose, str):
        raise UserError(f"pose = {pose!r}: name a file of OpenPose JSON")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        raise UserError(f"seed = {seed!r}: give a whole number from 0")
    if own is not None and not isinstance(own, dict):
        raise UserError(f"options = {own!r}: give names and values")
