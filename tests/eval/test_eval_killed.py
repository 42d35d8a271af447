"""`h2d evaluate run` killed while it makes pictures, and while it looks at them: the same command goes on."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from h2d.eval.results import read_results

COMMAND = """
import sys
from h2d.annotate.keypoints import DETECTORS
from h2d.cli import main
from h2d.eval.methods import METHODS

METHODS["slow"] = "fake_methods:SlowMethod"
DETECTORS["slow"] = "fake_methods:SlowDetector"
sys.path.insert(0, sys.argv.pop(1))
main()
"""
TIMEOUT_S = 300


def begin(list_file, out):
    return subprocess.Popen(
        [
            sys.executable, "-c", COMMAND, str(Path(__file__).parent), "evaluate", "run", "--list", str(list_file),
            "--out", str(out), "--method", "slow", "--batch", "1", "--device", "cpu", "--segmenter", "none",
            "--features", "none", "--resamples", "0", "--set", "look.text=none", "--set", "look.detector=slow",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def killed_at(process, out, files, count):
    """Wait for so many files, kill, and give those that are there."""
    until = time.monotonic() + TIMEOUT_S
    while len(list(out.glob(files))) < count:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    return {path: path.stat().st_mtime_ns for path in out.glob(files)}


@pytest.mark.slow
def test_the_same_command_goes_on_wherever_it_was_killed(picture_list, tmp_path):
    picture_list.write(tmp_path / "list.jsonl")
    out = tmp_path / "run"
    pictures, parts = "methods/slow/pictures/0*.png", "**/looks/pose/*/part-*.parquet"
    made = killed_at(begin(tmp_path / "list.jsonl", out), out, pictures, 3)
    assert 3 <= len(made) < len(picture_list)
    looked = killed_at(begin(tmp_path / "list.jsonl", out), out, parts, 1)
    assert len(looked) == 1
    assert not (out / "results.json").exists()
    last = begin(tmp_path / "list.jsonl", out)
    said, _ = last.communicate(timeout=TIMEOUT_S)
    assert last.returncode == 0, said
    assert len(list(out.glob(pictures))) == len(picture_list)
    assert len(list(out.glob(parts))) == 2
    for kept in (made, looked):
        assert kept == {path: path.stat().st_mtime_ns for path in kept}, "what was whole is not made again"
    assert [method.name for method in read_results(out).methods] == ["real", "slow"]
