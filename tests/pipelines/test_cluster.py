"""Two Ray nodes, started apart as on two machines: they make what one process makes, also when one of them dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from colour_world import scenes, tables, write_folder

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NUM_PICTURES = 120
COMMAND = """
from h2d.annotate.keypoints import DETECTORS
DETECTORS["noting"] = "cluster_world:NotingDetector"
from h2d.cli import main
main()
"""

pytestmark = pytest.mark.slow


def environment(node: str) -> dict[str, str]:
    return {
        **os.environ,
        "NODE": node,
        "PYTHONPATH": f"{HERE}:{ROOT}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def start_node(name: str, folder: Path, *arguments: str) -> subprocess.Popen:
    """A node in a process group of its own, which dies with it."""
    ray = Path(sys.executable).with_name("ray")
    shared = ["--num-cpus", "1", "--object-store-memory", "100000000", "--block", "--disable-usage-stats"]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [str(ray), "start", *arguments, *shared], env=environment(name), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def end(node: subprocess.Popen) -> None:
    if node.poll() is None:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def wait_until(true, what: str) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def num_nodes(address: str) -> int:
    status = subprocess.run(
        [str(Path(sys.executable).with_name("ray")), "status", "--address", address],
        env=environment("asking"), capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return status.split("Pending")[0].count("node_")


@pytest.fixture
def cluster(tmp_path):
    """The address of two nodes, and the second one's process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    head_arguments = ("--head", "--node-ip-address", "127.0.0.1", "--port", str(port), "--include-dashboard", "false")
    nodes = [start_node("first", tmp_path, *head_arguments)]
    try:
        wait_until(lambda: listens(port), "the first node does not start")
        nodes.append(start_node("second", tmp_path, "--address", address))
        wait_until(lambda: num_nodes(address) == 2, "the second node does not join")
        yield address, nodes[1]
    finally:
        for node in reversed(nodes):
            end(node)


def start(pictures: Path, out: Path, log: Path, *arguments: str) -> subprocess.Popen:
    choices = ["--root", str(pictures), "--out", str(out), "--shard-size", "5", "--mask", "grabcut", "--json"]
    choices += ["--set", "pose.name=noting", "--set", f"pose.options.log={log}", *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "prepare", "folder", *choices],
        env=environment("driver"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(driver: subprocess.Popen) -> None:
    _, said = driver.communicate(timeout=240)
    assert driver.returncode == 0, said


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pictures, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("world")
    write_folder(folder / "pictures", scenes(NUM_PICTURES))
    finish(start(folder / "pictures", folder / "whole", folder / "log.txt", "--executor", "inline"))
    return folder / "pictures", tables(folder / "whole")


def setups(log: Path) -> Counter[str]:
    """Workers that loaded the detector, by node."""
    return Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()


def test_two_nodes_make_what_one_process_makes_and_load_once_a_worker(world, cluster, tmp_path):
    pictures, whole = world
    finish(start(pictures, tmp_path / "out", tmp_path / "log.txt", "--address", cluster[0], "--workers", "2"))
    assert tables(tmp_path / "out") == whole
    assert setups(tmp_path / "log.txt") == {"first": 1, "second": 1}


def test_a_node_that_dies_half_way_loses_nothing(world, cluster, tmp_path):
    pictures, whole = world
    address, second = cluster
    out, log = tmp_path / "out", tmp_path / "log.txt"
    driver = start(pictures, out, log, "--address", address, "--workers", "2")
    wait_until(lambda: len(list((out / "work" / "pose").glob("*/part-*.parquet"))) >= 6, "no parts are written")
    assert setups(log) == {"first": 1, "second": 1}
    end(second)
    assert len(list((out / "work" / "pose").glob("*/part-*.parquet"))) < NUM_PICTURES // 5, "it was not half-way"
    finish(driver)
    assert tables(out) == whole
