import json

import pytest
import stand_in
import yaml
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


def test_unknown_and_missing_trackers_are_refused(small_manifest, tmp_path):
    with pytest.raises(UserError, match="unknown tracker 'paper'"):
        train(stand_in_config(small_manifest, tmp_path, output={"trackers": ["paper"]}), Silent())


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_losses_and_configuration_also_of_a_fresh_run(small_manifest, tmp_path):
    for fresh in (False, True):
        asked = stand_in_config(small_manifest, tmp_path, steps=2, output={"trackers": ["tensorboard"]})
        train(asked, Silent(), fresh=fresh)
        assert list((tmp_path / "logs").rglob("events*"))
        (told,) = (tmp_path / "logs").rglob("hparams.yml")
        assert yaml.safe_load(told.read_text())["optimizer.learning_rate"] == 1e-2
    assert (tmp_path / "report.html").exists()
