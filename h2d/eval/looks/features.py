"""Inception's features of pictures, whole or without their background."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from h2d.eval.features import PictureFeatures, foreground
from h2d.eval.looks.base import Seen

if TYPE_CHECKING:
    from h2d.eval.inception import Inception, Resize

Region: TypeAlias = Literal["whole", "foreground"]


def look_name(region: Region) -> str:
    """What the look at features of a region is called."""
    return f"features_{region}"


class FeaturesLook:
    """Features of one width; with random weights where no file of trained ones is given."""

    columns: ClassVar[tuple[pa.Field, ...]] = (pa.field("features", pa.list_(pa.float32()), nullable=False),)
    apart = False

    def __init__(
        self, *, region: Region, width: int, resize: "Resize", weights: Path | None, device: str = "cpu", fill: int = 0
    ) -> None:
        self.region, self.width = region, width
        self.name = look_name(region)
        self.needs: tuple[str, ...] = ("mask",) if region == "foreground" else ()
        self.needs_gpu = device.startswith("cuda")
        self.fill = fill
        self._resize, self._weights, self._device = resize, weights, device
        self._network: Inception | None = None

    def identity(self) -> Mapping[str, Any]:
        """The network, its weights, the resize mode and the width; of a foreground also what fills the rest."""
        region = {"fill": self.fill} if self.region == "foreground" else {}
        return {**self.network.identity, "resize": self._resize, "width": self.width, **region}

    def setup(self) -> None:
        """Load the network onto its device."""
        self.network.to(self._device)

    def close(self) -> None:
        """Let it go."""
        self._network = None

    def look(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """A row of features for each picture."""
        pictures = [one.picture for one in seen]
        if self.region == "foreground":
            masks = [one.mask for one in seen]
            pictures = [
                foreground(picture, mask, fill=self.fill)
                for picture, mask in zip(pictures, masks, strict=True)
                if mask is not None
            ]
        rows = self.network.features(pictures).by_width[self.width]
        return [{"features": row} for row in rows]

    @property
    def network(self) -> "Inception":
        """The network; raises `UserError` where its file is absent or of another kind."""
        from h2d.eval.inception import load_inception, random_inception

        if self._network is None:
            self._network = (
                random_inception((self.width,), resize=self._resize)
                if self._weights is None
                else load_inception(self._weights, (self.width,), resize=self._resize)
            )
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        """Without the network: each process loads its own."""
        return {**self.__dict__, "_network": None}


def features_in(table: pa.Table, identity: Mapping[str, Any]) -> PictureFeatures:
    """The rows of a table that a look at features of this identity wrote."""
    width = identity["width"]
    rows = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    features = np.asarray(rows, np.float32).reshape(len(table), width)
    stated = {name: identity[name] for name in ("features", "weights", "resize")}
    return PictureFeatures(by_width={width: features}, identity=stated)
