"""`h2d train` with no options: the paper's presets, and what is missing said in one line."""

from pathlib import Path

import pytest

from h2d.cli.train import _choices
from h2d.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
NOTHING = {"data.manifests": None, "out": None, "steps": None, "device": None}
MANIFESTS = {"hand": "manifests/mix_hand", "outpaint": "manifests/laion-human"}


@pytest.mark.parametrize("stage", MANIFESTS)
def test_no_options_are_the_presets(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(MANIFESTS[stage]).mkdir(parents=True)
    plain = _choices(stage, dict(NOTHING), None, [])
    assert plain == _choices(stage, dict(NOTHING), CONFIGS / f"{stage}.yaml", [])
    assert plain.data.manifests == (Path(MANIFESTS[stage]),)
    assert (plain.global_batch, plain.size_px, plain.optimizer.learning_rate) == (32, 512, 1e-5)
    assert plain.steps == {"hand": 30_000, "outpaint": 6_000}[stage]


@pytest.mark.parametrize("stage", MANIFESTS)
def test_a_default_manifest_that_is_not_there_is_said_with_its_command(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"{MANIFESTS[stage]}: no such manifest: make it \(h2d prepare "):
        _choices(stage, dict(NOTHING), None, [])
