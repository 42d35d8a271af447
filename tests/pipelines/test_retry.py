"""Failures tried again, runs that fail too often, and what a run says of itself while it goes."""

import json
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from colour_world import Scene, draw, scenes, tables, write_folder
from test_prepare import Watching, choices_for

from h2d.annotate.keypoints import DETECTORS
from h2d.errors import JobError, UserError
from h2d.images import encode_jpeg
from h2d.pipelines import limits, progress_file
from h2d.pipelines.choices import PoseChoice
from h2d.pipelines.limits import ErrorLimit
from h2d.pipelines.prepare import prepare
from h2d.pipelines.progress_file import RecordedWatch, read_running
from h2d.pipelines.retry import retried_statuses
from h2d.pipelines.status import read_status
from h2d.supervision.job import Tally


@pytest.fixture
def choices(tmp_path, monkeypatch):
    """Ten good pictures, one that is cursed until a cure is there, and one that is no picture."""
    monkeypatch.setitem(DETECTORS, "curable", "colour_world:CurableDetector")
    write_folder(tmp_path / "pictures", scenes(10))
    cursed = draw(Scene(hands={"left": (0.5, 0.5)}), seed=99)
    cursed[:8, :8] = (0, 255, 0)
    (tmp_path / "pictures" / "cursed.jpg").write_bytes(encode_jpeg(cursed))
    (tmp_path / "pictures" / "text.jpg").write_bytes(b"no picture")
    return choices_for(tmp_path, pose=PoseChoice(name="curable", options={"cure": tmp_path / "cure"}))


def rejects(out):
    rows = [row for file in (out / "rejects").rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    return {row["source_path"]: (row["reason"], row["attempts"]) for row in rows}


def test_what_failed_is_tried_again_and_nothing_else(choices, tmp_path):
    first = prepare(choices, Watching())
    assert rejects(first.out)["cursed.jpg"] == ("RuntimeError", 2)
    assert rejects(first.out)["text.jpg"] == ("decode", 1)
    before = {file: file.stat().st_mtime_ns for file in (first.out / "work" / "pose").rglob("part-*.parquet")}
    assert prepare(choices, Watching()).did_nothing
    (tmp_path / "cure").touch()
    watch = Watching()
    second = prepare(choices, watch, retry=frozenset({"error"}))
    assert second.counts["images"] == first.counts["images"] + 1
    assert rejects(second.out)["text.jpg"] == ("decode", 2)
    assert "cursed.jpg" not in rejects(second.out)
    rewritten = [file for file, when in before.items() if file.stat().st_mtime_ns != when]
    assert 1 <= len(rewritten) < len(before)
    assert watch.worked["pose"] == watch.worked["mask"] == watch.worked["merge"] == 4 * len(rewritten)
    assert not list(second.out.rglob("retry-*"))
    assert prepare(choices, Watching()).did_nothing


def test_after_a_retry_the_tables_are_those_of_a_run_that_never_failed(choices, tmp_path):
    prepare(choices, Watching())
    (tmp_path / "cure").touch()
    retried = tables(prepare(choices, Watching(), retry=frozenset({"error"})).out)
    fresh = tables(prepare(replace(choices, out=tmp_path / "fresh"), Watching()).out)
    assert retried.keys() == fresh.keys()
    assert {name for name in retried if retried[name] != fresh[name]} == {"rejects/train/part-00002.parquet"}


def test_a_status_that_no_row_has_retries_nothing(choices):
    prepare(choices, Watching())
    assert prepare(choices, Watching(), retry=frozenset({"crash", "timeout"})).did_nothing


def test_a_retry_that_is_stopped_goes_on_without_saying_so(choices, tmp_path):
    first = prepare(choices, Watching())
    (tmp_path / "cure").touch()
    assert prepare(choices, Watching(stop_after=0), retry=frozenset({"error"})).interrupted
    kept = prepare(choices, Watching())
    assert kept.counts == first.counts
    assert rejects(kept.out)["cursed.jpg"] == ("RuntimeError", 2)
    assert prepare(choices, Watching(), retry=frozenset({"error"})).counts["images"] == first.counts["images"] + 1


def test_words_of_retry():
    assert retried_statuses("errors, crash") == {"error", "crash"}
    with pytest.raises(UserError, match="'skipped' cannot be retried: choose from errors, crash, timeout"):
        retried_statuses("skipped")


def worked(ok: int, **failed: int) -> Tally:
    return Tally(statuses=Counter(ok=ok, error=sum(failed.values())), reasons=Counter(failed))


def test_a_run_that_fails_too_often_stops_with_the_top_five_reasons():
    limit = ErrorLimit(Watching(), max_error_rate=0.05)
    limit.job_started("mask", 5000, worked(4000))
    limit.pictures_worked(worked(0, decode=500))
    reasons = {"decode": 9, "ValueError": 8, "KeyError": 7, "OSError": 6, "TypeError": 5, "RuntimeError": 4}
    with pytest.raises(JobError, match=r"539 of 1000 pictures \(53\.9%, more than 5\.0%\)") as caught:
        limit.pictures_worked(worked(461, **reasons))
    assert "decode 509, ValueError 8, KeyError 7, OSError 6, TypeError 5;" in str(caught.value)
    assert "RuntimeError" not in str(caught.value)


def test_the_rate_counts_failures_of_this_job_alone():
    limit = ErrorLimit(Watching(), max_error_rate=0.05)
    limit.job_started("pose", 5000, Tally())
    limit.pictures_worked(worked(950, decode=50))
    limit.pictures_worked(Tally(statuses=Counter(skipped=900, blocked=900)))
    limit.job_started("mask", 5000, Tally())
    limit.pictures_worked(worked(990, decode=10))


def test_finished_shards_are_kept_when_the_rate_stops_a_run(choices, monkeypatch):
    monkeypatch.setattr(limits, "MIN_PICTURES", 8)
    strict = replace(choices, run=replace(choices.run, max_error_rate=0.01))
    with pytest.raises(JobError, match="the pose stage failed on"):
        prepare(strict, Watching())
    assert list((choices.out / "work" / "pose").rglob("part-*.parquet"))
    watch = Watching()
    lenient = replace(choices, run=replace(choices.run, max_error_rate=1.0))
    assert prepare(lenient, watch).counts["indexed"] == 12
    assert watch.done_before["pose"] >= 4


def test_a_run_says_how_far_it_is_and_takes_that_back_at_the_end(choices, monkeypatch):
    monkeypatch.setattr(progress_file, "WRITE_EVERY_S", 0.0)
    seen = []

    class Looking(Watching):
        def pictures_worked(self, tally):
            super().pictures_worked(tally)
            seen.append(read_status(choices.out).running)

    prepare(choices, Looking())
    assert [state["stage"] for state in (seen[0], seen[-1])] == ["pose", "merge"]
    poses = [state for state in seen if state["stage"] == "pose"]
    assert [state["done"] for state in poses] == sorted(state["done"] for state in poses)
    assert poses[-1]["done"] == poses[-1]["total"] == 12
    assert poses[-1]["statuses"]["error"] == 2
    assert poses[-1]["pictures_per_second"]["overall"] > 0
    assert read_status(choices.out).running is None


def test_what_a_killed_run_last_said_stays(tmp_path):
    watch = RecordedWatch(Watching(), tmp_path)
    watch.job_started("pose", 10, worked(4))
    watch.pictures_worked(worked(1))
    state = read_running(tmp_path)
    assert (state["done"], state["total"]) == (4, 10)
    watch.job_ended("pose")
    assert json.loads((tmp_path / "status.json").read_text())["done"] == 5
