"""Batches: every line gives a picture or a line of `failed.jsonl`; a repeated run makes what is missing."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from poses import pose_of
from typer.testing import CliRunner

from h2d.cli import app
from h2d.errors import UserError
from h2d.infer.batch_file import BatchWorker, InlinePool, run_batch
from h2d.infer.batch_lines import read_lines
from h2d.infer.batch_sheet import batch_sheet
from h2d.infer.choosing import default_models
from h2d.infer.options import SampleOptions
from h2d.infer.provenance import read_record
from h2d.infer.session import Session
from h2d.pose.examples import read_example
from h2d.pose.openpose_json import read_pose, write_pose

FEW = SampleOptions(num_inference_steps=1, hand_attempts=1)


def standing():
    """Somebody without hands."""
    pose = pose_of(width=512, height=512)
    for point, x, y in [(0, 256, 80), (5, 320, 160), (6, 192, 160), (11, 300, 350), (12, 212, 350)]:
        pose.people[0, point] = (x, y, 1)
    return pose


def pool_of(session, out, options=FEW):
    """Lines are read where the batch is: in the folder of `out`."""
    return InlinePool(BatchWorker(session, out.parent, out, options=options, seed=0))


class Notes:
    def __init__(self):
        self.starts, self.worked_on, self.interrupt_after = [], 0, None

    def started(self, total, done):
        self.starts.append((total, done))

    def worked(self, failures, num_made):
        self.worked_on += len(failures) + num_made
        if self.interrupt_after == self.worked_on:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def session(checkpoints):
    return Session(default_models(checkpoints[0].parent), device="cpu")


@pytest.fixture
def batch(tmp_path, pose):
    write_pose(pose, tmp_path / "pose.json")
    write_pose(pose.resized(512, 768), tmp_path / "tall.json")
    file = tmp_path / "batch.jsonl"

    def write(*rows):
        texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        file.write_text("\n".join(texts) + "\n")
        return file

    return write


GOOD = [
    {"id": "one", "prompt": "a person", "pose": "pose.json", "seed": 3},
    {"prompt": "a tall person", "pose": "tall.json"},
    {"id": "three", "prompt": "a person", "pose": "pose.json", "options": {"blend": "naive"}},
]


def test_a_batch_is_made_stopped_gone_on_with_and_done(session, batch, tmp_path):
    file, out, notes = batch(*GOOD), tmp_path / "out", Notes()
    notes.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        run_batch(pool_of(session, out), file, out, watch=notes)
    assert [path.name for path in out.iterdir()] == ["one.png"]
    first = (out / "one.png").stat().st_mtime_ns
    notes = Notes()
    outcome = run_batch(pool_of(session, out), file, out, watch=notes)
    assert (outcome.total, outcome.found, outcome.made, outcome.failures) == (3, 1, 2, ())
    assert notes.starts == [(3, 1)]
    assert {path.name for path in out.iterdir()} == {"one.png", "000002.png", "three.png"}
    assert (out / "one.png").stat().st_mtime_ns == first
    with Image.open(out / "000002.png") as tall:
        assert tall.size == (128, 192)
    assert read_record(out / "000002.png")["seed"] == 2
    assert read_record(out / "three.png")["options"]["blend"] == "naive"
    again = run_batch(pool_of(session, out), file, out, watch=Notes())
    assert (again.found, again.made) == (3, 0)
    changed = batch({**GOOD[0], "prompt": "another person"}, *GOOD[1:])
    assert run_batch(pool_of(session, out), changed, out, watch=Notes()).made == 1
    assert run_batch(pool_of(session, out, replace(FEW, guidance_scale=1.0)), changed, out, watch=Notes()).made == 3


def test_a_damaged_picture_is_made_again(session, batch, tmp_path):
    file, out = batch(GOOD[0]), tmp_path / "out"
    run_batch(pool_of(session, out), file, out, watch=Notes())
    (out / "one.png").write_bytes((out / "one.png").read_bytes()[:60])
    assert run_batch(pool_of(session, out), file, out, watch=Notes()).made == 1


def test_bad_lines_are_told_and_do_not_stop_the_rest(session, batch, tmp_path):
    (tmp_path / "broken.json").write_text("{")
    bad = [
        "not json",
        "[1]",
        {"prompt": "", "pose": "pose.json"},
        {"prompt": "x"},
        {"prompt": "x", "pose": "none.json"},
        {"prompt": "x", "pose": "broken.json"},
        {"prompt": "x", "pose": "pose.json", "seed": -1},
        {"prompt": "x", "pose": "pose.json", "sed": 1},
        {"prompt": "x", "pose": "pose.json", "id": "../up"},
        {"prompt": "x", "pose": "pose.json", "options": {"steps": 3}},
        {"prompt": "x", "pose": "pose.json", "options": {"height": 100}},
    ]
    file, out = batch(GOOD[0], *bad), tmp_path / "out"
    outcome = run_batch(pool_of(session, out, FEW), file, out, batch_size=4, watch=Notes())
    assert outcome.made == 1
    messages = [failure.error for failure in outcome.failures]
    expected = [
        "not JSON",
        "no object",
        "prompt = ''",
        "pose = None",
        "none.json: cannot be read",
        "broken.json: not JSON",
        "seed = -1",
        "sed: there is no such key",
        "id = '../up'",
        "steps = 3: there is no such option",
        "height = 100: choose a multiple of 16",
    ]
    assert len(messages) == len(expected)
    for wanted in expected:
        assert any(wanted in message for message in messages), wanted
    assert not any("\n" in message for message in messages)
    assert len((out / "failed.jsonl").read_text().splitlines()) == len(bad)
    run_batch(pool_of(session, out), batch(GOOD[0]), out, watch=Notes())
    assert not (out / "failed.jsonl").exists()


@pytest.mark.parametrize(
    ("bad", "told_id", "message"),
    [
        ({"id": "x" * 300}, "000002", "id = 'xxx.*at most 242 bytes"),
        ({"id": "a\0b"}, "000002", "no character"),
        ({"id": "two\nlines"}, "000002", "give a file name"),
        ({"id": "p", "prompt": "a \ud800 b"}, "000002", r"'\\ud800' is no character"),
        ({"id": "p", "options": {"negative_prompt": "a \ud800 b"}}, "000002", "no character"),
        ({"id": "p", "pose": "a\0b"}, "000002", "no character"),
        (
            {"id": "p", "pose": "empty.json", "options": {"hand_photo": "none.jpg"}},
            "p",
            "hand_photo {here}/none.jpg: cannot",
        ),
        ({"id": "p", "options": []}, "p", "options = "),
    ],
)
def test_no_line_stops_a_batch(bad, told_id, message, session, batch, tmp_path):
    write_pose(standing(), tmp_path / "empty.json")
    file, out = batch(GOOD[0], {**GOOD[1], **bad}, GOOD[2]), tmp_path / "out"
    outcome = run_batch(pool_of(session, out), file, out, batch_size=4, watch=Notes())
    assert {path.name for path in out.glob("*.png")} == {"one.png", "three.png"}
    (failure,) = outcome.failures
    assert (failure.line.number, failure.line.id) == (2, told_id)
    assert re.search(message.replace("{here}", str(tmp_path)), failure.error), failure.error
    assert json.loads((out / "failed.jsonl").read_text())["line"] == 2


def test_a_longest_name_is_written(session, batch, tmp_path):
    file, out = batch({**GOOD[0], "id": "x" * 242}), tmp_path / "out"
    assert run_batch(pool_of(session, out), file, out, watch=Notes()).made == 1


def test_a_picture_that_cannot_be_written_is_its_lines_failure(session, batch, tmp_path):
    file, out = batch(GOOD[0], GOOD[2]), tmp_path / "out"
    (out / "one.png").mkdir(parents=True)
    outcome = run_batch(pool_of(session, out), file, out, batch_size=2, watch=Notes())
    assert (outcome.made, [failure.line.id for failure in outcome.failures]) == (1, ["one"])


def test_lines_end_where_json_lines_end(tmp_path):
    file = tmp_path / "batch.jsonl"
    rows = [{"prompt": f"a{odd}b", "pose": "palm"} for odd in "\u2028\u0085\u000b"]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [(line.problem, line.values) for line in read_lines(file)] == [(None, row) for row in rows]


def test_notes_are_counted_told_and_kept(checkpoints, session, batch, tmp_path, monkeypatch):
    write_pose(standing(), tmp_path / "empty.json")
    long = "a man " * 90
    rows = [
        {"id": "long", "prompt": long, "pose": "pose.json"},
        {"id": "unwanted", "prompt": "x", "pose": "pose.json", "options": {"negative_prompt": long}},
        {"id": "told", "prompt": "x", "pose": "pose.json", "options": {"hand_prompt": long}},
        {"id": "empty", "prompt": "x", "pose": "empty.json"},
    ]
    file, out = batch(*rows), tmp_path / "out"
    outcome = run_batch(pool_of(session, out), file, out, batch_size=4, watch=Notes())
    told = {one.line.id: " ".join(one.notes) for one in outcome.noted}
    for name, words in (
        ("long", "the prompt has"),
        ("unwanted", "the negative prompt has"),
        ("told", "the prompt of the hands has"),
        ("empty", "no hand"),
    ):
        assert words in told[name]
        assert " ".join(read_record(out / f"{name}.png")["notes"]) == told[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(checkpoints[0].parent)
    arguments = ["sample", "--batch", str(file), "--steps", "1", "--set", "hand_attempts=1", "--out"]
    done = CliRunner().invoke(app, [*arguments, "there"])
    assert done.exit_code == 0, done.output
    assert "4 with notes" in done.output
    assert "long: the prompt has" in done.output
    assert len(json.loads(CliRunner().invoke(app, [*arguments, "anew", "--json"]).stdout)["noted"]) == 4


def test_pictures_that_go_together_are_made_at_once_and_one_that_fails_alone(session, batch, tmp_path, monkeypatch):
    rows = [{"id": f"p{number}", "prompt": f"person {number}", "pose": "pose.json"} for number in range(4)]
    file = batch(*rows, {"id": "tall", "prompt": "x", "pose": "tall.json"})
    calls, whole = [], Session.sample

    def count(self, items, options, on_step=None):
        calls.append(len(items))
        if any(item.prompt == "person 2" for item in items):
            raise RuntimeError("out of memory")
        return whole(self, items, options, on_step)

    monkeypatch.setattr(Session, "sample", count)
    outcome = run_batch(pool_of(session, tmp_path / "out", FEW), file, tmp_path / "out", batch_size=5, watch=Notes())
    assert calls == [4, 1, 1, 1, 1, 1]
    assert outcome.made == 4
    assert [(failure.line.id, failure.error) for failure in outcome.failures] == [("p2", "RuntimeError: out of memory")]


def test_what_fails_every_time_stops(session, batch, tmp_path):
    file = batch(*[{"prompt": "x", "pose": "none.json"}] * 30)
    with pytest.raises(UserError, match="the first 20 lines all failed"):
        run_batch(pool_of(session, tmp_path / "out"), file, tmp_path / "out", watch=Notes())


def test_files_that_are_no_batch(batch, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_lines(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="no lines"):
        read_lines(batch(""))
    with pytest.raises(UserError, match="lines 1 and 3 have the id 'one'"):
        read_lines(batch(GOOD[0], GOOD[1], GOOD[0]))


def test_other_networks_make_the_picture_anew(session, batch, tmp_path, tmp_path_factory):
    from tiny_models import write_checkpoints

    file, out = batch(GOOD[0]), tmp_path / "out"
    run_batch(pool_of(session, out), file, out, watch=Notes())
    hand, _ = write_checkpoints(tmp_path_factory.mktemp("other"), mask_bias=0.8)
    other = Session(default_models(hand.parent), device="cpu")
    (line,) = read_lines(file)
    assert BatchWorker(session, tmp_path, out, options=FEW, seed=0).is_done(line)
    assert not BatchWorker(other, tmp_path, out, options=FEW, seed=0).is_done(line)


def test_the_command(checkpoints, batch, tmp_path, monkeypatch):
    file = batch(*GOOD[:1], {"prompt": "x"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(checkpoints[0].parent)
    arguments = ["sample", "--batch", str(file), "--steps", "1", "--set", "hand_attempts=1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "1 picture made, 0 were there, in samples/batch" in done.output
    assert "line 2, 000002: pose = None" in done.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (told["made"], told["found"], len(told["failed"])) == (0, 1, 1)
    picture = tmp_path / "samples" / "batch" / "one.png"
    again = CliRunner().invoke(app, ["sample", "--like", str(picture), "--out", "again.png"])
    assert again.exit_code == 0, again.output
    with Image.open("again.png") as second, Image.open(picture) as first:
        assert np.array_equal(np.asarray(second), np.asarray(first))


def test_a_line_may_name_an_example_unless_a_file_has_its_name(session, batch, tmp_path):
    file, out = batch({"id": "shipped", "prompt": "a person", "pose": "palm"}), tmp_path / "out"
    assert run_batch(pool_of(session, out), file, out, watch=Notes()).made == 1
    assert read_record(out / "shipped.png")["pose"]["hash"] == read_example("palm").pose_hash()
    (tmp_path / "palm").write_bytes((tmp_path / "pose.json").read_bytes())
    file = batch({"id": "own", "prompt": "a person", "pose": "palm"})
    assert run_batch(pool_of(session, out), file, out, watch=Notes()).made == 1
    assert read_record(out / "own.png")["pose"]["hash"] == read_pose(tmp_path / "pose.json").pose_hash()


def test_the_sheet_of_a_batch_has_each_picture_beside_its_pose(session, batch, tmp_path):
    file, out = batch(*GOOD, {"id": "bad", "prompt": "", "pose": "pose.json"}), tmp_path / "out"
    outcome = run_batch(pool_of(session, out), file, out, watch=Notes())
    made = [path for path in outcome.pictures if path.is_file()]
    assert [path.name for path in made] == ["one.png", "000002.png", "three.png"]
    page = np.asarray(batch_sheet(made))
    left = page[20 : 20 + 288, 20 : 20 + 288]  # the skeleton of the first: colours on black
    assert (left == 0).all(axis=-1).mean() > 0.5
    assert left.max() > 200
    with Image.open(made[0]) as opened:
        picture = np.asarray(opened.convert("RGB").resize((288, 288), Image.Resampling.LANCZOS))
    assert np.array_equal(page[20 : 20 + 288, 20 + 288 : 20 + 576], picture)


def test_the_sheet_of_pictures_of_several_shapes_is_as_wide_as_its_widest_row(session, batch, tmp_path):
    tall, wide = {"width": 32, "height": 64}, {"width": 64, "height": 32}
    lines = [{"prompt": "x", "pose": "pose.json", "options": size} for size in (tall, tall, tall, wide)]
    file, out = batch(*lines), tmp_path / "out"
    outcome = run_batch(pool_of(session, out, FEW), file, out, watch=Notes())
    page = batch_sheet(outcome.pictures)
    assert page.width == 20 + 2 * 576 + 20, "the wide one and its pose; in the row above it the three others"
    assert page.height == batch_sheet(outcome.pictures[:1]).height * 2 - 20
