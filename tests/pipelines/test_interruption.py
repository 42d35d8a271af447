"""The real command in a process of its own, interrupted and killed: the next run ends with the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from colour_world import scenes, tables, write_folder

HERE = Path(__file__).parent
COMMAND = """
from h2d.annotate.keypoints import DETECTORS
DETECTORS["colour"] = "colour_world:ColourDetector"
from h2d.cli import main
main()
"""


def start(root: Path, out: Path, *extra: str, stderr=subprocess.PIPE) -> subprocess.Popen:
    arguments = [
        "--root",
        str(root),
        "--out",
        str(out),
        "--shard-size",
        "4",
        "--mask",
        "grabcut",
        "--executor",
        "inline",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "prepare", "folder", *arguments, "--set", "pose.name=colour", *extra],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def run(root: Path, out: Path, *extra: str) -> tuple[int, str, str]:
    process = start(root, out, *extra)
    shown, said = process.communicate(timeout=120)
    return process.returncode, shown, said


def wait_for_parts(out: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list((out / "work").glob("[pm]*/*/part-*.parquet"))) < count:
        assert time.monotonic() < deadline, "no part was written"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pictures, and what an uninterrupted run makes of them."""
    folder = tmp_path_factory.mktemp("world")
    write_folder(folder / "pictures", scenes(40))
    code, _, said = run(folder / "pictures", folder / "whole")
    assert code == 0, said
    return folder / "pictures", tables(folder / "whole")


def test_ctrl_c_finishes_the_shard_and_says_how_to_go_on(world, tmp_path):
    pictures, whole = world
    process = start(pictures, tmp_path)
    wait_for_parts(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finishing what is in flight" in said
    assert "the same command goes on from there" in shown
    assert not (tmp_path / "manifest.json").exists()
    assert run(pictures, tmp_path)[0] == 0
    assert tables(tmp_path) == whole


def test_a_second_ctrl_c_stops_at_once_and_loses_only_the_shard(world, tmp_path):
    pictures, _ = world
    said = tmp_path / "said.txt"
    with said.open("w") as stderr:
        process = start(pictures, tmp_path, "--shard-size", "40", stderr=stderr)
        wait_for_parts(tmp_path, 1)
        process.send_signal(signal.SIGINT)
        while "Stopping" not in said.read_text():  # two that come together would count as one
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said.read_text()) == (130, False), said.read_text()
    assert [file.parent.parent.name for file in (tmp_path / "work").glob("[pmc]*/*/part-*.parquet")] == ["pose"]
    assert not list(tmp_path.rglob("*.tmp-*"))


@pytest.mark.parametrize("after_parts", [1, 11, 19])
def test_killed_anywhere_the_next_run_goes_on(world, tmp_path, after_parts):
    pictures, whole = world
    process = start(pictures, tmp_path)
    wait_for_parts(tmp_path, after_parts)
    process.kill()
    process.communicate()
    assert not (tmp_path / "manifest.json").exists()
    code, _, said = run(pictures, tmp_path)
    assert code == 0, said
    assert "already done" in said
    assert tables(tmp_path) == whole
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_json_on_standard_output_alone(world, tmp_path):
    code, shown, _ = run(world[0], tmp_path, "--json", "--limit", "3")
    assert code == 0
    assert json.loads(shown)["counts"]["indexed"] == 3


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--sam", "vit_h"], "h2d models fetch sam-vit-h"),
        (["--set", "crops.scal=2"], "crops.scal = 2: there is no such option"),
        (["--limit", "0"], "limit must be at least 1"),
        (["--executor", "slurm"], "slurm"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_before_any_work(world, tmp_path, monkeypatch, extra, message):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    code, shown, said = run(world[0], tmp_path / "out", *([] if "--sam" not in extra else ["--mask", "sam"]), *extra)
    assert code == 2
    assert shown == ""
    assert len(said.strip().splitlines()) == 1
    assert message in said
    assert not (tmp_path / "out").exists()
