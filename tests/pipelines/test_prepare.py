"""The walk from a folder of pictures to a manifest, stopped, resumed, repeated and changed."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from colour_world import Scene, draw, scenes, tables, write_folder

from h2d.errors import UserError
from h2d.images import encode_jpeg
from h2d.manifests.validate import validate
from h2d.pipelines.choices import CaptionChoice, MaskChoice, PoseChoice, PrepareConfig, RunConfig
from h2d.pipelines.plan import SelectionConfig
from h2d.pipelines.prepare import prepare, survey
from h2d.pipelines.status import read_status
from h2d.supervision.job import Tally


class Watching:
    """A watch that counts, and stops after so many shards' worth of pictures."""

    def __init__(self, stop_after: int | None = None):
        self.worked = Counter()
        self.done_before = Counter()
        self._stop_after = stop_after
        self._name = ""

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        self._name = name
        self.done_before[name] = sum(done.statuses.values())

    def pictures_worked(self, tally: Tally) -> None:
        self.worked[self._name] += sum(tally.statuses.values())

    def job_ended(self, name: str) -> None: ...

    def should_stop(self) -> bool:
        return self._stop_after is not None and sum(self.worked.values()) >= self._stop_after


def choices_for(tmp_path: Path, out: str = "out", **changes) -> PrepareConfig:
    return replace(
        PrepareConfig(
            source="folder",
            root=tmp_path / "pictures",
            out=tmp_path / out,
            pose=PoseChoice(name="colour"),
            mask=MaskChoice(name="grabcut"),
            run=RunConfig(shard_size=4, executor="inline"),
        ),
        **changes,
    )


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures: two without a hand, one truncated, one that makes the detector raise, one that is no picture."""
    folder = tmp_path / "pictures"
    write_folder(folder, scenes(10))
    whole = (folder / "picture-000.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"not a picture at all")
    cursed = draw(Scene(hands={"left": (0.5, 0.5)}), seed=99)
    cursed[:8, :8] = (0, 255, 0)
    (folder / "cursed.jpg").write_bytes(encode_jpeg(cursed))
    return folder


def times(out: Path) -> dict[Path, int]:
    """When each file was written last, but the lock."""
    return {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file() and file.name != ".lock"}


def rows(out: Path, table: str) -> list[dict]:
    return [row for file in sorted((out / table).rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_every_picture_is_in_exactly_one_table(tmp_path, pictures):
    outcome = prepare(choices_for(tmp_path), Watching())
    accepted = {row["id"] for row in rows(outcome.out, "images")}
    rejected = {row["id"]: row["reason"] for row in rows(outcome.out, "rejects")}
    assert not accepted & set(rejected)
    assert accepted | set(rejected) == {f"folder/{file.stem}" for file in pictures.iterdir()}
    assert outcome.counts == {"indexed": 14, "images": 8, "hands": 10, "rejects": 6}
    assert rejected == {
        "folder/picture-004": "no_person",
        "folder/picture-009": "no_person",
        "folder/truncated": "decode",
        "folder/empty": "decode",
        "folder/text": "decode",
        "folder/cursed": "RuntimeError",
    }


def test_the_manifest_is_valid_and_says_who_made_it(tmp_path, pictures):
    outcome = prepare(choices_for(tmp_path), Watching())
    assert validate(outcome.out, source_root=pictures) == []
    manifest = json.loads((outcome.out / "manifest.json").read_text())
    assert manifest["stages"]["mask"]["annotator"] == "grabcut"
    assert manifest["stages"]["caption"]["annotator"] == "template"
    assert {row["captioner"] for row in rows(outcome.out, "images")} == {"template"}


def test_a_reject_keeps_its_stage_class_message_and_attempts(tmp_path, pictures):
    outcome = prepare(choices_for(tmp_path), Watching())
    cursed = next(row for row in rows(outcome.out, "rejects") if row["id"] == "folder/cursed")
    assert (cursed["stage"], cursed["status"], cursed["message"], cursed["attempts"]) == (
        "pose",
        "error",
        "this picture is cursed",
        2,
    )


def test_a_finished_run_repeated_does_nothing(tmp_path, pictures):
    choices = choices_for(tmp_path)
    prepare(choices, Watching())
    before = times(choices.out)
    again = Watching()
    outcome = prepare(choices, again)
    assert outcome.did_nothing
    assert not again.worked
    assert outcome.counts["indexed"] == 14
    assert times(choices.out) == before


@pytest.mark.parametrize("stop_after", [1, 20, 43])
def test_a_run_stopped_anywhere_and_resumed_gives_the_same_bytes(tmp_path, pictures, stop_after):
    whole = prepare(choices_for(tmp_path, "whole"), Watching())
    choices = choices_for(tmp_path, "halves")
    first = prepare(choices, Watching(stop_after=stop_after))
    assert first.interrupted
    assert not (choices.out / "manifest.json").exists()
    second = Watching()
    assert not prepare(choices, second).interrupted
    assert tables(choices.out) == tables(whole.out)
    assert second.done_before["pose"] >= min(stop_after, 14) // 4 * 4


def test_a_changed_option_runs_only_the_stages_it_touches(tmp_path, pictures):
    prepare(choices_for(tmp_path), Watching())
    watch = Watching()
    prepare(choices_for(tmp_path, caption=CaptionChoice(name="none")), watch)
    assert watch.done_before["pose"] == 14
    assert watch.done_before["mask"] == 14
    assert watch.worked["merge"] == 14
    assert watch.worked["pose"] == watch.worked["mask"] == watch.worked["caption"] == 0
    assert {row["caption"] for row in rows(tmp_path / "out", "images")} == {None}
    changed = Watching()
    prepare(choices_for(tmp_path, pose=PoseChoice(name="colour", options={"tolerance": 61})), changed)
    assert changed.worked["pose"] == changed.worked["mask"] == changed.worked["caption"] == 14


def truncate(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def drop_a_row(part: Path) -> None:
    pq.write_table(pq.read_table(part)[:-1], part)


@pytest.mark.parametrize("damage", [truncate, drop_a_row])
def test_a_part_that_is_not_whole_is_done_again(tmp_path, pictures, damage):
    choices = choices_for(tmp_path)
    whole = tables(prepare(choices, Watching()).out)
    damage(next((choices.out / "work" / "mask").rglob("part-00001.parquet")))
    (choices.out / "manifest.json").unlink()
    for marker in (choices.out / "work" / "merge").rglob("*.json"):
        marker.unlink()
    watch = Watching()
    prepare(choices, watch)
    assert watch.worked["mask"] == 4
    assert watch.worked["pose"] == 0
    assert tables(choices.out) == whole


def test_pictures_lost_from_the_manifest_are_published_again(tmp_path, pictures):
    choices = choices_for(tmp_path)
    whole = tables(prepare(choices, Watching()).out)
    next((choices.out / "images").rglob("part-00001.parquet")).unlink()
    watch = Watching()
    assert not prepare(choices, watch).did_nothing
    assert not watch.worked
    assert tables(choices.out) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "new.jpg").write_bytes(b"x"), "1 new (first: folder/new)"),
        (lambda folder: (folder / "picture-003.jpg").unlink(), "1 gone (first: folder/picture-003)"),
        (
            lambda folder: (folder / "picture-003.jpg").write_bytes(b"x"),
            "1 of another size (first: folder/picture-003)",
        ),
    ],
)
def test_a_source_that_changed_stops_with_the_difference(tmp_path, pictures, change, message):
    choices = choices_for(tmp_path)
    prepare(choices, Watching())
    change(pictures)
    with pytest.raises(UserError) as caught:
        prepare(choices, Watching())
    assert message in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert not prepare(choices, Watching(), fresh=True).did_nothing


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes((folder / "picture-000.jpg").read_bytes())


def test_extending_adds_new_pictures_and_touches_no_finished_part(tmp_path, pictures):
    choices = choices_for(tmp_path)
    prepare(choices, Watching())
    before = times(choices.out / "work" / "pose")
    add(pictures, "a-new.jpg", "picture-003b.jpg", "z-new.jpg")
    with pytest.raises(UserError, match=r"3 new \(first: folder/a-new\); give --extend to add them, --fresh"):
        prepare(choices, Watching())
    watch = Watching()
    outcome = prepare(choices, watch, extend=True)
    assert watch.worked == {"pose": 3, "mask": 3, "caption": 3, "merge": 3}
    assert outcome.counts == {"indexed": 17, "images": 11, "hands": 13, "rejects": 6}
    after = times(choices.out / "work" / "pose")
    assert {file: after[file] for file in before} == before
    assert validate(outcome.out, source_root=pictures) == []
    fresh = prepare(choices_for(tmp_path, "fresh"), Watching())
    for table in ("images", "hands", "rejects"):
        assert sorted(map(repr, rows(outcome.out, table))) == sorted(map(repr, rows(fresh.out, table)))
    again = Watching()
    assert prepare(choices, again).did_nothing
    assert not again.worked


def test_extending_twice_and_by_a_larger_limit(tmp_path, pictures):
    prepare(choices_for(tmp_path, selection=SelectionConfig(limit=3)), Watching())
    watch = Watching()
    prepare(choices_for(tmp_path), watch, extend=True)
    assert watch.worked["pose"] == 11
    add(pictures, "b.jpg")
    assert prepare(choices_for(tmp_path), Watching(), extend=True).counts["indexed"] == 15
    assert prepare(choices_for(tmp_path), Watching(), extend=True).did_nothing


def test_extending_refuses_a_planned_picture_that_changed_or_went(tmp_path, pictures):
    choices = choices_for(tmp_path)
    prepare(choices, Watching())
    add(pictures, "a-new.jpg")
    (pictures / "picture-001.jpg").unlink()
    (pictures / "picture-002.jpg").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        prepare(choices, Watching(), extend=True)
    assert "1 new (first: folder/a-new), 1 gone (first: folder/picture-001), 1 of another size" in str(caught.value)
    assert "--extend" not in str(caught.value)


def test_a_part_of_other_pictures_is_not_taken_for_this_shards(tmp_path, pictures):
    choices = choices_for(tmp_path)
    whole = tables(prepare(choices, Watching()).out)
    folder = next((choices.out / "work" / "caption").iterdir())
    (folder / "part-00001.parquet").write_bytes((folder / "part-00002.parquet").read_bytes())
    shutil.rmtree(choices.out / "work" / "merge")
    (choices.out / "manifest.json").unlink()
    watch = Watching()
    prepare(choices, watch)
    assert watch.worked["caption"] == 4
    assert tables(choices.out) == whole


def test_another_selection_is_named(tmp_path, pictures):
    prepare(choices_for(tmp_path, selection=SelectionConfig(limit=3)), Watching())
    with pytest.raises(UserError, match="limit was 3 and is None"):
        prepare(choices_for(tmp_path), Watching())


def test_fresh_leaves_files_that_are_not_ours(tmp_path, pictures):
    choices = choices_for(tmp_path)
    prepare(choices, Watching())
    (choices.out / "notes.txt").write_text("mine")
    prepare(choices, Watching(), fresh=True)
    assert (choices.out / "notes.txt").read_text() == "mine"


def test_a_file_where_the_folder_would_be_is_one_line_and_stays(tmp_path, pictures):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out: no folder that can be written into: it is a file: give another --out"):
        prepare(choices_for(tmp_path), Watching(), fresh=True)
    with pytest.raises(UserError, match="out: nothing was prepared here"):
        read_status(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_second_driver_is_refused_with_host_and_process(tmp_path, pictures):
    import os
    import socket

    choices = choices_for(tmp_path)

    class Nested(Watching):
        def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
            with pytest.raises(UserError, match=f"host {socket.gethostname()}, process {os.getpid()}"):
                prepare(choices, Watching())

    assert not prepare(choices, Nested()).interrupted


@pytest.mark.parametrize(("name", "chosen"), [("auto", True), ("grabcut", False)])
def test_it_is_said_when_auto_decided_for_grabcut(tmp_path, pictures, monkeypatch, name, chosen):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    outcome = prepare(choices_for(tmp_path, mask=MaskChoice(name=name)), Watching(stop_after=1))
    assert outcome.mask_was_chosen is chosen


def test_a_survey_writes_nothing(tmp_path, pictures):
    choices = choices_for(tmp_path)
    found = survey(choices)
    assert (found.num_pictures, found.num_shards) == (14, 4)
    assert not choices.out.exists()


def test_status_counts_the_parts(tmp_path, pictures):
    choices = choices_for(tmp_path)
    prepare(choices, Watching(stop_after=5))
    status = read_status(choices.out)
    pose = next(stage for stage in status.stages if stage.name == "pose")
    assert pose.num_shards_done == 2
    assert sum(pose.tally.statuses.values()) == 8
    assert status.counts is None
    prepare(choices, Watching())
    assert read_status(choices.out).counts["indexed"] == 14


def test_status_of_another_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nothing was prepared here"):
        read_status(tmp_path)
