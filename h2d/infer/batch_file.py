"""Pictures by the thousand: a JSONL file of prompts and poses, worked on so that it can be stopped and gone on with.

A line is `{"prompt": ..., "pose": "file.json"}` and perhaps `id`, `seed` and `options`; files that it names are sought
from the folder of its file. A picture that is there and says that it was made of this very line, with these networks,
is done; nothing else is.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from h2d.config import as_plain, validate_config
from h2d.errors import UserError
from h2d.infer.batch_lines import Line, read_lines
from h2d.infer.options import SampleOptions
from h2d.infer.provenance import peek_record, write_png
from h2d.infer.requests import Item
from h2d.infer.session import Made, MethodSession
from h2d.manifests.files import write_text
from h2d.pose.examples import find_pose

FAILED_FILE: Final = "failed.jsonl"

_MANY_IN_A_ROW: Final = 20
"""So many failures one after the other are no bad lines but something that stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A line that gave no picture."""

    line: Line
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """What is to be said of a line's picture."""

    line: Line
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Worked:
    """Lines that are over."""

    lines: Sequence[Line]
    failures: Sequence[Failure] = ()
    noted: Sequence[Noted] = ()


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
    noted: tuple[Noted, ...]
    """Of those that were made now; a picture's record keeps its notes."""
    pictures: tuple[Path, ...]
    """Of every line in order; those of `failures` are not there."""


@runtime_checkable
class Pool(Protocol):
    """Who makes the pictures: this process, or several others."""

    def done(self, lines: Sequence[Line]) -> list[bool]:
        """Which lines have their pictures already."""

    def work(self, groups: Sequence[Sequence[Line]]) -> Iterator[Worked]:
        """Each group when it is over, in any order."""


def run_batch(pool: Pool, file: Path, out: Path, *, batch_size: int = 1, watch: Watch) -> BatchOutcome:
    """Make what is missing. Failures are counted, written to `failed.jsonl` and do not stop the rest."""
    lines = read_lines(file)
    todo = [line for line, done in zip(lines, pool.done(lines), strict=True) if not done]
    watch.started(len(lines), len(lines) - len(todo))
    failures: list[Failure] = []
    noted: list[Noted] = []
    made, in_a_row = 0, 0
    try:
        for group in pool.work(groups_of(todo, batch_size)):
            failures += group.failures
            noted += group.noted
            num_failed, num_made = len(group.failures), len(group.lines) - len(group.failures)
            made += num_made
            in_a_row = 0 if num_made else in_a_row + num_failed
            watch.worked(group.failures, num_made)
            if in_a_row >= _MANY_IN_A_ROW and not made:
                last = failures[-1]
                raise UserError(f"{file}: the first {in_a_row} lines all failed, line {last.line.number}: {last.error}")
    finally:
        write_failures(out, failures)
    pictures = tuple(picture_path(out, line) for line in lines)
    return BatchOutcome(
        total=len(lines),
        found=len(lines) - len(todo),
        made=made,
        failures=tuple(failures),
        noted=tuple(noted),
        pictures=pictures,
    )


class InlinePool:
    """One group after the other, here."""

    def __init__(self, worker: "BatchWorker") -> None:
        self._worker = worker

    def done(self, lines: Sequence[Line]) -> list[bool]:
        """Which lines have their pictures already."""
        return [self._worker.is_done(line) for line in lines]

    def work(self, groups: Sequence[Sequence[Line]]) -> Iterator[Worked]:
        """In order."""
        for group in groups:
            yield self._worker.work(group)


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

    def work(self, lines: Sequence[Line]) -> Worked:
        """Make the pictures of some lines, those that go together in one batch."""
        results: list[Failure | Noted] = []
        ready: dict[str, list[tuple[Line, Item, SampleOptions]]] = {}
        for line in lines:
            try:
                item, options = self._item(line)
                key = json.dumps([as_plain(options), self._session.size_of(item, options)])
            except UserError as error:
                results.append(_failure(line, error))
                continue
            ready.setdefault(key, []).append((line, item, options))
        for group in ready.values():
            results += self._made(group)
        return Worked(
            lines=lines,
            failures=[one for one in results if isinstance(one, Failure)],
            noted=[one for one in results if isinstance(one, Noted) and one.notes],
        )

    def _made(self, group: Sequence[tuple[Line, Item, SampleOptions]]) -> list[Failure | Noted]:
        try:
            made = self._session.sample([item for _, item, _ in group], group[0][2])
        except Exception as error:  # noqa: BLE001  # whatever a line does to the networks is that line's result
            if len(group) > 1:  # too much memory at once, or one that spoils the others
                return [result for one in group for result in self._made([one])]
            return [_failure(group[0][0], error)]
        return [self._written(line, one) for (line, _, _), one in zip(group, made, strict=True)]

    def _written(self, line: Line, made: Made) -> Failure | Noted:
        try:
            write_png(picture_path(self._out, line), made.image, made.record)
        except OSError as error:
            return _failure(line, error)
        return Noted(line=line, notes=made.notes)

    def _item(self, line: Line) -> tuple[Item, SampleOptions]:
        """Raises `UserError` on a line that is not right."""
        if line.problem:
            raise UserError(line.problem)
        values = line.values
        own, seed = dict(values.get("options") or {}), values.get("seed")
        if isinstance(own.get("hand_photo"), str):
            own["hand_photo"] = str(self._folder / own["hand_photo"])
        options = validate_config(SampleOptions, {**as_plain(self._options), **own}, where="options")
        item = Item(
            prompt=values["prompt"],
            pose=find_pose(values["pose"], folder=self._folder),
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


def _failure(line: Line, error: Exception) -> Failure:
    said = " ".join(str(error).split())[:300]
    return Failure(line=line, error=said if isinstance(error, UserError) else f"{type(error).__name__}: {said}")


def groups_of(lines: Sequence[Line], size: int) -> list[Sequence[Line]]:
    """The lines in order, so many at a time."""
    return [lines[start : start + size] for start in range(0, len(lines), size)]
