"""Batches on Ray's workers: the same pictures as in one process; a worker that dies costs the picture it dies of."""

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from h2d.errors import UserError
from h2d.infer.batch_file import Worked
from h2d.infer.batch_lines import Line
from h2d.infer.batch_ray import ray_pool
from h2d.pose.openpose_json import write_pose
from h2d.ray_start import cluster_device, start_ray

pytestmark = pytest.mark.slow


class Mortal:
    """A worker that dies of one line, and of another the first time alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_done(self, line):
        return line.id == "there"

    def work(self, lines):
        for line in lines:
            once = self._folder / "once"
            if line.id == "deadly" or (line.id == "unlucky" and not once.exists()):
                once.touch()
                os._exit(1)
            if line.id == "mistake":
                raise UserError("a mistake of the user's")
            (self._folder / line.id).touch()
        return Worked(lines=lines)


def line(name: str) -> Line:
    return Line(number=1, id=name, values={})


@pytest.fixture(autouse=True)
def _by_value():
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_a_worker_that_dies_costs_the_line_that_it_dies_of(tmp_path):
    groups = [[line("a"), line("deadly"), line("b")], [line("c")], [line("unlucky"), line("d")]]
    with ray_pool(functools.partial(Mortal, tmp_path), num_workers=2, address=None, device="cpu") as pool:
        assert pool.done([line("there"), line("a")]) == [True, False]
        results = list(pool.work(groups))
        assert sorted(one.id for group in results for one in group.lines) == ["a", "b", "c", "d", "deadly", "unlucky"]
        failures = [failure for group in results for failure in group.failures]
        assert [(failure.line.id, "died twice" in failure.error) for failure in failures] == [("deadly", True)]
        assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d", "unlucky", "once"}
        with pytest.raises(UserError, match="a mistake of the user's"):
            list(pool.work([[line("mistake")]]))


def test_a_mistake_met_while_a_worker_loads_is_raised_as_it_was():
    def mistaken():
        raise UserError("there is no such device here")

    with (
        pytest.raises(UserError, match=r"^there is no such device here$"),
        ray_pool(mistaken, num_workers=1, address=None, device="cpu") as pool,
    ):
        pool.done([line("a")])


class Telling:
    """A worker that leaves the number of its GPU as a file's name, and one line to the other worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work(self, lines):
        (self._folder / os.environ.get("CUDA_VISIBLE_DEVICES", "none")).touch()
        until = time.monotonic() + 60
        while len(list(self._folder.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        return Worked(lines=lines)


def test_workers_on_a_cluster_have_its_gpus_although_torch_sees_none_here(tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 2})
    try:
        device = cluster_device("auto", cluster.address, workers=2)
        assert device == "cuda"
        asked = {"num_workers": None, "address": cluster.address, "device": device}
        with ray_pool(functools.partial(Telling, tmp_path), **asked) as pool:
            list(pool.work([[line("a")], [line("b")]]))
        assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
    finally:
        cluster.shutdown()


def test_a_local_ray_with_too_few_gpus_is_refused_instead_of_waiting_for_ever(monkeypatch):
    monkeypatch.setattr(
        "h2d.infer.batch_ray.start_ray", lambda address, **local: start_ray(address, **local, num_gpus=1)
    )
    with (
        pytest.raises(UserError, match="--workers 2: each takes a GPU, and Ray has 1"),
        ray_pool(Mock(), num_workers=2, address=None, device="cuda"),
    ):
        pass


def sampled(out: str, *arguments: str) -> dict:
    """The command in a process of its own: Ray's workers do not know of pytest's shape checks."""
    asked = ["--batch", "batch.jsonl", "--steps", "1", "--set", "hand_attempts=1", "--device", "cpu", "--json"]
    command = [sys.executable, "-m", "h2d", "sample", *asked, "--out", out, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # one line of the file is bad
    return json.loads(done.stdout)


def test_two_workers_make_what_one_process_makes(checkpoints, pose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(checkpoints[0].parent)
    write_pose(pose, tmp_path / "pose.json")
    rows = [{"id": f"p{number}", "prompt": f"person {number}", "pose": "pose.json"} for number in range(3)]
    (tmp_path / "batch.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "x"}]))
    here = sampled("here")
    there = sampled("there", "--workers", "2")
    assert here["made"] == there["made"] == 3
    assert [row["error"] for row in there["failed"]] == [row["error"] for row in here["failed"]]
    for row in rows:
        with Image.open(f"here/{row['id']}.png") as one, Image.open(f"there/{row['id']}.png") as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))
    again = sampled("there", "--workers", "2")
    assert (again["found"], again["made"]) == (3, 0)
