"""How commands that need torch and diffusers start sooner."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from h2d.infer.session import Session


_SMALL: Final = 5_000_000
"""Values of a U-Net below which its layers are too small to share: waiting for the other thread costs more."""


def one_thread_if_small(session: "Session") -> "Session":
    """The session, in a process that has one thread where the networks and the device are worth no more."""
    import torch

    if session.device.type == "cpu" and sum(map(torch.numel, session.pipe.unet.parameters())) < _SMALL:
        torch.set_num_threads(1)
    return session


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
