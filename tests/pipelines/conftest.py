"""Makes the colour world's detector known by name, and the studio that draws without a renderer importable."""

import sys
from pathlib import Path

import pytest

from h2d.annotate.keypoints import DETECTORS

sys.path.insert(0, str(Path(__file__).parents[1] / "synth"))


@pytest.fixture(autouse=True)
def _colour_detector(monkeypatch):
    monkeypatch.setitem(DETECTORS, "colour", "colour_world:ColourDetector")
