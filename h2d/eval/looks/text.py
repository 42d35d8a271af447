"""CLIP's embeddings of pictures and of their prompts; how well they agree is computed from both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from h2d.eval.looks.base import Seen

if TYPE_CHECKING:
    from h2d.eval.text_alignment import ClipModel, TextEmbeddings


class _WithClip:
    """Opens CLIP when it is needed, in each process anew."""

    needs: tuple[str, ...] = ()
    apart = False

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        self.needs_gpu = device.startswith("cuda")
        self._folder, self._device = folder, device
        self._clip: ClipModel | None = None

    @property
    def model(self) -> "ClipModel":
        """CLIP; raises `UserError` where its folder lacks something."""
        from h2d.eval.text_alignment import ClipModel

        if self._clip is None:
            self._clip = ClipModel(self._folder, device=self._device)
        return self._clip

    def identity(self) -> Mapping[str, Any]:
        """The model's."""
        return dict(self.model.identity)

    def setup(self) -> None:
        """Load the weights."""
        _ = self.model

    def close(self) -> None:
        """Let them go."""
        self._clip = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the weights."""
        return {**self.__dict__, "_clip": None}


class PictureLook(_WithClip):
    """Pictures, as CLIP sees them."""

    name = "clip_pictures"
    columns: ClassVar[tuple[pa.Field, ...]] = (pa.field("embedding", pa.list_(pa.float32()), nullable=False),)

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """An embedding of length 1 for each picture."""
        return [{"embedding": row} for row in self.model.pictures([one.picture for one in seen])]


class PromptLook(_WithClip):
    """Prompts, as CLIP reads them: the same for every method, so they are read beside the real pictures alone."""

    name = "clip_prompts"
    columns: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
    )

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """An embedding of length 1 for each prompt, and how many tokens the whole of it has."""
        read = self.model.texts([one.entry.prompt for one in seen])
        return [
            {"embedding": row, "num_tokens": int(count)} for row, count in zip(read.rows, read.num_tokens, strict=True)
        ]


def embeddings_of(table: pa.Table) -> Float32[np.ndarray, "n d"]:
    """The rows of either look."""
    values = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(len(table), -1)


def prompts_of(table: pa.Table) -> "TextEmbeddings":
    """The rows of the look at prompts."""
    from h2d.eval.text_alignment import TextEmbeddings

    counts = table["num_tokens"].to_numpy().astype(np.int64)
    return TextEmbeddings(rows=embeddings_of(table), num_tokens=counts)
