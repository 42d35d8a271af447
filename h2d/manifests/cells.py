"""A row group's cells in the form in which whoever trains wants them: the one place that turns columns into values.

Axis legend: n rows, p points.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from h2d.manifests.io import Location
from h2d.manifests.schema import BOX, IMAGE, POINTS_21, POINTS_133
from h2d.manifests.store import points_array, read_group

Cells: TypeAlias = Sequence[Any] | Float32[np.ndarray, "_ ..."]
"""Points as float32 (n, p, 3), boxes as (n, 4), pictures as their encoded bytes, all else as plain values."""


def read_cells(file: pq.ParquetFile, path: Location, group: int, columns: Sequence[str]) -> dict[str, Cells]:
    """Some columns of a row group; raises `UserError` when it is damaged."""
    table = read_group(file, path, group, columns)
    return {name: cells_of(table[name]) for name in columns}


def cells_of(column: pa.ChunkedArray) -> Cells:
    """A column's cells; the arrays are the caller's own."""
    if column.type == IMAGE:
        return [value for chunk in column.chunks for value in chunk.field("bytes").to_pylist()]
    if column.type in (POINTS_21, POINTS_133):
        points: Float32[np.ndarray, "n p 3"] = points_array(column).copy()
        return points
    if column.type == BOX and not column.null_count:
        values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        boxes: Float32[np.ndarray, "n 4"] = np.array(values, np.float32).reshape(-1, 4)
        return boxes
    plain: list[Any] = column.to_pylist()
    return plain
