"""Caption: each working picture in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from h2d.annotate.base import Captioner, CaptionRequest
from h2d.images import decode_rgb
from h2d.manifests.schema import IMAGES
from h2d.pipelines.stages.base import Row
from h2d.pose.layouts import SIDES, Side


@dataclass(frozen=True, kw_only=True)
class CaptionStage:
    """Describes each working picture in words."""

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 2
    index_columns: ClassVar[tuple[str, ...]] = ("gesture",)
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            IMAGES.field("caption"),
            IMAGES.field("captioner"),
            *(IMAGES.field("caption").with_name(f"caption_{side}") for side in SIDES),
        ]
    )
    """`caption_left` and `caption_right` are of crops that show one hand of a picture with two, where they differ."""

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
        """Describe the batch in one call, and of two hands each alone where that takes no look at a crop."""
        found = [tuple(side for side in SIDES if row["pose"][f"hand_{side}_found"]) for row in rows]
        pictures = [self._request(row, hands) for row, hands in zip(rows, found, strict=True)]
        alone = [
            (number, side)
            for number, hands in enumerate(found)
            if len(hands) == len(SIDES) and not self.captioner.sees_pictures
            for side in hands
        ]
        texts = self.captioner.caption([*pictures, *(replace(pictures[n], hands=(side,)) for n, side in alone)])
        results: list[dict[str, Any]] = [{"caption": text, "captioner": self.annotator} for text in texts[: len(rows)]]
        for (number, side), text in zip(alone, texts[len(rows) :], strict=True):
            results[number][f"caption_{side}"] = text
        return results

    def _request(self, row: Row, hands: tuple[Side, ...]) -> CaptionRequest:
        return CaptionRequest(
            picture=decode_rgb(row["pose"]["picture"]) if self.captioner.sees_pictures else None,
            source=self.source,
            gesture=row["gesture"],
            id=row["id"],
            hands=hands,
        )
