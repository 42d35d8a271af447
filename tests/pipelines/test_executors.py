"""Both executors do the same work, and tell of it alike."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from h2d.errors import UserError
from h2d.pipelines.executors import EXECUTORS
from h2d.pipelines.executors.ray import worker_options
from h2d.pipelines.plan import Shard
from h2d.registry import resolve
from h2d.supervision.job import Tally

SHARDS = [Shard(number=number, split="train", num_pictures=3) for number in range(7)]


@dataclass(frozen=True, kw_only=True)
class NotingJob:
    """Writes a file per shard; on chosen shards raises or dies."""

    folder: Path
    error_on: int | None = None
    die_on: int | None = None
    name: ClassVar[str] = "noting"
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False
    state: dict = field(default_factory=dict)

    def is_done(self, shard):
        return (self.folder / str(shard.number)).exists()

    def tally(self, shard):
        return Tally(statuses=Counter(ok=shard.num_pictures))

    def setup(self):
        self.state["ready"] = True

    def close(self):
        self.state.clear()

    def run(self, shard, on_pictures, on_begin, care):
        assert self.state["ready"]
        if shard.number == self.error_on:
            raise UserError("the disk says no")
        for place in range(shard.num_pictures):
            if place in care.given_up:
                on_pictures(Tally(statuses=Counter(crash=1)))
                continue
            on_begin([place])
            if shard.number == self.die_on and place == 1:
                os.abort()
            on_pictures(Tally(statuses=Counter(ok=1)))
        (self.folder / str(shard.number)).write_text(str(os.getpid()))
        crashed = len(care.given_up)
        return Tally(statuses=+Counter(ok=shard.num_pictures - crashed, crash=crashed))


class Noting:
    """A watch that adds up, and stops after so many pictures."""

    def __init__(self, stop_after=None):
        self.total = Tally()
        self._stop_after = stop_after

    def job_started(self, name, num_pictures, done): ...

    def pictures_worked(self, tally):
        self.total = self.total + tally

    def job_ended(self, name): ...

    def should_stop(self):
        return self._stop_after is not None and self.total.statuses["ok"] >= self._stop_after


@pytest.fixture(scope="module", params=sorted(EXECUTORS))
def executor(request, tmp_path_factory):
    # Ray's workers import this file by name.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    scratch = tmp_path_factory.mktemp("scratch")
    made = resolve(EXECUTORS, request.param, kind="executor")(num_workers=2, address=None, scratch=scratch)
    yield made
    made.close()


def test_every_shard_is_done_once_and_every_picture_told(executor, tmp_path):
    watch = Noting()
    executor.run(NotingJob(folder=tmp_path), SHARDS, watch)
    assert {file.name for file in tmp_path.iterdir()} == {str(shard.number) for shard in SHARDS}
    assert watch.total.statuses == {"ok": 21}


def test_a_stop_lets_what_is_in_flight_finish_and_begins_nothing_new(executor, tmp_path):
    watch = Noting(stop_after=1)
    executor.run(NotingJob(folder=tmp_path), SHARDS, watch)
    done = len(list(tmp_path.iterdir()))
    assert 1 <= done < len(SHARDS)
    assert watch.total.statuses == {"ok": 3 * done}


def test_a_users_mistake_in_a_worker_reaches_the_user_as_itself(executor, tmp_path):
    with pytest.raises(UserError, match="the disk says no"):
        executor.run(NotingJob(folder=tmp_path, error_on=0), SHARDS, Noting())


def test_a_picture_that_kills_its_worker_is_given_up_and_nothing_else(executor, tmp_path):
    watch = Noting()
    executor.run(NotingJob(folder=tmp_path, die_on=2), SHARDS, watch)
    assert {file.name for file in tmp_path.iterdir()} == {str(shard.number) for shard in SHARDS}
    assert watch.total.statuses == {"ok": 20, "crash": 1}


@pytest.mark.parametrize(("needs_gpu", "gpus", "asked"), [(True, 1.0, 1.0), (True, 0.5, 0.5), (False, 0.5, 0)])
def test_workers_of_a_gpu_stage_ask_ray_for_their_share(tmp_path, needs_gpu, gpus, asked):
    @dataclass(frozen=True, kw_only=True)
    class GpuJob(NotingJob):
        pass

    GpuJob.needs_gpu = needs_gpu
    options = worker_options(GpuJob(folder=tmp_path), gpus)
    assert options["num_gpus"] == asked
    assert (options["max_restarts"], options["max_task_retries"]) == (0, 0)
