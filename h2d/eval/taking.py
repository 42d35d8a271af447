"""Every look of a run at all of its pictures.

Without Ray there are two lanes: what looks in a process of its own (keypoints), and what looks in this one (masks,
features, CLIP). They go on side by side, and a shard that needs another look's answers begins as soon as those of its
own pictures are there. With Ray one look follows the other, as each has all workers.
"""

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa

from h2d.errors import UserError
from h2d.eval.looking import GIVEN_BY, Looks
from h2d.eval.looks.base import Looking, answers_folder, read_answers
from h2d.eval.picture_list import PictureList
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.placing import Shard, Silent, Watch, do_all

Turn: TypeAlias = tuple[Looking, Sequence[Shard]]
"""A look and what it has yet to look at."""

_NAME: Final = "looking"
_WAIT_S: Final = 0.2


def take_looks(
    looks: Looks,
    pictures: PictureList,
    folders: Mapping[str, PictureFolder],
    watch: Watch,
    *,
    workers: int = 1,
    address: str | None = None,
) -> dict[str, dict[str, pa.Table]] | None:
    """The answers by folder and look for every picture, in the list's order; None when stopped.

    What is on disk already is not looked at again. Prompts are read beside the folder `REAL`. Raises `UserError` where
    pictures are missing.
    """
    hashes = {name: _hashes(folder, pictures) for name, folder in folders.items()}
    turns = []
    for look in looks.of(real=REAL in folders):
        upon = {column: (GIVEN_BY[column], looks.fingerprints[GIVEN_BY[column]]) for column in look.needs}
        chosen = [REAL] if look is looks.prompts else list(folders)
        work = Looking(
            look=look, fingerprint=looks.fingerprints[look.name], upon=upon, entries=pictures.entries,
            folders=[folders[name] for name in chosen],
        )  # fmt: skip
        turns.append((work, work.waiting([hashes[name] for name in chosen])))
    if not _take(turns, len(pictures), watch, workers=workers, address=address):
        return None
    return {
        name: {
            look.name: read_answers(answers_folder(folder, look.name, looks.fingerprints[look.name]), len(pictures))
            for look in looks.of(real=name == REAL)
        }
        for name, folder in folders.items()
    }


def _hashes(folder: PictureFolder, pictures: PictureList) -> list[str]:
    """Of each picture's file; raises `UserError` where one is not there."""
    if lack := folder.lack(pictures.entries):
        raise UserError(f"{folder.path}: {lack}")
    return [hashlib.sha256(folder.picture(entry.name).read_bytes()).hexdigest() for entry in pictures.entries]


def _take(turns: Sequence[Turn], count: int, watch: Watch, *, workers: int, address: str | None) -> bool:
    """Take the turns; False when stopped."""
    total = sum(count * len(work.folders) for work, _ in turns)
    left = sum(len(shard) for _, shards in turns for shard in shards)
    turns = [(work, shards) for work, shards in turns if shards]
    if not turns:
        return not watch.should_stop()
    for work, _ in turns:
        work.begin()
    watch.started(_NAME, total, total - left)
    try:
        if workers == 1 and address is None:
            return _Lanes(turns, watch).run()
        return all(
            do_all(
                work.look.name, work, shards, num_done=0, watch=_Counting(watch),
                workers=1 if work.needs_gpu else workers, address=None if work.needs_gpu else address,
            )
            for work, shards in turns
        )  # fmt: skip
    finally:
        watch.ended(_NAME)


class _Counting(Silent):
    """Counts on a line that is there already, from two threads."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._lock = watch, threading.Lock()
        self._stopping = False

    def worked(self, count: int) -> None:
        """On that line."""
        with self._lock:
            self._watch.worked(count)

    def should_stop(self) -> bool:
        """Also where the other lane has ended early."""
        return self._stopping or self._watch.should_stop()

    def stop(self) -> None:
        """Begin no further shard."""
        self._stopping = True


class _Lanes:
    """Two threads, one for the looks in processes of their own; this one for the others, so that Ctrl-C reaches it."""

    def __init__(self, turns: Sequence[Turn], watch: Watch) -> None:
        self._turns = turns
        self._watch = _Counting(watch)
        self._news = threading.Condition()
        self._coming: set[Path] = {work.part(shard) for work, shards in turns for shard in shards}
        """Parts that are not there yet."""

    def run(self) -> bool:
        """Take the turns; False when stopped. Raises what a look raises."""
        # Both lanes follow one order in which what is needed comes first: they cannot wait for each other.
        turns = sorted(self._turns, key=lambda turn: bool(turn[0].look.needs))
        with ThreadPoolExecutor(1, thread_name_prefix="looks-apart") as pool:
            beside = pool.submit(self._lane, [turn for turn in turns if turn[0].look.apart])
            here = self._lane([turn for turn in turns if not turn[0].look.apart])
        return beside.result() and here

    def _lane(self, turns: Iterable[Turn]) -> bool:
        try:
            return all(self._turn(work, shards) for work, shards in turns)
        except BaseException:
            self._watch.stop()
            raise

    def _turn(self, work: Looking, shards: Sequence[Shard]) -> bool:
        work.setup()
        try:
            for shard in shards:
                if not self._given(work, shard):
                    return False
                work.run(shard)
                with self._news:
                    self._coming.discard(work.part(shard))
                    self._news.notify_all()
                self._watch.worked(len(shard))
        finally:
            work.close()
        return True

    def _given(self, work: Looking, shard: Shard) -> bool:
        """Wait until all that the shard needs is there; False when stopped."""
        needed = set(work.parts_needed(shard).values())
        with self._news:
            while not self._watch.should_stop():
                if not needed & self._coming:
                    return True
                self._news.wait(_WAIT_S)
        return False
