"""How commands that need torch and diffusers start sooner."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import large libraries without Python's collector of cycles, then set aside for good what they made.

    None of their hundreds of thousands of objects is garbage, and looking through them 1137 times was a seventh of the
    imports of `h2d sample`.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
