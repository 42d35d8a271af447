"""Workers that die, hang or run out of memory: the picture that did it gets a row that says so, and it alone."""

import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_worker import ListedSource

from h2d.errors import JobError
from h2d.pipelines.executors.base import PRELOADED
from h2d.pipelines.parts import part_folder
from h2d.pipelines.plan import SelectionConfig, list_source, open_plan
from h2d.pipelines.worker import StageJob
from h2d.supervision import supervised
from h2d.supervision.job import Tally
from h2d.supervision.supervised import Supervised

STAGES = ("pose", "mask", "caption")


@dataclass(frozen=True, kw_only=True)
class PoisonedStage:
    """Squares numbers; some pictures do to the process what native code does."""

    version: ClassVar[int] = 1
    annotator: ClassVar[str] = "poisoned"
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False
    schema: ClassVar[pa.Schema] = pa.schema([("square", pa.int64())])
    name: str = "pose"
    index_columns: ClassVar[tuple[str, ...]] = ("size_bytes",)
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    poison: Mapping[int, str]
    batch_size: int = 1
    cured_by: Path | None = None
    """A file that makes a poison harmless once it is there."""
    log: Path

    def identity(self):
        return {}

    def setup(self):
        with self.log.open("a") as log:
            log.write(f"setup {os.getpid()}\n")

    def close(self): ...

    def process(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        for row in rows:
            harm = self.poison.get(row["size_bytes"])
            if harm and not (self.cured_by and self.cured_by.exists()):
                if self.cured_by:
                    self.cured_by.touch()
                HARMS[harm]()
        return [{"square": row["size_bytes"] ** 2} for row in rows]


def exhaust_memory() -> None:
    """Without the machine's memory being at stake."""
    resource.setrlimit(resource.RLIMIT_AS, (2**32, resource.RLIM_INFINITY))
    np.ones((2**33,), np.uint8)


HARMS = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "memory": exhaust_memory,
    "hang": lambda: time.sleep(600),
}
EXPECTED = {
    "segfault": ("crash", "SIGSEGV", "the worker was killed by SIGSEGV"),
    "kill": ("crash", "SIGKILL", "the worker was killed by SIGKILL"),
    "exit": ("crash", "exit", "the worker ended itself with exit code 3"),
    "memory": ("crash", "out_of_memory", "Unable to allocate 8.00 GiB"),
    "hang": ("timeout", "timeout", "no answer in 0.5 s"),
}


def job_for(tmp_path: Path, count: int = 12, **stage) -> tuple[StageJob, Any]:
    source = ListedSource(root=tmp_path, count=count)
    plan = open_plan(tmp_path, source, list_source(source, SelectionConfig(), 100))
    stage = PoisonedStage(log=tmp_path / "log.txt", **stage)
    return StageJob(stage=stage, work=tmp_path, fingerprint="f" * 16, inputs={}), plan.shards[0]


def run(job: StageJob, shard, timeout_s: float | None = 0.5) -> tuple[Tally, list[dict], Tally]:
    told = Tally()

    def tell(tally: Tally) -> None:
        nonlocal told
        told = told + tally

    worker = Supervised(job, timeout_s=timeout_s, preload=PRELOADED)
    try:
        final = worker.run(shard, tell)
    finally:
        worker.close()
    part = part_folder(job.work, job.name, job.fingerprint) / shard.file_name
    return final, pq.read_table(part).to_pylist(), told


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("harm", HARMS)
def test_the_picture_is_given_up_alone_with_its_reason(tmp_path, harm, batch_size):
    final, rows, told = run(*job_for(tmp_path, poison={7: harm}, batch_size=batch_size))
    assert [row["square"] for row in rows] == [None if number == 7 else number**2 for number in range(12)]
    status, reason, message = EXPECTED[harm]
    assert (rows[7]["status"], rows[7]["reason"]) == (status, reason)
    assert message in rows[7]["message"]
    assert final.statuses == told.statuses == Counter({"ok": 11, status: 1})
    assert final.reasons == told.reasons == Counter({reason: 1})


