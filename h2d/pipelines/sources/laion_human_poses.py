"""LAION-Human's pose files, read without trusting them: a numpy archive whose one member is a pickle of people.

A pickle may name any function and have it called. Of the four names that the dataset's files need, none is looked up:
each stands for an object of this module that can do nothing but hold what the file says. Every other name is refused.
Axis legend: 17 COCO body points.
"""

import io
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

_MEMBER: Final = "arr_0.npy"
_MAX_BYTES: Final = 4_000_000
"""Of the member. Our choice: room for ten thousand people."""
_NUMBERS: Final = frozenset({"f4", "f8", "i4", "i8"})
_POINTS_SHAPE: Final = (17, 3)


class PoseFileError(ValueError):
    """A pose file that is damaged or has other contents than people."""


class UnsafePoseFileError(PoseFileError):
    """A pose file whose pickle names something that people do not need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedPerson:
    """One person of a pose file."""

    keypoints: Float32[np.ndarray, "17 3"]
    """x and y in pixels of the picture's file, and a score; COCO's order."""
    score: float
    area: float


def read_people(path: Path) -> list[ListedPerson]:
    """The people of one file; raises `PoseFileError`, and runs nothing that the file says."""
    return decode_people(path.read_bytes())


def decode_people(data: bytes) -> list[ListedPerson]:
    """The people of a file's bytes."""
    member = io.BytesIO(_member_of(data))
    try:
        shape, dtype = _header(member)
    except (ValueError, SyntaxError) as error:
        raise PoseFileError(f"{_MEMBER} has no numpy header: {error}") from None
    if not dtype.hasobject:
        if prod(shape) == 0:
            return []  # an empty list of people has no objects
        raise PoseFileError(f"{_MEMBER} holds {dtype} numbers, not people")
    people = _unpickled(member)
    if not isinstance(people, _Array):
        raise PoseFileError(f"{_MEMBER} pickles a {type(people).__name__}, not an array")
    return [_person(item) for item in people.objects()]


def _member_of(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = archive.getinfo(_MEMBER).file_size
            if size > _MAX_BYTES:
                raise PoseFileError(f"{_MEMBER} has {size:,} bytes, more than {_MAX_BYTES:,}")
            return archive.read(_MEMBER)
    except KeyError:
        raise PoseFileError(f"the archive has no {_MEMBER}") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise PoseFileError(f"not a whole numpy archive: {error}") from None


def _header(member: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)  # type: ignore[no-untyped-call]
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)  # type: ignore[no-untyped-call]
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)  # type: ignore[no-untyped-call]
    else:
        raise ValueError(f"version {version}")
    return shape, dtype


def _unpickled(member: io.BytesIO) -> Any:
    try:
        return _PoseUnpickler(member).load()
    except PoseFileError:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged pickle raises anything, and none of it is ours
        raise PoseFileError(f"{_MEMBER}: damaged pickle ({type(error).__name__}: {error})") from None


class _PoseUnpickler(pickle.Unpickler):
    """Knows four names, each by a stand-in."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The stand-in; any other name is refused before anything is imported."""
        name = f"{module_name}.{global_name}".replace("numpy._core.", "numpy.core.")
        if name not in _STAND_INS:
            raise UnsafePoseFileError(f"{_MEMBER} names {name}, which no list of people needs: nothing was run")
        return _STAND_INS[name]


# Slots everywhere: a pickle can set attributes of what it was given, and these have none to set.
class _ArrayType:
    """`numpy.ndarray`: only to be named as the type of what `_reconstruct` makes."""

    __slots__ = ()


class _DataType:
    """What a file says of a dtype: its code and byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise PoseFileError(f"byte order {state[1]!r}")
        self.order = state[1]

    def numbers(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """The values; of plain numbers only."""
        if self.code not in _NUMBERS:
            raise PoseFileError(f"numbers of type {self.code!r}")
        return np.frombuffer(data, f"{self.order}{self.code}").reshape(shape)


class _MakeDataType:
    """`numpy.dtype`."""

    __slots__ = ()

    def __call__(self, code: str, *flags: Any) -> _DataType:
        if not isinstance(code, str) or code not in _NUMBERS | {"O8"}:
            raise PoseFileError(f"dtype {code!r}")
        return _DataType(code)


class _Array:
    """An array's state, as it stands in the file."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def objects(self) -> list[Any]:
        """The items of an array of objects."""
        _, shape, dtype, _, items = self._parts()
        if dtype.code != "O8" or not isinstance(items, list) or shape != (len(items),):
            raise PoseFileError(f"an array of {dtype.code} with shape {shape} is no list of people")
        return items

    def numbers(self) -> np.ndarray:
        """The values of an array of numbers."""
        _, shape, dtype, is_fortran, data = self._parts()
        if not isinstance(data, bytes) or not isinstance(shape, tuple) or is_fortran:
            raise PoseFileError("an array whose values are no bytes in C order")
        return dtype.numbers(data, shape)

    def _parts(self) -> tuple[Any, Any, _DataType, Any, Any]:
        if not (isinstance(self.state, tuple) and len(self.state) == 5 and isinstance(self.state[2], _DataType)):
            raise PoseFileError("an array without shape, type and values")
        return self.state


class _Reconstruct:
    """`numpy.core.multiarray._reconstruct`."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if kind is not _STAND_INS["numpy.ndarray"]:
            raise PoseFileError("an array of another type")
        return _Array()


class _Scalar:
    """`numpy.core.multiarray.scalar`."""

    __slots__ = ()

    def __call__(self, dtype: Any, data: Any = b"") -> float:
        if not isinstance(dtype, _DataType) or not isinstance(data, bytes):
            raise PoseFileError("a number without a type or bytes")
        return float(dtype.numbers(data, ()))


_STAND_INS: Final[dict[str, Any]] = {
    "numpy.ndarray": _ArrayType(),
    "numpy.dtype": _MakeDataType(),
    "numpy.core.multiarray._reconstruct": _Reconstruct(),
    "numpy.core.multiarray.scalar": _Scalar(),
}


def _person(item: Any) -> ListedPerson:
    if not isinstance(item, dict) or not isinstance(item.get("keypoints"), _Array):
        raise PoseFileError("a person without keypoints")
    try:
        keypoints = item["keypoints"].numbers().astype(np.float32)
        score, area = float(item.get("score", np.nan)), float(item.get("area", np.nan))
    except (ValueError, TypeError) as error:
        raise PoseFileError(f"a person whose numbers cannot be read: {error}") from None
    if keypoints.shape != _POINTS_SHAPE:
        raise PoseFileError(f"a person with keypoints of shape {keypoints.shape}, not {_POINTS_SHAPE}")
    return ListedPerson(keypoints=keypoints, score=score, area=area)
