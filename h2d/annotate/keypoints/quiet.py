"""Keeps native libraries from writing over the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def quiet_native() -> Iterator[None]:
    """Send what the process writes to file descriptor 2 to the null device; exceptions pass as always.

    MediaPipe's native code logs there for each graph, and no environment variable stops it. Use it around native
    calls alone: another thread's traceback would be lost as well. Where this module logs at DEBUG, nothing is hidden.
    """
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    shown = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(shown, 2)
        os.close(null)
        os.close(shown)
