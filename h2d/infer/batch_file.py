"""Pictures by the thousand: a JSONL file of prompts and poses, worked on so that it can be stopped and gone on with.

A line is `{"prompt": ..., "pose": "file.json"}` and perhaps `id`, `seed` and `options`. A picture that is there and
says that it was made of this very line, with these networks, is done; nothing else is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from h2d.config import as_plain, validate_config
from h2d.errors import UserError
from h2d.infer.options import SampleOptions
from h2d.infer.provenance import peek_record, write_png
from h2d.infer.requests import Item
from h2d.infer.session import MethodSession
from h2d.manifests.files import write_text
from h2d.pose.examples import find_pose

FAILED_FILE: Final = "failed.jsonl"

_KEYS: Final = {"id", "prompt", "pose", "seed", "options"}
_MANY_IN_A_ROW: Final = 20
"""So many failures one after the other are no bad lines but something that stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the file, not yet checked beyond its being JSON."""

    number: int
    id: str
    """Names the picture's file."""
    values: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A line that gave no picture."""

    line: Line
    error: str


@runtime_checkable
class Watch(Protocol):
    """Is told how a batch goes."""

    def started(self, total: int, done: int) -> None:
        """`done` of `total` lines have their pictures already."""

    def worked(self, failures: Sequence[Failure], num_made: int) -> None:
        """Some lines are over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOutcome:
    """How it ended."""

    total: int
    found: int
    made: int
    failures: tuple[Failure, ...]
    pictures: tuple[Path, ...]
    """Of every line in order; those of `failures` are not there."""


