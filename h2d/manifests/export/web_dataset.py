"""WebDataset: tar files of a few hundred rows, each a picture and a JSON file of the same name."""

import io
import json
import math
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final

from h2d.manifests.export.base import Row, extension, file_stem
from h2d.manifests.files import written_whole
from h2d.manifests.store import Manifest

ROWS_PER_SHARD: Final = 1000


class WebDatasetExport:
    """`<table>-<split>-NNNNNN.tar`; the JSON holds every column but the picture, missing points as null."""

    tables: ClassVar[tuple[str, ...]] = ("hands", "images")

    def __init__(self, manifest: Manifest, folder: Path, table: str) -> None:
        del manifest  # its rows say all
        self._folder, self._table = folder, table

    def write(self, split: str, rows: Iterator[Row]) -> None:
        """Write the split's shards."""
        numbered = enumerate(rows)
        shard = 0
        while members := list(islice(numbered, ROWS_PER_SHARD)):
            path = self._folder / f"{self._table}-{split}-{shard:06d}.tar"
            with written_whole(path) as temporary, tarfile.open(temporary, "w") as archive:
                for number, row in members:
                    _add(archive, file_stem(number, row), row)
            shard += 1

    def close(self) -> None:
        """Nothing describes the whole."""


def _add(archive: tarfile.TarFile, stem: str, row: Row) -> None:
    data = row.pop("image")["bytes"]
    text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False).encode()
    for name, content in ((f"{stem}.{extension(data)}", data), (f"{stem}.json", text)):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
