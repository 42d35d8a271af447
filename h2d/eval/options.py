"""How a run is measured, as options; whatever changes a number is among the conventions beside it."""

from pathlib import Path
from typing import Any, Literal

from h2d.config import config
from h2d.eval.features import WIDTHS
from h2d.eval.image_quality import QualityConventions
from h2d.eval.intervals import check_resampling
from h2d.eval.looks.pose import ENLARGED_PX
from h2d.eval.pose_accuracy import PoseConventions


@config
class LookConfig:
    """How pictures are looked at: everything here is part of the numbers' conventions."""

    detector: str = "holistic"
    detector_options: dict[str, Any] | None = None
    enlarged_px: int = ENLARGED_PX
    """Smaller pictures are enlarged to this side before the detector looks."""
    segmenter: str = "auto"
    """What removes the background: sam, selfie, grabcut, none. auto: SAM when its weights are there, else selfie."""
    features: Literal["auto", "inception", "random", "none"] = "auto"
    """auto: Inception when its weights are there, else the same network with random weights, which is named so."""
    inception_weights: Path | None = None
    """The file, if it lies elsewhere than `h2d models` puts it."""
    width: int = 192
    """Of the features; the paper's."""
    resize: Literal["tensorflow", "antialias"] = "tensorflow"
    """To Inception's 299 pixels; `tensorflow` is what torchmetrics did when the paper was written."""
    text: str = "auto"
    """The CLIP that compares pictures with prompts, by name or folder; none. auto: clip-vit-base-patch16 if its weights
    are there."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.enlarged_px < 1:
            raise ValueError(f"enlarged_px is {self.enlarged_px}: give at least 1")
        if self.width not in WIDTHS:
            raise ValueError(f"width is {self.width}: choose among {', '.join(map(str, WIDTHS))}")


@config
class MeasureConfig:
    """How a run is measured."""

    look: LookConfig = LookConfig()
    pose: PoseConventions = PoseConventions()
    quality: QualityConventions = QualityConventions()
    resamples: int = 1000
    """Of the bootstrap; 0 gives no intervals."""
    distance_resamples: int = 200
    """At most, of distances between sets: each takes 50 ms at 12,000 pictures."""
    part_pictures: int = 10
    """Of a gesture or a hand size whose numbers are shown, at least. Our choice."""
    level: float = 0.95
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if self.resamples:
            check_resampling(self.resamples, self.level)
        check_resampling(self.distance_resamples, self.level, name="distance_resamples")
        if self.part_pictures < 1:
            raise ValueError(f"part_pictures is {self.part_pictures}: give at least 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: give at least 0")
