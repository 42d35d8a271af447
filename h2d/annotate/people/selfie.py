"""People by MediaPipe's selfie segmentation: its model is in the wheel, so that it works offline.

Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.annotate.keypoints.installed import mediapipe_folder, mediapipe_version
from h2d.annotate.keypoints.quiet import quiet_native
from h2d.config import as_plain, config

_OPEN = "_graph"
_MODEL = "selfie_segmentation/selfie_segmentation.tflite"


@config
class SelfiePeople:
    """The general model, which sees 256 x 256 pixels; about 10 ms a picture."""

    needs_points: ClassVar[bool] = False
    threshold: float = 0.5
    """Of the model's 0..1. Our choice."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")

    def identity(self) -> Mapping[str, Any]:
        """Version, hash of the model and options."""
        version = mediapipe_version()
        model = (mediapipe_folder() / "modules" / _MODEL).read_bytes()
        return {
            "name": "selfie", "mediapipe": version, "model_sha256": sha256(model).hexdigest(), **as_plain(self),
        }  # fmt: skip

    def setup(self) -> None:
        """Open MediaPipe's graph in this process."""
        assert _OPEN not in self.__dict__, "set up twice"
        mediapipe_version()
        with quiet_native():
            from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

            graph = SelfieSegmentation(model_selection=0)
            graph.process(np.zeros((64, 64, 3), np.uint8))  # its threads log until a first picture has passed
        self.__dict__[_OPEN] = graph

    def close(self) -> None:
        """Close it."""
        graph = self.__dict__.pop(_OPEN, None)
        if graph is not None:
            graph.close()

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: an open graph stays in its process."""
        return as_plain(self)

    def segment(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], people: Sequence[Float32[np.ndarray, "133 3"]]
    ) -> list[Bool[np.ndarray, "h w"]]:
        """A mask for each picture; the points are not looked at."""
        del people
        graph: Any = self.__dict__.get(_OPEN)
        assert graph is not None, "not set up"
        masks = []
        for picture in pictures:
            with quiet_native():
                soft = graph.process(np.ascontiguousarray(picture)).segmentation_mask
            masks.append(np.asarray(soft) > self.threshold)
        return masks
