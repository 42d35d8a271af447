"""kill -9 of the driver and of workers at random moments, and between a file's writing and its renaming."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from colour_world import scenes, tables, write_folder
from test_interruption import HERE, run, start

pytestmark = pytest.mark.slow
NUM_KILLS = 30
DIES_RENAMING = """
import os, signal, sys
from pathlib import Path
from h2d.annotate.keypoints import DETECTORS
from h2d.pipelines.executors import EXECUTORS
DETECTORS["colour"] = "colour_world:ColourDetector"
EXECUTORS["inline"] = "test_stores:HereExecutor"
left, rename = [int(sys.argv.pop(1))], Path.replace
def replace(self, target):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.replace = replace
from h2d.cli import main
main()
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pictures, what an uninterrupted run makes of them, and how long that takes."""
    folder = tmp_path_factory.mktemp("world")
    write_folder(folder / "pictures", scenes(60))
    began = time.monotonic()
    code, _, said = run(folder / "pictures", folder / "whole")
    assert code == 0, said
    return folder / "pictures", tables(folder / "whole"), time.monotonic() - began


def children(pid: int) -> list[int]:
    """Processes below one, at any depth."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found += [int(folder.name), *children(int(folder.name))]
    return found


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_killed_at_a_random_moment_the_tables_are_the_same(world, tmp_path, seed):
    pictures, whole, seconds = world
    chance = random.Random(seed)
    process = start(pictures, tmp_path)
    time.sleep(chance.uniform(0.2, 1) * seconds)
    victims = [process.pid, *children(process.pid)]
    victim = chance.choice(victims[:1] + victims[-1:])
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(victim, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert victim == process.pid or "Traceback" not in said
    code, _, said = run(pictures, tmp_path)
    assert code == 0, said
    assert tables(tmp_path) == whole
    assert not list(tmp_path.rglob("*.tmp-*"))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 20, 33, 50, 70])
def test_killed_between_writing_and_renaming_the_tables_are_the_same(world, tmp_path, number):
    pictures, whole, _ = world
    choices = ["--root", str(pictures), "--out", str(tmp_path), "--shard-size", "4", "--mask", "grabcut"]
    process = subprocess.run(
        [sys.executable, "-c", DIES_RENAMING, str(number), "prepare", "folder", *choices, "--executor", "inline",
         "--set", "pose.name=colour"],
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parents[1]}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert list(tmp_path.rglob("*.tmp-*"))
    code, _, said = run(pictures, tmp_path)
    assert code == 0, said
    assert tables(tmp_path) == whole
    assert not list(tmp_path.rglob("*.tmp-*"))