@pytest.mark.parametrize("stage", STAGES)
def test_several_poisons_in_one_shard_of_any_stage(tmp_path, stage):
    poison = {0: "segfault", 3: "hang", 4: "kill", 11: "exit"}
    final, rows, _ = run(*job_for(tmp_path, name=stage, poison=poison, batch_size=4))
    assert {number: row["reason"] for number, row in enumerate(rows) if row["status"] != "ok"} == {
        number: EXPECTED[harm][1] for number, harm in poison.items()
    }
    assert final.statuses == {"ok": 8, "crash": 3, "timeout": 1}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_death_that_does_not_come_again_costs_no_picture(tmp_path, batch_size):
    cure = tmp_path / "cure"
    final, rows, _ = run(*job_for(tmp_path, poison={5: "segfault"}, batch_size=batch_size, cured_by=cure))
    assert final.statuses == {"ok": 12}
    assert [row["attempts"] for row in rows] == [1] * 12


def test_the_memory_killer_is_told_from_other_kills(tmp_path, monkeypatch):
    counts = iter(range(100))
    monkeypatch.setattr(supervised, "_num_memory_kills", lambda: next(counts))
    _, rows, _ = run(*job_for(tmp_path, poison={5: "kill"}))
    assert (rows[5]["status"], rows[5]["reason"]) == ("crash", "out_of_memory")


def test_a_worker_sets_up_once_and_again_only_after_a_death(tmp_path):
    run(*job_for(tmp_path, poison={}))
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 1
    (tmp_path / "log.txt").unlink()
    run(*job_for(tmp_path, name="mask", poison={5: "segfault"}))
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 3


def test_workers_that_die_on_everything_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(supervised, "MAX_DEATHS", 4)
    with pytest.raises(JobError, match=r"workers of the pose stage keep dying, now on shard 0.*SIGSEGV"):
        run(*job_for(tmp_path, poison=dict.fromkeys(range(12), "segfault")))
    assert not list(tmp_path.rglob("pose/**/*.parquet"))


@dataclass(frozen=True, kw_only=True)
class DeadOnArrival(PoisonedStage):
    """Harms its process, or raises, in setup."""

    harm: str

    def setup(self):
        if self.harm == "raise":
            raise ImportError("No module\nnamed 'sky'")
        HARMS[self.harm]()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("segfault", "a worker of the pose stage died while it started: the worker was killed by SIGSEGV"),
        ("raise", "the pose stage cannot start: ImportError: No module named 'sky'"),
    ],
)
def test_a_worker_that_fails_to_start_is_one_line(tmp_path, harm, message):
    job, shard = job_for(tmp_path, poison={})
    stage = DeadOnArrival(log=tmp_path / "log.txt", poison={}, harm=harm)
    job = StageJob(stage=stage, work=tmp_path, fingerprint=job.fingerprint, inputs={})
    with pytest.raises(JobError) as caught:
        run(job, shard)
    assert str(caught.value) == message


@dataclass(frozen=True, kw_only=True)
class FullGpuStage(PoisonedStage):
    """A GPU with memory for two pictures at a time."""

    def process(self, rows):
        import torch

        with self.log.open("a") as log:
            log.write(f"{len(rows)}\n")
        if len(rows) > 2 or rows[0]["size_bytes"] in self.poison:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return [{"square": row["size_bytes"] ** 2} for row in rows]


@pytest.mark.parametrize("poison", [{}, {6: "too large alone"}])
def test_cuda_out_of_memory_halves_the_batch_for_good(tmp_path, poison):
    job, shard = job_for(tmp_path, count=16, poison={})
    stage = FullGpuStage(log=tmp_path / "log.txt", poison=poison, batch_size=8)
    job = StageJob(stage=stage, work=tmp_path, fingerprint=job.fingerprint, inputs={})
    final, rows, _ = run(job, shard, timeout_s=30)
    sizes = [int(line) for line in (tmp_path / "log.txt").read_text().splitlines() if line.isdecimal()]
    assert sizes[:4] == [8, 4, 2, 2]
    assert max(sizes[2:]) == 2
    failed = {number: row["reason"] for number, row in enumerate(rows) if row["status"] != "ok"}
    assert failed == dict.fromkeys(poison, "OutOfMemoryError")
    assert final.statuses["ok"] == 16 - len(poison)


def test_a_worker_that_has_hung_up_but_still_lives_is_closed_in_silence(tmp_path):
    """As after an error that it told: its end of the pipe goes before the process does."""
    job, _ = job_for(tmp_path, poison={})
    worker = Supervised(job, timeout_s=None)
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.2,))
    process.start()
    worker._child = (process, ours)
    worker.close()
    assert worker._child is None
    assert not process.is_alive()
