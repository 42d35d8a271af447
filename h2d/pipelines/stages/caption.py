"""Caption: each working picture in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from h2d.annotate.base import Captioner, CaptionRequest
from h2d.images import decode_rgb
from h2d.manifests.schema import IMAGES
from h2d.pipelines.stages.base import Row
from h2d.pose.layouts import SIDES


@dataclass(frozen=True, kw_only=True)
class CaptionStage:
    """Describes each working picture in words."""

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1
    index_columns: ClassVar[tuple[str, ...]] = ("gesture",)
    schema: ClassVar[pa.Schema] = pa.schema([IMAGES.field("caption"), IMAGES.field("captioner")])

    annotator: str
    captioner: Captioner
    source: str
    refused_by: tuple[str, ...] = ()
    """Stages besides `pose` whose refusal of a picture spares it the work."""
    needs_gpu: bool = False
    uses_all_cores: bool = False

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """Pictures are left where they are when the captioner does not look at them."""
        seen = ("picture",) if self.captioner.sees_pictures else ()
        return {"pose": ("hand_left_found", "hand_right_found", *seen), **dict.fromkeys(self.refused_by, ())}

    @property
    def batch_size(self) -> int:
        """The captioner's."""
        return self.captioner.batch_size

    def identity(self) -> Mapping[str, Any]:
        """The captioner's."""
        return self.captioner.identity()

    def setup(self) -> None:
        """Load the captioner."""
        self.captioner.setup()

    def close(self) -> None:
        """Close the captioner."""
        self.captioner.close()

    def process(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Describe the batch in one call."""
        requests = [
            CaptionRequest(
                picture=decode_rgb(row["pose"]["picture"]) if self.captioner.sees_pictures else None,
                source=self.source,
                gesture=row["gesture"],
                id=row["id"],
                hands=tuple(side for side in SIDES if row["pose"][f"hand_{side}_found"]),
            )
            for row in rows
        ]
        texts = self.captioner.caption(requests)
        return [{"caption": text, "captioner": self.annotator} for text in texts]