def read_lines(file: Path) -> list[Line]:
    """Every line that is not blank; raises `UserError` when two name one picture, or there are none.

    A line that is not right is kept with its `problem`: it must not stop the others.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}: give a JSONL file of prompts and poses") from None
    lines = [_line(number, row) for number, row in enumerate(text.splitlines(), start=1) if row.strip()]
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


@runtime_checkable
class Pool(Protocol):
    """Who makes the pictures: this process, or several others."""

    def done(self, lines: Sequence[Line]) -> list[bool]:
        """Which lines have their pictures already."""

    def work(self, groups: Sequence[Sequence[Line]]) -> Iterator[tuple[Sequence[Line], list[Failure]]]:
        """Each group when it is over, in any order, with those of its lines that failed."""


def run_batch(pool: Pool, file: Path, out: Path, *, batch_size: int = 1, watch: Watch) -> BatchOutcome:
    """Make what is missing. Failures are counted, written to `failed.jsonl` and do not stop the rest."""
    lines = read_lines(file)
    todo = [line for line, done in zip(lines, pool.done(lines), strict=True) if not done]
    watch.started(len(lines), len(lines) - len(todo))
    failures: list[Failure] = []
    made, in_a_row = 0, 0
    try:
        for group, failed in pool.work(groups_of(todo, batch_size)):
            failures += failed
            made += len(group) - len(failed)
            in_a_row = in_a_row + len(failed) if len(failed) == len(group) else 0
            watch.worked(failed, len(group) - len(failed))
            if in_a_row >= _MANY_IN_A_ROW and not made:
                raise UserError(f"{file}: the first {in_a_row} lines all failed, the last with: {failures[-1].error}")
    finally:
        write_failures(out, failures)
    pictures = tuple(picture_path(out, line) for line in lines)
    return BatchOutcome(
        total=len(lines), found=len(lines) - len(todo), made=made, failures=tuple(failures), pictures=pictures
    )


class InlinePool:
    """One group after the other, here."""

    def __init__(self, worker: "BatchWorker") -> None:
        self._worker = worker

    def done(self, lines: Sequence[Line]) -> list[bool]:
        """Which lines have their pictures already."""
        return [self._worker.is_done(line) for line in lines]

    def work(self, groups: Sequence[Sequence[Line]]) -> Iterator[tuple[Sequence[Line], list[Failure]]]:
        """In order."""
        for group in groups:
            yield group, self._worker.work(group)


class BatchWorker:
    """Makes the pictures of lines; the one that Ray's actors hold too."""

    def __init__(self, session: MethodSession, folder: Path, out: Path, *, options: SampleOptions, seed: int) -> None:
        self._session, self._folder, self._out = session, folder, out
        self._options, self._seed = options, seed

    def is_done(self, line: Line) -> bool:
        """Whether the line's picture is there, made of this very line by these networks."""
        record = peek_record(picture_path(self._out, line))
        if record is None or line.problem:
            return False
        try:
            item, options = self._item(line)
        except UserError:
            return False
        same = record["prompt"] == item.prompt and record["seed"] == item.seed
        same_pose = record["pose"]["hash"] == item.pose.pose_hash()
        return bool(
            same and same_pose and record["options"] == as_plain(options) and self._session.has_weights_of(record)
        )

    def work(self, lines: Sequence[Line]) -> list[Failure]:
        """Make the pictures of some lines, those that go together in one batch; gives the lines that failed."""
        failures: list[Failure] = []
        ready: dict[str, list[tuple[Line, Item, SampleOptions]]] = {}
        for line in lines:
            try:
                item, options = self._item(line)
                key = json.dumps([as_plain(options), self._session.size_of(item, options)])
            except UserError as error:
                failures.append(Failure(line=line, error=str(error)))
                continue
            ready.setdefault(key, []).append((line, item, options))
        for group in ready.values():
            failures += self._made(group)
        return failures

    def _made(self, group: Sequence[tuple[Line, Item, SampleOptions]]) -> list[Failure]:
        try:
            made = self._session.sample([item for _, item, _ in group], group[0][2])
        except (UserError, RuntimeError, ValueError) as error:
            if len(group) > 1:  # too much memory at once, or one that spoils the others
                return [failure for one in group for failure in self._made([one])]
            said = " ".join(str(error).split())[:300]
            return [
                Failure(
                    line=group[0][0], error=said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"
                )
            ]
        for (line, _, _), one in zip(group, made, strict=True):
            write_png(picture_path(self._out, line), one.image, one.record)
        return []

    def _item(self, line: Line) -> tuple[Item, SampleOptions]:
        """Raises `UserError` on a line that is not right."""
        if line.problem:
            raise UserError(line.problem)
        where = f"line {line.number}"
        prompt, pose, seed = line.values.get("prompt"), line.values.get("pose"), line.values.get("seed")
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"{where}: prompt = {prompt!r}: say what the picture shows")
        if not isinstance(pose, str):
            raise UserError(f"{where}: pose = {pose!r}: name a file of OpenPose JSON")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise UserError(f"{where}: seed = {seed!r}: give a whole number from 0")
        own = line.values.get("options") or {}
        if not isinstance(own, Mapping):
            raise UserError(f"{where}: options = {own!r}: give names and values")
        options = validate_config(SampleOptions, {**as_plain(self._options), **own}, where=where)
        item = Item(
            prompt=prompt,
            pose=find_pose(pose, folder=self._folder),
            seed=self._seed + line.number if seed is None else seed,
        )
        return item, options


def picture_path(out: Path, line: Line) -> Path:
    """Where a line's picture lies, or will."""
    return out / f"{line.id}.png"


def write_failures(out: Path, failures: Sequence[Failure]) -> None:
    """The failed lines with their errors; no file where there are none."""
    file = out / FAILED_FILE
    rows = [{"line": one.line.number, "id": one.line.id, "error": one.error} for one in failures]
    if rows:
        out.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        file.unlink(missing_ok=True)


def _line(number: int, row: str) -> Line:
    name = f"{number:06d}"
    try:
        values = json.loads(row)
    except (ValueError, RecursionError) as error:
        return Line(
            number=number, id=name, values={}, problem=f"line {number}: not JSON: {' '.join(str(error).split())}"
        )
    if not isinstance(values, dict):
        return Line(number=number, id=name, values={}, problem=f"line {number}: no object of prompt and pose")
    unknown = sorted(set(values) - _KEYS)
    given = values.get("id", name)
    problem = f"line {number}: {unknown[0]}: there is no such key: {', '.join(sorted(_KEYS))}" if unknown else None
    if not isinstance(given, str) or not given or given != Path(given).name or given.startswith("."):
        return Line(number=number, id=name, values=values, problem=f"line {number}: id = {given!r}: give a file name")
    return Line(number=number, id=given, values=values, problem=problem)


def groups_of(lines: Sequence[Line], size: int) -> list[Sequence[Line]]:
    """The lines in order, so many at a time."""
    return [lines[start : start + size] for start in range(0, len(lines), size)]
