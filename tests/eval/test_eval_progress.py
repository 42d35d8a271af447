"""`h2d status` of an evaluation: stopped amid a method, whole, and with pictures newer than its results."""

import json
import os
import re
import time

import pytest
from typer.testing import CliRunner

from h2d.cli import app
from h2d.eval.generate import method_folder
from h2d.eval.methods import MethodOptions
from h2d.eval.placing import Silent
from h2d.eval.progress import is_evaluation, read_progress
from h2d.eval.run import Placing, evaluate_methods

NOT_COMPLETE = "Not complete: where it was stopped, the same h2d evaluate command goes on."


def run(names, pictures, out, choices):
    return evaluate_methods(
        names, pictures, out, MethodOptions(batch_size=3, device="cpu"), choices, Silent(), Placing()
    )


def status(*arguments):
    done = CliRunner().invoke(app, ["status", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_stopped_run_tells_what_each_method_has(fakes, picture_list, choices, tmp_path, monkeypatch):
    monkeypatch.setattr(fakes.ShiftedMethod, "fail_at", 5)
    with pytest.raises(KeyboardInterrupt):
        run(["shifted"], picture_list, tmp_path, choices)
    made = sorted((method_folder(tmp_path, "shifted").path / "pictures").glob("*.png"))
    assert len(made) == 3
    now = time.time()
    for number, picture in enumerate(made):
        os.utime(picture, (now, now - 100 + 4 * number))
    told = re.sub(r"1 min 3\d s ago", "then", status(tmp_path))
    assert told.splitlines() == [
        f"{tmp_path}: evaluation on 8 pictures",
        "real     8 of 8",
        "Shifted  3 of 8, 4 s a picture, 20 s left at that rate (last picture then)",
        NOT_COMPLETE,
    ]
    folder = json.loads(status(tmp_path, "--json"))["folders"][1]
    assert (folder["title"], folder["num_made"], folder["is_measured"]) == ("Shifted", 3, False)


def test_a_run_is_measured_until_a_picture_is_made_anew(fakes, picture_list, choices, tmp_path):
    run(["shifted", "far"], picture_list, tmp_path, choices)
    assert [(one.title, one.is_measured) for one in read_progress(tmp_path).folders] == [
        ("real", True),
        ("Far", True),
        ("Shifted", True),
    ]
    assert status(tmp_path).splitlines()[-1] == "Complete."
    later = time.time() + 60
    os.utime(method_folder(tmp_path, "far").picture("00003"), (later, later))
    assert re.findall(r"^(\w+) +8 of 8, measured$", status(tmp_path), re.MULTILINE) == ["real", "Shifted"]
    assert NOT_COMPLETE in status(tmp_path)


def test_a_run_before_its_first_picture(picture_list, tmp_path):
    picture_list.write(tmp_path / "list.jsonl")
    assert not is_evaluation(tmp_path), "a list alone, as h2d evaluate protocol writes it"
    (tmp_path / "real").mkdir()
    assert status(tmp_path).splitlines() == [f"{tmp_path}: evaluation on 8 pictures", NOT_COMPLETE]
