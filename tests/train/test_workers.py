import json

import pytest
import stand_in
from stand_in import Silent, stand_in_config

from h2d.errors import UserError
from h2d.train.config import TrainConfig
from h2d.train.loop import train
from h2d.train.on_ray import train_on_ray


def hand_config(manifest, out) -> TrainConfig:
    return stand_in_config(manifest, out, stage="hand", steps=4, size_px=64, options={"base": "tiny"})


def losses(out) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_workers_give_the_losses_of_one_with_the_double_batch(small_manifest, tmp_path):
    train(hand_config(small_manifest, tmp_path / "one"), Silent())
    outcome = train_on_ray(hand_config(small_manifest, tmp_path / "two"), Silent(), workers=2)
    assert outcome.step == 4
    assert len(losses(tmp_path / "two")) == 4
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_a_batch_that_cannot_be_dealt_is_refused(small_manifest, tmp_path):
    with pytest.raises(UserError, match="cannot be dealt to 3 workers"):
        train_on_ray(stand_in_config(small_manifest, tmp_path), Silent(), workers=3)
    assert stand_in.StandIn


def test_unknown_and_missing_trackers_are_refused(small_manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("h2d.train.plan.find_spec", lambda name: None)
    for name, told in {"paper": "unknown tracker 'paper'", "trackio": "trackio: pip install trackio"}.items():
        with pytest.raises(UserError, match=told):
            train(stand_in_config(small_manifest, tmp_path / "run", output={"trackers": [name]}), Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_the_losses(small_manifest, tmp_path):
    train(stand_in_config(small_manifest, tmp_path, steps=2, output={"trackers": ["tensorboard"]}), Silent())
    assert list((tmp_path / "logs").rglob("events*"))
    assert (tmp_path / "report.html").exists()
