"""Looks that go on side by side: which waits for which, and what is kept when one of them ends early."""

import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from h2d.eval.looking import Looks
from h2d.eval.looks import base
from h2d.eval.looks.base import points_field
from h2d.eval.pictures import REAL, PictureFolder
from h2d.eval.placing import Silent
from h2d.eval.taking import take_looks

PATIENCE_S = 20.0
MADE = "made"


class FakeLook:
    """Answers with a number of points that tells the picture; `before` is called with each shard's first title."""

    columns: ClassVar[tuple[pa.Field, ...]] = (points_field(),)
    needs_gpu = False

    def __init__(self, name, *, apart=False, needs=(), before=lambda title: None):
        self.name, self.apart, self.needs, self.before = name, apart, needs, before
        self.threads: set[int] = set()
        self.titles: list[str] = []

    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name}

    def setup(self):
        self.threads.add(threading.get_ident())

    def close(self):
        pass

    def look(self, seen):
        self.before(seen[0].title)
        self.titles += [one.title for one in seen]
        if self.needs:
            return [{"points": one.found.ravel() + 1} for one in seen]
        return [{"points": np.full(399, one.entry.number, np.float32)} for one in seen]


class Patient(Silent):
    """Stops what would wait for ever."""

    def __init__(self):
        self._until = time.monotonic() + PATIENCE_S

    def should_stop(self):
        return time.monotonic() > self._until


class FakeLooks(Looks):
    """Those of a run."""

    def __init__(self, *looks):
        for name, value in (("looks", looks), ("prompts", None)):
            object.__setattr__(self, name, value)

    def of(self, *, real):
        return self.looks


@pytest.fixture
def folders(picture_list, tmp_path, monkeypatch):
    """Eight pictures in each of two folders; a shard is three of them."""
    monkeypatch.setattr(base, "SHARD", 3)
    found = {name: PictureFolder(path=tmp_path / name) for name in (REAL, MADE)}
    for folder in found.values():
        for entry in picture_list.entries:
            folder.write(entry.name, np.full((96, 96, 3), entry.number, np.uint8), {"id": entry.id})
    return found


def first_points(tables, look):
    return {name: np.stack(of[look]["points"].to_pylist())[:, 0].tolist() for name, of in tables.items()}


def test_what_looks_in_a_process_of_its_own_is_looked_with_beside_the_others(picture_list, folders):
    meeting = threading.Barrier(2, timeout=PATIENCE_S)  # broken where one begins after the other's end
    pose = FakeLook("pose", apart=True, before=lambda _: meeting.wait())
    features = FakeLook("features", before=lambda _: meeting.wait())
    tables = take_looks(FakeLooks(pose, features), picture_list, folders, Silent())
    assert first_points(tables, "pose") == first_points(tables, "features") == {REAL: [*range(8)], MADE: [*range(8)]}
    assert pose.threads != features.threads == {threading.get_ident()}


def test_a_shard_waits_for_the_answers_that_it_needs_and_for_no_more(picture_list, folders):
    begun = threading.Event()

    def before_pose(title):
        if title == "picture 00006":  # the last of a folder: by then somebody has looked at the first
            assert begun.wait(PATIENCE_S)

    pose = FakeLook("pose", apart=True, before=before_pose)
    foreground = FakeLook("foreground", needs=("points",), before=lambda _: begun.set())
    tables = take_looks(FakeLooks(pose, foreground), picture_list, folders, Silent())
    assert first_points(tables, "foreground") == {REAL: [*range(1, 9)], MADE: [*range(1, 9)]}


@pytest.mark.parametrize("apart", [True, False])
def test_an_error_of_one_look_ends_the_other_and_what_was_answered_is_kept(picture_list, folders, apart):
    def fail(title):
        if title == "picture 00003":
            raise RuntimeError("the network is broken")

    broken, other = FakeLook("pose", apart=apart, before=fail), FakeLook("features", apart=not apart)
    with pytest.raises(RuntimeError, match="the network is broken"):
        take_looks(FakeLooks(broken, other), picture_list, folders, Silent())
    assert broken.titles == ["picture 00000", "picture 00001", "picture 00002"]
    broken.before = lambda _: None
    tables = take_looks(FakeLooks(broken, other), picture_list, folders, Silent())
    assert first_points(tables, "pose") == {REAL: [*range(8)], MADE: [*range(8)]}
    assert len(broken.titles) == len(other.titles) == 16


def test_a_look_that_waits_for_one_that_failed_ends(picture_list, folders):
    def fail(title):
        raise RuntimeError("no picture can be read")

    pose, foreground = FakeLook("pose", apart=True, before=fail), FakeLook("foreground", needs=("points",))
    with pytest.raises(RuntimeError, match="no picture can be read"):
        take_looks(FakeLooks(pose, foreground), picture_list, folders, Patient())
    assert foreground.titles == []


def test_one_line_of_progress_counts_every_look_of_every_picture_once(picture_list, folders):
    class Heard(Silent):
        def __init__(self):
            self.lines, self.count = [], 0

        def started(self, name, count, done):
            self.lines.append((name, count, done))

        def worked(self, count):
            self.count += count

        def should_stop(self):
            return self.count >= 16

    looks, watch = FakeLooks(FakeLook("pose", apart=True), FakeLook("features")), Heard()
    assert take_looks(looks, picture_list, folders, watch) is None
    again = Heard()
    again.should_stop = lambda: False
    assert take_looks(looks, picture_list, folders, again) is not None
    assert watch.lines == [("looking", 32, 0)]
    assert again.lines == [("looking", 32, watch.count)]
    assert watch.count + again.count == 32
