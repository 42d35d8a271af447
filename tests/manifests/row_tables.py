"""Manifests of many small rows in `hands`, in row groups of a chosen size, for tests of readers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h2d.manifests.files import write_json
from h2d.manifests.schema import HANDS, SCHEMA_VERSION, TABLES, with_metadata
from h2d.manifests.store import part_path


def hand_rows(first: int, count: int, split: str) -> pa.Table:
    """Rows whose points and picture tell their number."""
    names = [f"{number:04d}" for number in range(first, first + count)]
    points = np.repeat(np.arange(first, first + count, dtype=np.float32), 63)
    columns = {
        "id": pa.array([f"{name}/left" for name in names]),
        "image_id": pa.array(names),
        "source": pa.array(["drawn"] * count),
        "split": pa.array([split] * count),
        "crop_box_xywh": pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(points[::63], 4)), 4),
        "hands": pa.array(["left"] * count),
        "image": pa.array([{"bytes": name.encode(), "path": None} for name in names], HANDS.field("image").type),
        "keypoints_left": pa.FixedSizeListArray.from_arrays(pa.array(points), 63),
        "keypoints_right": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros_like(points)), 63),
    }
    arrays = [columns[field.name] if field.name in columns else pa.nulls(count, field.type) for field in HANDS]
    return pa.Table.from_arrays(arrays, schema=with_metadata(HANDS, {"table": "hands"}))


def write_rows(root: Path, *, parts: dict[str, list[int]], rows_per_group: int) -> Path:
    """Write a manifest with the `parts` (rows of each file, by split)."""
    number = 0
    for split, sizes in parts.items():
        for part, count in enumerate(sizes):
            path = part_path(root, "hands", split, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(hand_rows(number, count, split), path, row_group_size=rows_per_group)
            number += count
    counts = {"indexed": 0, **dict.fromkeys(TABLES, 0), "hands": number}
    write_json(root / "manifest.json", {"schema_version": SCHEMA_VERSION, "source": "drawn", "counts": counts})
    return root
