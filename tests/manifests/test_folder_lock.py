"""A folder is one process's: of this one, of another, of a killed one, and where there are no locks."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from h2d.errors import UserError
from h2d.manifests import folder_lock
from h2d.manifests.folder_lock import holder_of, locked_folder

HOLD = """
import os, sys, time
from pathlib import Path
from h2d.manifests.folder_lock import locked_folder
with locked_folder(Path(sys.argv[1]), command="h2d test"):
    if os.fork():  # a child that lives on holds nothing
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds `tmp_path / "run"`, in a session of its own."""
    ask = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_another_process_is_named_and_a_killed_one_holds_nothing(other, tmp_path):
    run, who = tmp_path / "run", f"host {socket.gethostname()}, process {other.pid}"
    assert holder_of(run) == who
    with pytest.raises(UserError, match=rf"run: another h2d test is at work here \({who}\): wait for it or stop it"):
        locked_folder(run, command="h2d test").__enter__()
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert holder_of(run) is None
    with locked_folder(run, command="h2d test"):
        assert holder_of(run) == f"host {socket.gethostname()}, process {os.getpid()}"


def test_a_folder_is_held_once_in_a_process_too(tmp_path, monkeypatch):
    assert holder_of(tmp_path / "nowhere") is None
    with locked_folder(tmp_path, command="h2d test"):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=f"process {os.getpid()}"):
            locked_folder(Path(), command="h2d test").__enter__()
        assert holder_of(Path()) is not None
    assert holder_of(tmp_path) is None
    with locked_folder(tmp_path, command="h2d test"):
        pass


def test_where_there_are_no_locks_that_is_told(tmp_path, monkeypatch, caplog):
    def no_locks(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "lockf", no_locks)
    with locked_folder(tmp_path, command="h2d test"):
        assert "no locks here (No locks available): start no second command in it" in caplog.text
    assert holder_of(tmp_path) is None
