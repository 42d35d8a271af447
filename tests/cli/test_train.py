"""`h2d train` with no options: the paper's presets, and what is missing said in one line."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from h2d.cli import main
from h2d.cli.train import _choices
from h2d.cli.train_progress import TrainProgress
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


def test_8_bit_adam_without_its_package_is_one_line_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # importing it fails, as where it is not installed
    asked = ["train", "hand", "--set", f"data.manifests=[{tmp_path / 'nothing'}]", "--set", "optimizer.name=adamw8bit"]
    monkeypatch.setattr(sys, "argv", ["h2d", *asked, "--set", "options.base=tiny", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "h2d: optimizer.name = adamw8bit needs bitsandbytes: pip install bitsandbytes, or set optimizer.name=adamw"
    ]
    assert not (tmp_path / "run").exists()


def test_where_no_bar_is_drawn_lines_say_the_time_left(monkeypatch, capsys):
    clock = SimpleNamespace(monotonic=lambda: 20.0 * len(told))
    monkeypatch.setattr("h2d.cli.train_progress.time", clock)
    monkeypatch.setattr("h2d.pipelines.progress_file.time", clock)
    told: list[int] = []
    with TrainProgress(quiet=False) as progress:
        for step in (1, 2, 3, 4):
            told.append(step)
            progress.step_done(step, 4, {"loss": 0.5, "samples_per_s": 1.6})
    assert capsys.readouterr().err.splitlines() == [
        "step 1/4  loss 0.5000  1.6 samples/s",
        "step 2/4  loss 0.5000  1.6 samples/s  40 s left",
        "step 3/4  loss 0.5000  1.6 samples/s  20 s left",
        "step 4/4  loss 0.5000  1.6 samples/s",
    ]
