"""Where files lie: local paths, and addresses of object stores that answer to the same methods.

A local file stays a `pathlib.Path`. Anything with a scheme (`s3://bucket/x`, `memory://x`) becomes an `Address`, which
has the few methods of `Path` that this project uses. Nothing else imports fsspec.
"""

import asyncio
import fnmatch
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import pyarrow.parquet as pq
from pydantic import BeforeValidator

from h2d.errors import JobError, UserError

T = TypeVar("T")

NUM_ATTEMPTS: Final = 6
FIRST_WAIT_S: Final = 0.1
_PERMANENT: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_TRANSIENT_NAMES: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "HTTPClientError"}
)
"""The S3 client's own errors of the network, which are no `OSError`."""


@dataclass(frozen=True, order=True)
class Address:
    """A file or folder in a store; folders exist as far as something lies below them."""

    url: str
    """With its scheme, without a slash at the end."""

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Address":
        return Address(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The name's extension, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "Address":
        """One level up."""
        return Address(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> "Address":
        """The neighbour of that name."""
        return self.parent / name

    def resolve(self) -> "Address":
        """Itself: an address is whole."""
        return self

    absolute = resolve

    def samefile(self, other: object) -> bool:
        """Whether the other is the same address."""
        return str(other) == self.url

    def is_relative_to(self, other: object) -> bool:
        """Whether it lies below the other."""
        return self.url == str(other) or (self.url.startswith(f"{other}/") and ".." not in self.url.split("/"))

    def relative_to(self, other: object) -> PurePosixPath:
        """The names from the other down to this."""
        assert self.is_relative_to(other), (self, other)
        return PurePosixPath(self.url[len(str(other)) + 1 :])

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Whether something lies below it."""
        return self._kind() == "directory"

    def stat(self) -> "Entry":
        """What is known of it; raises `FileNotFoundError`."""
        known = self._ask(lambda store, path: store.info(path))
        return _entry(self.name, self, known)

    def read_bytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """The file, or a range of it; raises `FileNotFoundError`."""
        return self._ask(lambda store, path: bytes(store.cat_file(path, start=start, end=end)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: Any) -> None:
        """Write the whole file in one request: it is there whole, or not at all."""
        self._ask(lambda store, path: store.pipe_file(path, bytes(data)))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file."""
        try:
            self._ask(lambda store, path: store.rm_file(path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def entries(self) -> list["Entry"]:
        """What lies directly in the folder; raises `FileNotFoundError`."""
        found = self._ask(lambda store, path: store.ls(path, detail=True))
        own = PurePosixPath(self.url).name
        named = [(PurePosixPath(one["name"]).name, one) for one in found]
        return [
            _entry(name, self / name, one)
            for name, one in named
            if not (name == own and one["type"] == "file" and one["name"].rstrip("/") == self._path())
        ]

    def glob(self, pattern: str) -> Iterator["Address"]:
        """Files below whose names match, level by level."""
        wanted = pattern.split("/")
        for file in self.files():
            names = file.relative_to(self).parts
            if len(names) == len(wanted) and all(map(fnmatch.fnmatchcase, names, wanted)):
                yield file

    def files(self) -> list["Address"]:
        """Every file below, at any depth; none when there is no such folder."""
        base = self._path().rstrip("/")
        found = self._ask(lambda store, path: store.find(path))
        return sorted(Address(f"{self.url}{name[len(base) :]}") for name in found if name.startswith(f"{base}/"))

    def copy_to(self, target: "Address") -> None:
        """Copy the file within the store, which moves no bytes through here."""
        self._ask(lambda store, path: store.cp_file(path, target._path()))

    def _path(self) -> str:
        return str(_store(self.url)[1])

    def _kind(self) -> str | None:
        """What lies there: "file", "directory" or None. fsspec's own `isfile` takes any trouble for a no."""
        try:
            return str(self._ask(lambda store, path: store.info(path))["type"])
        except FileNotFoundError:
            return None

    def _ask(self, request: Callable[[Any, str], T]) -> T:
        store, path = _store(self.url)
        return _patient(self.url, lambda: request(store, path))


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One thing in a store's folder, as `os.DirEntry` has it."""

    name: str
    path: str
    is_folder: bool
    size: int

    @property
    def st_size(self) -> int:
        """Bytes."""
        return self.size

    def is_file(self) -> bool:
        """Whether it is a file."""
        return not self.is_folder

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.is_folder

    def is_symlink(self) -> bool:
        """Never: stores have no links."""
        return False

    def stat(self) -> "Entry":
        """Itself: it has `st_size`."""
        return self


def _entry(name: str, address: Address, known: dict[str, Any]) -> Entry:
    return Entry(name=name, path=address.url, is_folder=known["type"] == "directory", size=int(known["size"] or 0))


Location: TypeAlias = Path | Address


def location(value: str | Path | Address) -> Location:
    """A path or an address, by whether it has a scheme; `file://` is a path."""
    if isinstance(value, Address):
        return value
    scheme, mark, rest = str(value).partition("://")
    if not mark:
        return Path(value)
    return Path(rest) if scheme in ("file", "local") else Address(str(value).rstrip("/"))


def below(root: Location, name: str) -> Location:
    """The file of that name below `root`, or elsewhere when the name is a whole path or address."""
    if "://" in name or name.startswith("/"):
        return location(name)
    return root / name


GivenLocation: TypeAlias = Annotated[Location, BeforeValidator(location)]
"""A field of a configuration: text becomes a path or an address."""


def open_parquet(file: Location) -> pq.ParquetFile:
    """Open a Parquet file to read it; of a remote one, only the ranges asked for are fetched."""
    if isinstance(file, Path):
        return pq.ParquetFile(file, memory_map=True)
    return pq.ParquetFile(_Ranged(file), pre_buffer=True)


def remove_tree(folder: Location) -> None:
    """Delete a folder and all below it; one that is not there is fine."""
    if isinstance(folder, Path):
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
        return
    for file in folder.files():
        file.unlink(missing_ok=True)


class _Ranged(io.RawIOBase):
    """A remote file for reading at any place; each read is one request, with the patience of all the others."""

    def __init__(self, file: Address) -> None:
        super().__init__()
        self._file, self._size, self._at = file, file.stat().st_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        data = self._file.read_bytes(self._at, end) if end > self._at else b""
        self._at += len(data)
        return data


def _store(url: str) -> tuple[Any, str]:
    """The store behind an address, and the address within it. fsspec keeps one a process."""
    import fsspec

    try:
        store, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise UserError(f"{url}: {error}") from None
    except ValueError as error:
        raise UserError(f"{url}: {error}: give a folder, or an address such as s3://bucket/folder") from None
    return store, path


def _patient(url: str, request: Callable[[], T]) -> T:
    """Ask again, waiting twice as long each time, while the store has a passing trouble."""
    for attempt in range(NUM_ATTEMPTS):
        try:
            return request()
        except _PERMANENT:
            raise
        except Exception as error:
            if not _is_transient(error):
                raise
            trouble = error
        time.sleep(FIRST_WAIT_S * 2**attempt)
    text = " ".join(str(trouble).split())
    raise JobError(f"{url}: the store does not answer after {NUM_ATTEMPTS} attempts ({text}); finished shards are kept")


def _is_transient(error: Exception) -> bool:
    timed_out = isinstance(error, OSError | TimeoutError | asyncio.TimeoutError)
    return timed_out or type(error).__name__ in _TRANSIENT_NAMES
