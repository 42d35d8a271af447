"""A folder as the Hugging Face Hub has them: Parquet files that name their split, and a card that lists them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import yaml

from h2d.manifests.export.base import Row
from h2d.manifests.files import write_parquet, write_text
from h2d.manifests.schema import TABLES, with_metadata
from h2d.manifests.store import Manifest

ROWS_PER_FILE: Final = 1000


class HuggingFaceExport:
    """`data/<split>-NNNNN.parquet` and `README.md`: one table, without our parts and reports."""

    tables: ClassVar[tuple[str, ...]] = ("hands", "images", "rejects")

    def __init__(self, manifest: Manifest, folder: Path, table: str) -> None:
        self._manifest, self._folder, self._table = manifest, folder, table
        facts = {name: value for name, value in manifest.facts.items() if name in ("source", "stages")}
        self._schema = with_metadata(TABLES[table], {**facts, "table": table})
        self._counts: dict[str, int] = {}

    def write(self, split: str, rows: Iterator[Row]) -> None:
        """Write the split's files."""
        self._counts[split] = 0
        number = 0
        while members := list(islice(rows, ROWS_PER_FILE)):
            path = self._folder / "data" / f"{split}-{number:05d}.parquet"
            write_parquet(path, pa.Table.from_pylist(members, schema=self._schema))
            self._counts[split] += len(members)
            number += 1

    def close(self) -> None:
        """Write the card."""
        files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in self._counts]
        header: dict[str, Any] = {"configs": [{"config_name": self._table, "default": True, "data_files": files}]}
        rows = "\n".join(f"- {split}: {count:,} rows" for split, count in self._counts.items())
        text = yaml.safe_dump(header, sort_keys=False)
        title = f"# {self._manifest.name}: {self._table}"
        licence = "Pictures and labels keep the licence of the dataset that they come from."
        write_text(self._folder / "README.md", f"---\n{text}---\n\n{title}\n\n{rows}\n\n{licence}\n")
