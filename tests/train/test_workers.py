import json
from dataclasses import replace
from unittest.mock import Mock

import pytest
import stand_in
import torch
import yaml
from stand_in import Silent, stand_in_config

from h2d.errors import JobError, UserError
from h2d.ray_start import start_ray
from h2d.train.config import TrainConfig
from h2d.train.loop import train
from h2d.train.on_ray import _fit, train_on_ray


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the worker would use it")
def test_a_worker_without_the_gpu_that_ray_counts_does_not_train_on_its_cpu(small_manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("h2d.train.on_ray.start_ray", lambda address, **local: start_ray(address, **local, num_gpus=1))
    with pytest.raises(JobError, match=r"^Ray's workers could not begin: .*no GPUs found.*give --device cpu$"):
        train_on_ray(replace(hand_config(small_manifest, tmp_path), device="auto"), Silent(), workers=1)


def test_a_batch_that_cannot_be_dealt_is_refused(small_manifest, tmp_path):
    with pytest.raises(UserError, match="global_batch = 4 is no multiple of 3 processes x 1 samples"):
        train_on_ray(stand_in_config(small_manifest, tmp_path), Silent(), workers=3)
    assert stand_in.StandIn


def test_unknown_and_missing_trackers_are_refused(small_manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("h2d.train.plan.find_spec", lambda name: None)
    for name, told in {"paper": "unknown tracker 'paper'", "trackio": "trackio: pip install trackio"}.items():
        with pytest.raises(UserError, match=told):
            train(stand_in_config(small_manifest, tmp_path / "run", output={"trackers": [name]}), Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_stops_a_worker_is_said_in_its_own_words(small_manifest, tmp_path):
    asked = {"stage": "hand", "steps": 4, "options": {"base": "tiny"}}
    train(stand_in_config(small_manifest, tmp_path, **asked), Silent())
    asked["optimizer"] = {"learning_rate": 1e30, "warmup_steps": 0}
    watch = Mock(wraps=Silent())
    with pytest.raises(JobError, match=r"^step \d: .* not finite; samples: .*: the last checkpoint is whole"):
        train_on_ray(stand_in_config(small_manifest, tmp_path, **asked), watch, workers=2, fresh=True)
    assert all(call.args[0] < 4 for call in watch.step_done.call_args_list), "steps of the run that was deleted"


def test_a_worker_that_dies_is_one_line_and_a_fault_of_the_program_is_raised_whole():
    from ray.train import WorkerGroupError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    def fails_with(*failures):
        return Mock(fit=Mock(side_effect=WorkerGroupError("many\nlines", dict(enumerate(failures)))))

    lost, told = RuntimeError("connection closed by peer"), UserError("one")
    died = WorkerHealthCheckFailedError("a check failed", OSError("out of\nmemory"))
    with pytest.raises(UserError, match=r"^one$"):
        _fit(fails_with(lost, told))
    with pytest.raises(JobError, match=r"^a worker died: a check failed out of memory: the last checkpoint is whole"):
        _fit(fails_with(lost, died))
    with pytest.raises(WorkerGroupError):
        _fit(fails_with(lost))


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_losses_and_configuration_also_of_a_fresh_run(small_manifest, tmp_path):
    for fresh in (False, True):
        asked = stand_in_config(small_manifest, tmp_path, steps=2, output={"trackers": ["tensorboard"]})
        train(asked, Silent(), fresh=fresh)
        assert list((tmp_path / "logs").rglob("events*"))
        (told,) = (tmp_path / "logs").rglob("hparams.yml")
        assert yaml.safe_load(told.read_text())["optimizer.learning_rate"] == 1e-2
    assert (tmp_path / "report.html").exists()
