"""Disks that are full or read-only: one line, nothing half-written, and the same command goes on when that is over."""

import errno
import subprocess
from pathlib import Path

import pytest
from colour_world import scenes, tables, write_folder
from test_interruption import run, start, wait_for_parts
from test_prepare import Watching, choices_for

from h2d.errors import JobError
from h2d.pipelines import prepare as walk
from h2d.pipelines.prepare import prepare


def mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(folder)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, too small for what is to be written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount(disk, "-t", "tmpfs", "-o", "size=400k", "tmpfs")
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def pictures(tmp_path):
    write_folder(tmp_path / "pictures", scenes(16))
    return tmp_path / "pictures"


def test_a_full_disk_stops_with_its_cause_and_goes_on_with_room(pictures, small_disk, tmp_path):
    code, shown, said = run(pictures, small_disk / "out")
    assert code != 0
    assert shown == ""
    assert "No space left on device; finished shards are kept: remove the cause" in said
    assert "Traceback" not in said
    assert not (small_disk / "out" / "manifest.json").exists()
    assert not list(small_disk.rglob("*.tmp-*"))
    mount(small_disk, "-o", "remount,size=100m")
    assert run(pictures, small_disk / "out")[0] == 0
    assert run(pictures, tmp_path / "whole")[0] == 0
    assert tables(small_disk / "out") == tables(tmp_path / "whole")


def test_a_folder_that_turns_read_only_half_way(pictures, small_disk, tmp_path):
    mount(small_disk, "-o", "remount,size=100m")
    process = start(pictures, small_disk / "out")
    work = small_disk / "out" / "work"
    wait_for_parts(small_disk / "out", 2)
    mount(work, "--bind", str(work))
    mount(work, "-o", "remount,bind,ro")
    try:
        _, said = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "Read-only file system; finished shards are kept" in said
        assert "Traceback" not in said
    finally:
        subprocess.run(["umount", str(work)], check=True)
    assert not (small_disk / "out" / "manifest.json").exists()
    assert run(pictures, small_disk / "out")[0] == 0
    assert run(pictures, tmp_path / "whole")[0] == 0
    assert tables(small_disk / "out") == tables(tmp_path / "whole")


@pytest.mark.parametrize("step", ["open_plan", "publish", "write_report"])
def test_permission_lost_outside_the_stages_is_one_line_too(pictures, tmp_path, monkeypatch, step):
    """Root may write anywhere: what others meet is raised here."""
    whole = getattr(walk, step)

    def refuse(*arguments, **choices):
        raise PermissionError(errno.EACCES, "Permission denied", "out/work")

    monkeypatch.setattr(walk, step, refuse)
    with pytest.raises(JobError, match=r"^out/work: Permission denied; finished shards are kept"):
        prepare(choices_for(tmp_path), Watching())
    monkeypatch.setattr(walk, step, whole)
    assert prepare(choices_for(tmp_path), Watching()).counts["indexed"] == 16
    assert (tmp_path / "out" / "report.html").exists()
