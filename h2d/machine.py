"""The machine that a process runs on: its cores and devices, what is installed, and how memory is kept."""

import ctypes
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from h2d.errors import UserError

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGEST_MMAP_THRESHOLD: Final = 32 * 2**20
_KEEP_BYTES: Final = 512 * 2**20
_UNITS: Final = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_bytes(num_bytes: float) -> str:
    """A size as people say it: 2.1 GiB, 300 MiB."""
    unit, size = next(((name, size) for name, size in _UNITS if num_bytes >= size), _UNITS[-1])
    return f"{num_bytes / size:.{1 if unit == 'GiB' else 0}f} {unit}"


def device_named(name: str) -> str:
    """The name of a torch device that is there; `auto` is CUDA where there is one, else the CPU.

    Raises `UserError` where there is no such device.
    """
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0  # counted also where the driver is too old
    if name == "auto":
        return "cuda" if count else "cpu"
    there = [*(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if name not in there:
        raise UserError(f"device {name!r}: there is no such device here: give {', '.join(['auto', 'cpu', *there])}")
    return name


def version_of(distribution: str) -> str | None:
    """The installed version of a package, read from its metadata without importing it; None where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def free_memory() -> int:
    """Bytes that new processes can have without swapping."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        available = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
        return int(available.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def keep_freed_memory() -> None:
    """Let one picture's memory be used for the next, instead of going back to the system in between.

    glibc maps every block of a decoded picture's size anew, and touching its pages for the first time costs as much as
    decoding it. Other C libraries have no such setting and are left alone.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
