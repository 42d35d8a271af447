"""One large file from an address: streamed, resumed where it stopped, checked, and only then given its name."""

import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final

from h2d.errors import JobError
from h2d.hashes import sha256_of

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 1 << 20
NUM_TRIES: Final = 4
"""In a row without a byte gained; a connection that drops but advances is picked up again for ever."""


def download(
    url: str,
    target: Path,
    *,
    size_bytes: int,
    sha256: str,
    timeout_s: float = 60.0,
    retry_wait_s: float = 2.0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fetch `url` to `target` by way of `target.partial`; `progress` hears of bytes done and bytes in all.

    Raises `JobError`; the partial file then stays for the next try, except one with the wrong checksum, which is set
    aside as `target.wrong`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    free = shutil.disk_usage(target.parent).free
    if free < size_bytes - _size(partial):
        raise JobError(f"{target.parent}: {free / 1e9:.1f} GB free, {target.name} needs {size_bytes / 1e9:.1f} GB")
    failed = 0
    while (done := _size(partial)) != size_bytes:
        if done > size_bytes:
            partial.unlink()
            continue
        try:
            _append(url, partial, size_bytes, timeout_s, progress)
            problem = "the connection closed early"
        except urllib.error.HTTPError as error:
            with error:
                problem = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 416, 429):
                raise JobError(f"{url}: {problem}") from None
            if error.code == 416:  # the server has no such range: what we hold is of another file
                partial.unlink(missing_ok=True)
        except (OSError, HTTPException) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        if (gained := _size(partial)) == size_bytes:
            break
        failed = 0 if gained > done else failed + 1
        if failed == NUM_TRIES:
            raise JobError(f"{url}: {problem}, at {gained} of {size_bytes} bytes; the same command goes on from there")
        logger.warning("%s: %s at %d of %d bytes; trying again", url, problem, gained, size_bytes)
        time.sleep(retry_wait_s * 2**failed)
    _check_and_name(url, partial, target, sha256)


def _append(
    url: str, partial: Path, size_bytes: int, timeout_s: float, progress: Callable[[int, int], None] | None
) -> None:
    """Read from where `partial` ends until the server closes or the size is reached."""
    done = _size(partial)
    request = urllib.request.Request(url, headers={"User-Agent": "h2d", "Range": f"bytes={done}-"})
    response: HTTPResponse
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        if response.status != 206:  # the server sends the whole file again
            done = 0
        with partial.open("ab" if done else "wb") as file:
            while done < size_bytes and (chunk := response.read(min(CHUNK_BYTES, size_bytes - done))):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, size_bytes)


def _check_and_name(url: str, partial: Path, target: Path, sha256: str) -> None:
    found = sha256_of(partial)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    if found != sha256:
        aside = partial.replace(target.with_name(target.name + ".wrong"))
        raise JobError(f"{url}: sha256 is {found}, expected {sha256}; what came is kept as {aside}, fetch again")
    partial.replace(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
