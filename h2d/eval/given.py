"""Pictures that another program made for a list: matched to its rows, checked, and taken over into a run.

Axis legend: h w picture size.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8

from h2d.errors import UserError
from h2d.eval.picture_list import PictureList
from h2d.eval.pictures import PictureFolder
from h2d.eval.placing import Watch
from h2d.images import DecodeError, load_on_white

Match: TypeAlias = Literal["auto", "id", "order"]
"""By file name: the row's id with / as _, the id's last part, or its number. Or by the order of the names. auto: by id
where any file has such a name, else by order."""

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_SHAPE_DIFFERENCE: Final = 0.02
"""Width / height of a picture that still counts as square."""
SMALLEST_PX: Final = 32
TRANSPARENT: Final = "transparent: laid on white"


def take_folder(
    source: Path, pictures: PictureList, folder: PictureFolder, watch: Watch, *, name: str, title: str, match: Match
) -> bool:
    """Copy the pictures of `source` into a run's folder as PNG, all or none of them; False when stopped.

    Raises `UserError` in one line where lists are unequal, or a picture is unreadable, not square or of another size
    than the others, or where the folder was taken over before and has changed since.
    """
    files = matched_files(source, pictures, match)
    if not folder.is_claimed and not _check(files, pictures.size, watch):
        return False  # once the folder is claimed, a picture that is made again is another
    folder.claim(
        {
            "name": name, "title": title, "list_sha256": pictures.sha256,
            "identity": {"folder": str(source.resolve()), "sha256": _content(files), "matched": match},
        }
    )  # fmt: skip
    missing = folder.lacking(pictures.entries)
    watch.started(name, len(files), len(files) - len(missing))
    try:
        for number in missing:
            if watch.should_stop():
                return False
            picture, notes = read_picture(files[number], pictures.size)
            entry = pictures.entries[number]
            about = {"id": entry.id, "file": files[number].name, "method": name, "notes": notes}
            folder.write(entry.name, picture, about)
            watch.worked(1)
    finally:
        watch.ended(name)
    return True


def _check(files: Sequence[Path], size: int, watch: Watch) -> bool:
    """Read each once and raise `UserError` at the first that cannot be taken; False when stopped."""
    side_px: int | None = None
    watch.started("check", len(files), 0)
    try:
        for file in files:
            if watch.should_stop():
                return False
            height, width = read_picture(file, size)[0].shape[:2]
            if side_px not in (None, height):
                raise UserError(
                    f"{file}: {width} x {height} pixels, the one before it has {side_px}: one method makes pictures of"
                    " one size"
                )
            side_px = height
            watch.worked(1)
    finally:
        watch.ended("check")
    return True


def read_picture(file: Path, size: int) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[str, ...]]:
    """A picture that can stand for one of the list's, and what was done to it; raises `UserError` where it cannot."""
    try:
        picture, is_transparent = load_on_white(file)
    except DecodeError as error:
        raise UserError(f"{file}: {error}: make it again, then the same command") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    height, width = picture.shape[:2]
    if abs(width / height - 1) > MAX_SHAPE_DIFFERENCE:
        raise UserError(
            f"{file}: {width} x {height} pixels, the list's pictures are {size} x {size}: give square ones of any size"
        )
    if min(height, width) < SMALLEST_PX:
        raise UserError(f"{file}: {width} x {height} pixels show nothing: give at least {SMALLEST_PX} x {SMALLEST_PX}")
    return picture, (TRANSPARENT,) if is_transparent else ()


def matched_files(source: Path, pictures: PictureList, match: Match) -> list[Path]:
    """One file for each row of the list, in its order; raises `UserError` with counts and first names."""
    if not source.is_dir():
        raise UserError(f"{source}: no such folder: give the folder of the pictures")
    files = sorted((path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES), key=_natural)
    if not files:
        raise UserError(f"{source}: no pictures: give files that end in {', '.join(SUFFIXES)}")
    if match == "order" or (match == "auto" and not _by_name(files, pictures, source)[0]):
        if len(files) != len(pictures):
            how = "" if match == "order" else "no file is named by an id, and "
            raise UserError(
                f"{source}: {how}{len(files)} pictures for the {len(pictures)} rows of the list: give one for each, or"
                " name them by id"
            )
        return files
    found, doubled = _by_name(files, pictures, source)
    if doubled:
        raise UserError(f"{source}: two pictures for {doubled[0]}: keep one of each")
    lacking = [entry.id for entry in pictures.entries if entry.number not in found]
    if lacking:
        raise UserError(
            f"{source}: {len(found)} pictures for the {len(pictures)} rows of the list: {len(lacking)} have none, first"
            f" {', '.join(lacking[:3])}"
        )
    return [found[entry.number] for entry in pictures.entries]


def _by_name(files: Sequence[Path], pictures: PictureList, source: Path) -> tuple[dict[int, Path], list[str]]:
    """The file of each row's number, and the ids that several files are named by."""
    names: dict[str, int | None] = {}
    for entry in pictures.entries:
        for name in {entry.id, entry.id.replace("/", "_"), entry.id.rpartition("/")[2], entry.name}:
            names[name] = None if name in names else entry.number  # None: of two rows, so of neither
    found: dict[int, Path] = {}
    doubled = []
    for file in files:
        inside = file.relative_to(source).with_suffix("").as_posix()
        number = names.get(inside, names.get(file.stem))
        if number is not None:
            if number in found:
                doubled.append(pictures.entries[number].id)
            found[number] = file
    return found, doubled


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """picture-2 before picture-10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", str(path))]


def _content(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
