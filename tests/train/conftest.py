import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "manifests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "synth"))
from manifest_builder import build_manifest


@pytest.fixture(scope="session")
def small_manifest(tmp_path_factory) -> Path:
    return build_manifest(tmp_path_factory.mktemp("training") / "drawn", num_pictures=10)
