"""`h2d status` of a training; of an evaluation it is tested with these, of a preparation what is read."""

import json
import os
import re
import socket
import time
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from h2d.cli import app
from h2d.errors import UserError
from h2d.manifests.folder_lock import locked_folder
from h2d.pipelines.plan import Plan
from h2d.pipelines.status import StageStatus, Status
from h2d.supervision.job import Tally


def status(*arguments):
    done = CliRunner().invoke(app, ["status", *map(str, arguments)])
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def lines_of(run):
    return re.sub(r"last step \d+ s ago", "last step now", status(run)).splitlines()


@pytest.fixture
def run(tmp_path) -> Path:
    """Four of ten steps, the last line half written, a checkpoint after the third."""
    (tmp_path / "config.json").write_text(json.dumps({"stage": "hand", "steps": 10, "global_batch": 32}))
    records = [
        {"step": 1, "loss": 0.4, "samples_per_s": 8.0},
        {"step": 2, "loss": 0.2, "samples_per_s": 8.0, "validation": 0.75},
        {"step": 3, "loss": 0.2, "samples_per_s": 8.0, "validation": 0.25},
        {"step": 4, "loss": 0.4, "samples_per_s": 16.0},
    ]
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (tmp_path / "log.jsonl").write_text(lines + '{"step": 5, "lo')
    (tmp_path / "checkpoints" / "step-0000003").mkdir(parents=True)
    return tmp_path


def test_a_training_tells_how_far_it_is(run):
    told = [
        "loss        0.3, mean of the last steps",
        "validation  0.25 after step 3",
        f"checkpoint  {run}/checkpoints/step-0000003",
    ]
    assert lines_of(run) == [
        f"{run}: training hand, step 4 of 10 (last step now)",
        *told,
        "Stopped, as far as this machine sees: the same h2d train command goes on from the checkpoint.",
    ]
    with locked_folder(run, command="h2d train"):
        assert lines_of(run) == [
            f"{run}: training hand, step 4 of 10, 16.0 samples/s, 12 s left at that rate (last step now)",
            *told,
            f"Running: host {socket.gethostname()}, process {os.getpid()}.",
        ]
    plain = json.loads(status(run, "--json"))
    assert (plain["validation"], plain["running"]) == ([3, 0.25], None)


def test_a_file_servers_clock_may_be_ahead(run):
    later = time.time() + 60
    os.utime(run / "log.jsonl", (later, later))
    assert "(last step 0 s ago)" in status(run)


def test_a_training_before_its_first_step_and_after_its_last(run):
    log = run / "log.jsonl"
    log.write_text('{"step": 10, "loss": 0.5, "samples_per_s": 16.0}\n')
    told = lines_of(run)
    assert told[0] == f"{run}: training hand, step 10 of 10 (last step now)"
    assert told[-1] == "Complete."
    log.unlink()
    (run / "checkpoints" / "step-0000003").rmdir()
    assert status(run).splitlines()[:2] == [f"{run}: training hand, step 0 of 10", "checkpoint  none yet"]


def test_a_preparation_tells_each_stage_and_its_reasons(tmp_path, monkeypatch):
    tally = Tally(statuses=Counter(ok=7, skipped=3), reasons=Counter(too_small=2, blurred=1))
    stages = (
        StageStatus(name="pose", num_shards_done=1, tally=tally),
        StageStatus(name="mask", num_shards_done=0, tally=Tally()),
    )
    plan = Mock(spec=Plan, description="pictures of a folder with a long name", num_pictures=20, shards=[1, 2])
    state = Status(plan=plan, stages=stages, counts=None, running=None)
    monkeypatch.setattr("h2d.pipelines.status.read_status", lambda out: state)
    (tmp_path / "work").mkdir()
    assert [line.split() for line in status(tmp_path).splitlines()] == [
        ["pictures", "of", "a", "folder", "with", "a", "long", "name:", "20", "pictures,", "2", "shards"],
        ["stage", "shards", "pictures", "ok", "skipped", "error", "crash", "not", "reached"],
        ["pose", "1/2", "10", "7", "3", "0", "0", "0"],
        ["mask", "0/2", "0", "0", "0", "0", "0", "0"],
        ["Reasons", "of", "pose:", "too_small", "2,", "blurred", "1"],
        ["Not", "complete:", "run", "the", "same", "h2d", "prepare", "command", "to", "go", "on."],
    ]


def test_a_folder_of_nothing_is_one_line(tmp_path):
    with pytest.raises(UserError, match="h2d evaluate have not worked here: give the folder of --out"):
        status(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: cannot be read: .*: run h2d train again"):
        status(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="h2d evaluate have not worked here: give the folder of --out"):
        status(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="without its work folder: what is in it: h2d manifest stats"):
        status(tmp_path)
