"""One process at work in a folder: a lock of the operating system, which a process that is killed lets go.

A lock of the record kind: children that are forked do not hold it on, and network file systems pass it between hosts.
"""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from h2d.errors import UserError
from h2d.manifests.files import refuse_unwritable

logger = logging.getLogger(__name__)

LOCK_FILE: Final = ".lock"
_LOOKS: Final = 5
_LOOK_EVERY_S: Final = 0.05
"""`holder_of` holds a lock for a moment, which nobody is to be refused for."""
_HELD: Final[dict[Path, str]] = {}
"""Of this process, to which such locks are no hindrance, and which loses one with any of its handles of the file."""


@contextmanager
def locked_folder(out: Path, *, command: str) -> Iterator[None]:
    """Hold a folder, which is made, for this process; raises `UserError` with host and process where another does."""
    refuse_unwritable(out)
    place = out.resolve()
    if holder := _HELD.get(place):
        raise _refusal(out, command, holder)
    try:
        file = (out / LOCK_FILE).open("a+")
    except OSError as error:
        raise UserError(f"{out}: cannot write here ({error.strerror}): choose another --out") from None
    with file:
        if not _take(file, out):
            raise _refusal(out, command, _words(file))
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, process {os.getpid()}")
        file.flush()
        _HELD[place] = _words(file)
        try:
            yield
        finally:
            del _HELD[place]


def holder_of(out: Path) -> str | None:
    """Host and process that hold a folder; None where nobody does, or where that cannot be seen from here."""
    if holder := _HELD.get(out.resolve()):
        return holder
    try:
        with (out / LOCK_FILE).open() as file:
            return None if _lock(file, fcntl.LOCK_SH) else _words(file)
    except OSError:
        return None


def _take(file: IO[Any], out: Path) -> bool:
    for look in range(_LOOKS):
        time.sleep(_LOOK_EVERY_S if look else 0)
        try:
            if _lock(file, fcntl.LOCK_EX):
                return True
        except OSError as error:
            logger.warning("%s: no locks here (%s): start no second command in it", out, error.strerror)
            return True
    return False


def _lock(file: IO[Any], kind: int) -> bool:
    """False where another process holds it."""
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return False
    return True


def _words(file: IO[Any]) -> str:
    file.seek(0)
    return str(file.read()).strip()


def _refusal(out: Path, command: str, holder: str) -> UserError:
    return UserError(f"{out}: another {command} is at work here ({holder}): wait for it or stop it")
