"""Pictures in a bucket, the manifest in a bucket: the same tables as on a disk, whatever happens on the way."""

import io
import json
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colour_world import scenes, tables, write_folder
from s3_server import BUCKET, s3_server
from test_interruption import run, start
from test_prepare import Watching, choices_for

from h2d.errors import JobError, UserError
from h2d.manifests import io as stores
from h2d.manifests.files import write_json, write_parquet
from h2d.manifests.io import Address, below, location, open_parquet
from h2d.manifests.validate import validate
from h2d.pipelines import lock
from h2d.pipelines.executors import EXECUTORS
from h2d.pipelines.lock import locked
from h2d.pipelines.prepare import prepare
from h2d.pipelines.status import read_status
from h2d.supervision.job import Care


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield location("memory://store")
    store.store.clear()


def put(folder: Path, target: Address) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            (target / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())


def stored_tables(out: Address) -> dict[str, bytes]:
    """As `colour_world.tables` has them of a folder."""
    return {
        str(file.relative_to(out)): file.read_bytes()
        for table in ("images", "hands", "rejects")
        for file in (out / table).files()
    }


def as_stored(out: Path) -> dict[str, bytes]:
    return {Path(name).as_posix(): data for name, data in tables(out).items()}


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("data/x", Path, "data/x"),
        ("/data/x/", Path, "/data/x"),
        ("file:///data/x", Path, "/data/x"),
        ("s3://bucket/x/", Address, "s3://bucket/x"),
    ],
)
def test_what_has_a_scheme_is_an_address(text, kind, shown):
    assert isinstance(location(text), kind)
    assert str(location(text)) == shown


def test_a_whole_name_is_not_below_the_root():
    assert str(below(Path("/a"), "b.jpg")) == "/a/b.jpg"
    assert str(below(Path("/a"), "s3://b/c.jpg")) == "s3://b/c.jpg"
    assert str(below(Address("s3://a"), "/b.jpg")) == "/b.jpg"
    assert not Address("s3://a/b/../../c").is_relative_to("s3://a/b")


def test_an_unknown_scheme_is_one_line():
    with pytest.raises(UserError, match="nosuch://x: Protocol not known"):
        location("nosuch://x").exists()


def test_a_remote_parquet_file_is_read_by_ranges(memory, monkeypatch):
    table = pa.table({"a": np.arange(1000), "big": [bytes(np.random.default_rng(0).bytes(5000))] * 1000})
    write_parquet(memory / "x.parquet", table)
    asked = []
    whole = Address.read_bytes
    monkeypatch.setattr(Address, "read_bytes", lambda self, *ends: asked.append(ends) or whole(self, *ends))
    with open_parquet(memory / "x.parquet") as file:
        assert file.read(["a"])["a"].to_pylist() == list(range(1000))
    assert sum(end - start for start, end in asked) < 300_000
    assert pq.read_table(io.BytesIO(whole(memory / "x.parquet"))).equals(table)


class Flaky:
    """Fails with each of the errors, then answers."""

    def __init__(self, *errors):
        self.errors, self.num_asked = list(errors), 0

    def __call__(self):
        self.num_asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_passing_trouble_is_waited_out_and_lasting_trouble_is_not(monkeypatch):
    waits = []
    monkeypatch.setattr(stores.time, "sleep", waits.append)
    flaky = Flaky(OSError(16, "slow down"), TimeoutError())
    assert stores._patient("s3://x", flaky) == "answer"
    assert waits == [0.1, 0.2]
    for lasting in (FileNotFoundError("x"), PermissionError("x"), ValueError("x")):
        flaky = Flaky(lasting)
        with pytest.raises(type(lasting)):
            stores._patient("s3://x", flaky)
        assert flaky.num_asked == 1
    with pytest.raises(JobError, match="s3://x: the store does not answer after 6 attempts"):
        stores._patient("s3://x", Flaky(*[OSError(121, "internal error")] * 9))


@pytest.mark.parametrize("ask", [Address.exists, Address.is_file, Address.is_dir])
def test_trouble_with_a_question_is_not_a_no(memory, monkeypatch, ask):
    (memory / "folder" / "file").write_bytes(b"x")
    asked = memory / "folder" if ask is Address.is_dir else memory / "folder" / "file"
    store = type(fsspec.filesystem("memory"))
    flaky, answer = Flaky(OSError(16, "slow down")), store.info

    def info(self, path, **options):
        flaky()
        return answer(self, path, **options)

    monkeypatch.setattr(store, "info", info)
    assert ask(asked)
    assert flaky.num_asked == 2
    assert not ask(memory / "nothing")


