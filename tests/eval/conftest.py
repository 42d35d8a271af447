import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "manifests"))
import fake_methods
from manifest_builder import build_manifest

SIZE = 96


@pytest.fixture(scope="session")
def test_manifest(tmp_path_factory) -> Path:
    """Twelve pictures of four people and three gestures, all of split test."""
    return build_manifest(tmp_path_factory.mktemp("manifests") / "drawn", num_pictures=12, splits=("test",))


@pytest.fixture(scope="session")
def picture_list(test_manifest):
    """Eight of them."""
    from h2d.eval.protocol import draw_list
    from h2d.manifests.store import Manifest

    return draw_list(Manifest(test_manifest), split="test", count=8, seed=0, size=SIZE)


@pytest.fixture(scope="module")
def module_fakes():
    """The fake methods and the fake detector by name, for runs that tests of a module share."""
    with pytest.MonkeyPatch.context() as patch:
        name_fakes(patch)
        yield fake_methods


@pytest.fixture
def fakes(monkeypatch):
    """The fake methods and the fake detector by name, and what they were asked."""
    name_fakes(monkeypatch)
    fake_methods.MADE.clear()
    fake_methods.LOOKED.clear()
    monkeypatch.setattr(fake_methods.ShiftedMethod, "fail_at", None)
    return fake_methods


def name_fakes(patch):
    from h2d.annotate.keypoints import DETECTORS
    from h2d.eval.methods import METHODS

    for name, kind in (("shifted", "ShiftedMethod"), ("far", "FarMethod"), ("nobody", "NobodyMethod")):
        patch.setitem(METHODS, name, f"fake_methods:{kind}")
    patch.setitem(DETECTORS, "fake", "fake_methods:FakeDetector")


@pytest.fixture(scope="session")
def choices():
    """Everything fast: no Inception, no segmenter, few resamples; parts of the list have numbers however small."""
    from h2d.eval.options import LookConfig, MeasureConfig

    look = LookConfig(detector="fake", enlarged_px=32, segmenter="none", features="none", text="none", device="cpu")
    return MeasureConfig(look=look, resamples=20, part_pictures=1)
