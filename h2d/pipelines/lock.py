"""One driver a folder: a lock of the operating system on local disks, a small object with a heartbeat in stores."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.manifests.folder_lock import LOCK_FILE, locked_folder
from h2d.manifests.io import Address, Location

HEARTBEAT_S: Final = 15.0
STALE_AFTER_S: Final = 120.0


@contextmanager
def locked(out: Location) -> Iterator[None]:
    """Hold the folder for this process; a second driver is refused with the first one's host and process."""
    with locked_folder(out, command="h2d prepare") if isinstance(out, Path) else _locked_address(out):
        yield


@contextmanager
def _locked_address(out: Address) -> Iterator[None]:
    lock = out / LOCK_FILE
    _refuse_second(lock)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    _beat(lock, mine)
    # Stores differ in conditional writes: of two that began together, the later write wins, and both look once more.
    if _read(lock).get("token") != mine["token"]:
        _refuse_second(lock)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            _beat(lock, mine)

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        if _read(lock).get("token") == mine["token"]:
            lock.unlink(missing_ok=True)


def _refuse_second(lock: Address) -> None:
    """Raise `UserError` when another driver holds the lock; one of this host that has died holds nothing."""
    holder = _read(lock)
    if not holder or (holder["host"] == socket.gethostname() and not _lives(holder["pid"])):
        return
    who = f"host {holder['host']}, process {holder['pid']}"
    silent_s = time.time() - holder["time"]
    if silent_s > STALE_AFTER_S:
        raise UserError(
            f"{lock.parent}: held by {who}, silent for {silent_s:.0f} s: if that run is dead, delete {lock}, "
            "then start again"
        )
    raise UserError(f"{lock.parent}: another h2d prepare is at work here ({who}): wait for it or stop it")


def _beat(lock: Address, mine: dict[str, Any]) -> None:
    lock.write_bytes(json.dumps({**mine, "time": time.time()}).encode())


def _read(lock: Address) -> dict[str, Any]:
    try:
        holder: dict[str, Any] = json.loads(lock.read_bytes())
    except FileNotFoundError:
        return {}
    return holder


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