def test_a_second_driver_of_an_address_is_refused_and_the_lock_is_given_back(memory):
    with locked(memory):
        who = rf"at work here \(host {socket.gethostname()}, process {os.getpid()}\)"
        with pytest.raises(UserError, match=who), locked(memory):
            pass
        assert (memory / ".lock").exists()
    assert not (memory / ".lock").exists()


def test_a_silent_driver_elsewhere_is_named_with_what_to_delete(memory):
    holder = {"host": "elsewhere", "pid": 7, "token": "x"}
    write_json(memory / ".lock", {**holder, "time": time.time() - 1000})
    with (
        pytest.raises(UserError, match=r"host elsewhere, process 7, silent for 1\d\d\d s.*delete memory://store/.lock"),
        locked(memory),
    ):
        pass


def test_a_dead_driver_of_this_machine_holds_nothing(memory):
    dead = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(dead, 0)
    write_json(memory / ".lock", {"host": socket.gethostname(), "pid": dead, "token": "x", "time": time.time()})
    with locked(memory):
        assert json.loads((memory / ".lock").read_bytes())["pid"] == os.getpid()


def test_the_heart_beats(memory, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.01)
    with locked(memory):
        first = json.loads((memory / ".lock").read_bytes())["time"]
        deadline = time.monotonic() + 5
        while json.loads((memory / ".lock").read_bytes())["time"] == first:
            assert time.monotonic() < deadline, "no heartbeat"
            time.sleep(0.01)


class HereExecutor:
    """In this process, whose memory the store is; not in a child."""

    def __init__(self, **choices): ...

    def run(self, job, shards, watch):
        job.setup()
        for shard in shards:
            if not watch.should_stop():
                job.run(shard, watch.pictures_worked, lambda places: None, Care())
        job.close()

    def close(self): ...


def test_prepared_within_a_store_the_tables_are_those_of_a_disk(memory, tmp_path, monkeypatch):
    monkeypatch.setitem(EXECUTORS, "inline", f"{__name__}:HereExecutor")
    write_folder(tmp_path / "pictures", scenes(10))
    whole = prepare(choices_for(tmp_path), Watching())
    put(tmp_path / "pictures", memory / "pictures")
    choices = replace(choices_for(tmp_path), root=memory / "pictures", out=memory / "out")
    first = prepare(choices, Watching(stop_after=14))
    assert first.interrupted
    watch = Watching()
    assert prepare(choices, watch).counts == whole.counts
    assert watch.done_before["pose"] == 10
    assert stored_tables(memory / "out") == as_stored(whole.out)
    assert validate(memory / "out", source_root=memory / "pictures") == []
    assert (memory / "out" / "report.html").exists()
    assert read_status(memory / "out").counts == whole.counts
    assert prepare(choices, Watching()).did_nothing
    put(tmp_path / "pictures", memory / "pictures" / "more")
    assert prepare(choices, Watching(), extend=True).counts["indexed"] == 20


def test_a_dataset_that_is_read_from_disks_only_says_so(memory, tmp_path):
    with pytest.raises(UserError, match="memory://store: laion-human is read from a disk only"):
        prepare(replace(choices_for(tmp_path), root=memory, source="laion-human"), Watching())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Drawn pictures and what they become on a disk."""
    folder = tmp_path_factory.mktemp("world")
    write_folder(folder / "pictures", scenes(24))
    code, _, said = run(folder / "pictures", folder / "whole")
    assert code == 0, said
    return folder / "pictures", as_stored(folder / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("fail_every", [None, 10])
def test_a_bucket_with_a_driver_killed_ends_with_the_same_tables(world, monkeypatch, fail_every):
    pictures, whole = world
    with s3_server(monkeypatch, fail_every=fail_every) as server:
        bucket = location(f"s3://{BUCKET}/data")
        put(pictures, bucket / "pictures")
        process = start(f"{bucket}/pictures", f"{bucket}/out")
        deadline = time.monotonic() + 90
        while len(list((bucket / "out" / "work").glob("[pm]*/*/part-*.parquet"))) < 2:
            assert time.monotonic() < deadline, "no part was written"
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (bucket / "out" / "manifest.json").exists()
        code, _, said = run(f"{bucket}/pictures", f"{bucket}/out")
        assert code == 0, said
        assert "already done" in said
        assert stored_tables(bucket / "out") == whole
        assert validate(bucket / "out", source_root=bucket / "pictures") == []
        assert bool(server.num_failed) == bool(fail_every)
