"""Makes the colour world's detector known by name."""

import pytest

from h2d.annotate.keypoints import DETECTORS


@pytest.fixture(autouse=True)
def _colour_detector(monkeypatch):
    monkeypatch.setitem(DETECTORS, "colour", "colour_world:ColourDetector")
