import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from poses import pose_of
from tiny_models import write_checkpoints


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> tuple[Path, Path]:
    """The runs of both stages; an inpainting base."""
    return write_checkpoints(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def loaded(checkpoints):
    from h2d.infer.two_stage import TwoStagePipeline

    hand, outpaint = checkpoints
    return TwoStagePipeline.from_checkpoints(hand=hand, outpaint=outpaint)


@pytest.fixture
def pipe(loaded):
    """The pipeline without its progress bar; what a test changes of it, it puts back itself."""
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def pose():
    """One person whose hands are apart."""
    return pose_of(("left", 150, 300, 120), ("right", 400, 300, 120))
