"""A folder of pictures for a list, one PNG each under its number, and the real ones as a folder of the same kind.

`<folder>/made.json` says of what and how they were made, `<folder>/pictures/NNNNN.png` are they. A picture that exists
is whole. Axis legend: h w picture size.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from h2d.errors import UserError
from h2d.eval.picture_list import Entry, PictureList
from h2d.eval.placing import Watch
from h2d.images import DecodeError, decode_rgb, resize
from h2d.manifests.files import write_bytes, write_json
from h2d.manifests.io import Location, location
from h2d.manifests.store import Manifest, Place

MADE_FILE: Final = "made.json"
REAL: Final = "real"
"""The folder of the real pictures."""
METHODS_FOLDER: Final = "methods"
"""That of the folders of the methods."""
_PNG_KEY: Final = "h2d"


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFolder:
    """Pictures of one method, or the real ones."""

    path: Path

    def picture(self, name: str) -> Path:
        """The file of a picture, there or not."""
        return self.path / "pictures" / f"{name}.png"

    def lacking(self, entries: Iterable[Entry]) -> list[int]:
        """The numbers of those that are not there yet."""
        there = {file.name for file in (self.path / "pictures").glob("*.png")}
        return [entry.number for entry in entries if f"{entry.name}.png" not in there]

    def lack(self, entries: Sequence[Entry]) -> str:
        """How many are not there yet, and what makes them; nothing where all are."""
        lacking = self.lacking(entries)
        if not lacking:
            return ""
        return f"{len(lacking)} of {len(entries)} pictures are not there, first {lacking[0]:05d}: {self.remedy}"

    def write(self, name: str, picture: UInt8[np.ndarray, "h w 3"], about: Mapping[str, Any]) -> None:
        """Write one atomically; what it is of is written into the PNG itself."""
        text = PngImagePlugin.PngInfo()
        text.add_itxt(_PNG_KEY, json.dumps(dict(about), ensure_ascii=False))
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", pnginfo=text, compress_level=1)
        write_bytes(self.picture(name), buffer.getvalue())

    def read(self, entry: Entry) -> tuple[UInt8[np.ndarray, "h w 3"], str]:
        """A picture at the list's size, and the SHA-256 of its file; raises `UserError` where it is damaged."""
        file = self.picture(entry.name)
        data = file.read_bytes()
        try:
            picture = decode_rgb(data)
        except DecodeError as error:
            raise UserError(f"{file}: {error}: delete it, and make it again: {self.remedy}") from None
        return resize(picture, (entry.size, entry.size)), hashlib.sha256(data).hexdigest()

    def about(self, name: str) -> dict[str, Any]:
        """What `write` was told; nothing for a picture of another program."""
        with Image.open(self.picture(name)) as picture:
            text = picture.info.get(_PNG_KEY)
        return json.loads(text) if text else {}

    @property
    def is_claimed(self) -> bool:
        """Whether it is said how its pictures are made."""
        return (self.path / MADE_FILE).exists()

    @property
    def made(self) -> dict[str, Any]:
        """How they were made; raises `UserError` where it is not said."""
        try:
            made: dict[str, Any] = json.loads((self.path / MADE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{self.path}: no {MADE_FILE}: run h2d evaluate run or folder first") from None
        except ValueError:
            raise UserError(
                f"{self.path / MADE_FILE}: damaged: delete {self.path} and make its pictures again by h2d evaluate run"
                " or folder"
            ) from None
        return made

    @property
    def remedy(self) -> str:
        """The command that makes those of its pictures that are not there."""
        made = self.made
        if made["name"] == REAL:
            return "h2d evaluate run or folder, with any method"
        taken_from = made["identity"].get("folder")
        if taken_from is not None:
            return f"h2d evaluate folder {taken_from} --name {made['title']!r}"
        return f"h2d evaluate run --method {made['name']}, with the options it was made with"

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Say how its pictures are made; raises `UserError` where those there are made differently."""
        if not self.is_claimed:
            write_json(self.path / MADE_FILE, dict(facts))
            return
        before, now = flat(self.made), flat(json.loads(json.dumps(facts)))
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                raise UserError(
                    f"{self.path}: its pictures were made with {key} = {before.get(key)!r}, not {now.get(key)!r}:"
                    " give another --out, or --fresh to make them again"
                )


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names."""
    if isinstance(value, Mapping):
        return {key: item for name in value for key, item in flat(value[name], f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): value}


def copy_real(pictures: PictureList, folder: PictureFolder, watch: Watch, *, manifest: Location | None = None) -> bool:
    """Cut the list's real pictures out of its manifest, those that are not there yet; False when stopped.

    `manifest` is where it lies now, if that has changed. Raises `UserError` where it is not the one of the list.
    """
    from h2d.eval.protocol import manifest_hash

    missing = set(folder.lacking(pictures.entries))
    source = Manifest(manifest or location(pictures.facts["manifest"])) if missing else None
    folder.claim({"name": REAL, "list_sha256": pictures.sha256, "identity": {"from": "manifest"}})
    if source is None:
        return not watch.should_stop()
    watch.started("real", len(pictures), len(pictures) - len(missing))
    try:
        if manifest_hash(source) != pictures.facts["manifest_sha256"]:
            raise UserError(
                f"{source.root}: not the manifest that the list was drawn from, or changed since: draw the list again,"
                " or name the right one by --manifest"
            )
        for (part, group), entries in _by_group(pictures.entries, missing).items():
            if watch.should_stop():
                return False
            _copy_group(source, Place(path=source.root / "images" / part, group=group, row=0), entries, folder)
            watch.worked(len(entries))
    finally:
        watch.ended("real")
    return True


def _by_group(entries: Sequence[Entry], wanted: set[int]) -> dict[tuple[str, int], list[Entry]]:
    groups: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        if entry.number in wanted:
            groups.setdefault((entry.place["part"], entry.place["group"]), []).append(entry)
    return groups


def _copy_group(manifest: Manifest, place: Place, entries: Sequence[Entry], folder: PictureFolder) -> None:
    from h2d.manifests.store import open_part, read_group

    with open_part(place.path) as file:
        rows = read_group(file, place.path, place.group, ["id", "image"])
    for entry in entries:
        row = rows.slice(entry.place["row"], 1).to_pylist()[0]
        if row["id"] != entry.id:
            raise UserError(
                f"{place.path}: row {entry.place['row']} is {row['id']}, not {entry.id}: draw the list again"
            )
        left, top, side = entry.place["square"]
        square = np.ascontiguousarray(decode_rgb(row["image"]["bytes"])[top : top + side, left : left + side])
        folder.write(entry.name, resize(square, (entry.size, entry.size)), {"id": entry.id, "real": True})
