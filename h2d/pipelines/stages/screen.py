"""Screen: leaves pictures out by the dataset's own word on who is in them, before anything looks at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from h2d.pipelines.sources.laion_human_poses import PoseFileError, UnsafePoseFileError, read_people
from h2d.pipelines.stages.base import Row, refusal


@dataclass(frozen=True, kw_only=True)
class ScreenStage:
    """Counts the people of each picture's pose file."""

    name: ClassVar[str] = "screen"
    version: ClassVar[int] = 1
    index_columns: ClassVar[tuple[str, ...]] = ("pose_path",)
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    schema: ClassVar[pa.Schema] = pa.schema([("persons_listed", pa.int32())])
    batch_size: ClassVar[int] = 64
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False
    annotator: ClassVar[str] = "given"

    root: Path
    persons: int
    """How many people the file must list; 0: any number."""

    def identity(self) -> Mapping[str, Any]:
        """The rule."""
        return {"persons": self.persons}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Read each pose file and count."""
        return [self._one(self.root / row["pose_path"]) for row in rows]

    def _one(self, file: Path) -> dict[str, Any]:
        try:
            listed = len(read_people(file))
        except UnsafePoseFileError as error:
            return refusal("unsafe_pose_file", str(error), status="error")
        except PoseFileError as error:
            return refusal("damaged_pose_file", str(error), status="error")
        if not self.persons or listed == self.persons:
            return {"persons_listed": listed}
        return refusal("persons_listed", f"{listed} people listed by the dataset, {self.persons} wanted")
