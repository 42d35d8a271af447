"""A detector that notes on which node its worker set it up, for the tests of clusters."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from colour_world import ColourDetector

from h2d.annotate.base import Detection
from h2d.config import config


@config
class NotingDetector:
    """The colour world's detector, a little slower; the node is what its environment names."""

    log: Path
    seconds: float = 0.02

    def identity(self) -> Mapping[str, Any]:
        return ColourDetector().identity()

    def setup(self) -> None:
        with self.log.open("a") as log:
            log.write(f"{os.environ['NODE']} {os.getpid()}\n")

    def close(self) -> None: ...

    def detect(self, picture: np.ndarray, boxes_xywh: np.ndarray, given: object = None) -> Detection:
        time.sleep(self.seconds)
        return ColourDetector().detect(picture, boxes_xywh)
