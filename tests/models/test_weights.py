"""Weights: the table, finding them on disk, and fetching them from servers that fail in the usual ways."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from h2d.errors import JobError, UserError
from h2d.models import download as download_module
from h2d.models import weights as weights_module
from h2d.models.download import download
from h2d.models.weights import WEIGHTS, WeightFile, Weights, fetch, find, locate, models_folder, verify

DATA = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(answer):
    """An address answered by `answer(handler, number)`, and the requests that it saw as (path, Range)."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Range")))
            answer(self, len(seen))

        def do_HEAD(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler, data=DATA, *, stop_after=None, ranges=True):
    """Answer with the range that was asked for; `stop_after` bytes the connection breaks."""
    start = int(re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"]).group(1)) if ranges else 0
    handler.send_response(206 if ranges else 200)
    handler.send_header("Content-Length", str(len(data) - start))
    handler.end_headers()
    handler.wfile.write(data[start:][:stop_after])


def get(url, target, **options):
    options = {"size_bytes": len(DATA), "sha256": SHA256, "timeout_s": 5, "retry_wait_s": 0.001, **options}
    download(f"{url}/model.pth", target, **options)


def tiny_table(monkeypatch, url="http://127.0.0.1:9"):
    """A table with one file from an address and one repository."""
    one = WeightFile(path="tiny.pth", size_bytes=len(DATA), sha256=SHA256)
    two = WeightFile(path="unet/weights.safetensors", sha256=SHA256)
    plain = {"about": "a test", "licence": "MIT", "size_bytes": len(DATA)}
    table = {
        "tiny": Weights(**plain, files=(one,), url=f"{url}/tiny.pth"),
        "repo": Weights(
            **plain,
            files=(WeightFile(path="config.json"), two),
            extras=("tokenizer/*",),
            repo="someone/something",
            revision=REVISION,
        ),
    }
    monkeypatch.setattr(weights_module, "WEIGHTS", table)


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setenv("H2D_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_entry_says_where_it_comes_from_and_is_pinned(name):
    weights = WEIGHTS[name]
    assert sum(origin is not None for origin in (weights.url, weights.repo, weights.by_hand)) == 1
    assert weights.how(name)
    assert weights.about
    assert weights.licence
    for file in weights.files:
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        large = file.path.endswith((".safetensors", ".bin", ".pth"))
        assert large or file.sha256 is None
    if weights.url:
        (file,) = weights.files
        assert weights.url.endswith(f"/{file.path}")
        assert file.size_bytes == weights.size_bytes
        assert file.sha256
    else:
        assert weights.revision is None or re.fullmatch("[0-9a-f]{40}", weights.revision)
    assert sum(file.size_bytes or 0 for file in weights.files) <= weights.size_bytes * 1.001


def test_download_writes_the_whole_file_and_reports_progress(tmp_path):
    heard = []
    with serving(lambda handler, _: send(handler)) as (url, seen):
        get(url, tmp_path / "deep" / "model.pth", progress=lambda done, total: heard.append((done, total)))
    assert (tmp_path / "deep" / "model.pth").read_bytes() == DATA
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["model.pth"]
    assert heard[-1] == (len(DATA), len(DATA))
    assert len(seen) == 1


def test_a_broken_connection_is_picked_up_where_it_broke(tmp_path):
    with serving(lambda handler, number: send(handler, stop_after=100_000 if number < 3 else None)) as (url, seen):
        get(url, tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == DATA
    assert [asked for _, asked in seen] == ["bytes=0-", "bytes=100000-", "bytes=200000-"]


def test_a_killed_download_goes_on_in_the_next_call(tmp_path):
    class Killed(BaseException):
        pass

    def kill(done, _):
        if done >= 100_000:
            raise Killed

    with serving(lambda handler, number: send(handler, stop_after=100_000 if number == 1 else None)) as (url, seen):
        with pytest.raises(Killed):
            get(url, tmp_path / "model.pth", progress=kill)
        assert not (tmp_path / "model.pth").exists()
        get(url, tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == DATA
    assert seen[-1][1] == "bytes=100000-"


def test_a_server_without_ranges_sends_it_all_again(tmp_path):
    (tmp_path / "model.pth.partial").write_bytes(b"x" * 1000)
    with serving(lambda handler, _: send(handler, ranges=False)) as (url, _):
        get(url, tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == DATA


def test_a_partial_file_that_is_too_long_or_refused_starts_anew(tmp_path):
    def answer(handler, number):
        if number == 1:
            handler.send_error(416)
        else:
            send(handler)

    for length in (len(DATA) + 1, 1000):
        (tmp_path / "model.pth.partial").write_bytes(b"x" * length)
        with serving(answer) as (url, seen):
            get(url, tmp_path / "model.pth")
        assert seen[-1][1] == "bytes=0-"
        assert (tmp_path / "model.pth").read_bytes() == DATA


def test_wrong_content_never_takes_the_name_and_is_not_resumed(tmp_path):
    with serving(lambda handler, number: send(handler, DATA if number > 1 else DATA[::-1] + b"more")) as (url, seen):
        with pytest.raises(JobError, match=f"expected {SHA256}"):
            get(url, tmp_path / "model.pth")
        assert [file.name for file in tmp_path.iterdir()] == ["model.pth.wrong"]
        get(url, tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == DATA
    assert [asked for _, asked in seen] == ["bytes=0-", "bytes=0-"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final(tmp_path, status):
    refuse = serving(lambda handler, _: handler.send_error(status))
    with refuse as (url, seen), pytest.raises(JobError, match=f"HTTP {status}"):
        get(url, tmp_path / "model.pth")
    assert len(seen) == 1


def test_a_server_that_stays_down_ends_the_job_and_keeps_what_came(tmp_path):
    def answer(handler, number):
        if number == 1:
            send(handler, stop_after=1000)
        else:
            handler.send_error(503)

    words = r"HTTP 503.*at 1000 of 300000 bytes; the same command goes on"
    with serving(answer) as (url, seen), pytest.raises(JobError, match=words):
        get(url, tmp_path / "model.pth")
    assert len(seen) == 1 + download_module.NUM_TRIES
    assert (tmp_path / "model.pth.partial").read_bytes() == DATA[:1000]


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path):
    with pytest.raises(JobError, match=r"GB free, model.pth needs 10000000000.0 GB"):
        get("http://127.0.0.1:9", tmp_path / "model.pth", size_bytes=10**19)


def test_our_folder_wins_over_the_hub_cache(monkeypatch, tmp_path):
    tiny_table(monkeypatch)
    snapshot = tmp_path / "hub" / "models--someone--something" / "snapshots" / REVISION
    ours = tmp_path / "models" / "repo"
    for place in (snapshot, ours):
        assert find("repo") == (snapshot if place is ours else None)
        (place / "unet").mkdir(parents=True)
        (place / "config.json").write_text("{}")
        assert find("repo") != place, "found although a file is missing"
        (place / "unet" / "weights.safetensors").write_bytes(DATA)
        assert find("repo") == locate("repo") == place
    elsewhere = tmp_path / "elsewhere"
    assert find("repo", folder=elsewhere) == snapshot
    assert locate("repo", path=ours) == ours


def test_another_revision_in_the_hub_cache_is_not_taken(monkeypatch, tmp_path):
    tiny_table(monkeypatch)
    snapshot = tmp_path / "hub" / "models--someone--something" / "snapshots" / REVISION[::-1]
    (snapshot / "unet").mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "unet" / "weights.safetensors").write_bytes(DATA)
    assert find("repo") is None


@pytest.mark.parametrize("below", ["tiny/tiny.pth", "tiny.pth"])
def test_a_checkpoint_is_found_as_a_file(monkeypatch, tmp_path, below):
    tiny_table(monkeypatch)
    file = tmp_path / "models" / below
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA[:-1])
    assert find("tiny") is None
    with pytest.raises(UserError, match=f"{file} has 299999 bytes, not 300000"):
        locate("tiny")
    file.write_bytes(DATA)
    assert find("tiny") == locate("tiny") == file


def test_what_is_missing_is_one_line_with_places_and_remedy(monkeypatch, tmp_path):
    tiny_table(monkeypatch)
    with pytest.raises(UserError) as caught:
        locate("repo")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("repo: config.json not found; looked in ")
    assert str(tmp_path / "models" / "repo") in message
    assert str(tmp_path / "hub" / "models--someone--something") in message
    assert message.endswith("get it: h2d models fetch repo")
    with pytest.raises(UserError, match=r"mine.pth does not exist; get it: h2d models fetch tiny"):
        locate("tiny", path=tmp_path / "mine.pth")
    for ask in (find, locate, fetch, verify):
        with pytest.raises(UserError, match="unknown weights 'tinny': choose one of tiny, repo"):
            ask("tinny")


def test_the_folder_comes_from_the_environment_or_the_home(monkeypatch, tmp_path):
    assert models_folder() == tmp_path / "models"
    monkeypatch.delenv("H2D_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_folder() == tmp_path / ".cache" / "h2d" / "models"


def test_fetch_from_an_address_then_nothing_more_to_do(monkeypatch, tmp_path):
    with serving(lambda handler, _: send(handler)) as (url, seen):
        tiny_table(monkeypatch, url)
        place = fetch("tiny", folder=tmp_path / "usb")
        assert place == tmp_path / "usb" / "tiny" / "tiny.pth"
        assert fetch("tiny", folder=tmp_path / "usb") == place
        assert len(seen) == 1
        assert find("tiny") is None
        assert fetch("tiny") == find("tiny") == tmp_path / "models" / "tiny" / "tiny.pth"


def hub(handler, files):
    """What the Hub answers to a snapshot's download."""
    repo, path = "/api/models/someone/something", handler.path.split("?")[0]
    if path == f"{repo}/revision/{REVISION}":
        answer = {"id": "someone/something", "sha": REVISION, "siblings": [{"rfilename": name} for name in files]}
        data = json.dumps(answer).encode()
    elif path.startswith(f"{repo}/tree/{REVISION}"):
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
        data = json.dumps(entries).encode()
    else:
        data = files.get(path.removeprefix(f"/someone/something/resolve/{REVISION}/"))
    if data is None:
        handler.send_error(404)
        return
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.send_header("Content-Type", "application/json")
    handler.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
    handler.send_header("X-Repo-Commit", REVISION)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(data)


@pytest.fixture
def hub_at(monkeypatch):
    """Let the real client of the Hub talk to another address."""
    import huggingface_hub
    from huggingface_hub import snapshot_download

    def use(url):
        monkeypatch.setattr(
            huggingface_hub,
            "snapshot_download",
            lambda *args, **options: snapshot_download(*args, endpoint=url, **options),
        )

    return use


def test_fetch_from_the_hub_takes_only_the_files_named(monkeypatch, tmp_path, hub_at):
    files = {
        "config.json": b"{}",
        "unet/weights.safetensors": DATA,
        "tokenizer/vocab.json": b"{}",
        "unet/weights.bin": b"a pickle",
        "README.md": b"words",
    }
    tiny_table(monkeypatch)
    with serving(lambda handler, _: hub(handler, files)) as (url, seen):
        hub_at(url)
        place = fetch("repo")
        assert place == find("repo") == tmp_path / "models" / "repo"
        asked = len(seen)
        assert fetch("repo") == place
        assert len(seen) == asked, "nothing is asked when all is there"
    got = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and ".cache" not in path.parts}
    assert got == {"config.json", "unet/weights.safetensors", "tokenizer/vocab.json"}
    assert [check.status for check in verify("repo")] == ["unchecked", "ok"]


def test_wrong_content_from_the_hub_is_noticed(monkeypatch, hub_at):
    files = {"config.json": b"{}", "unet/weights.safetensors": DATA[::-1]}
    tiny_table(monkeypatch)
    with serving(lambda handler, _: hub(handler, files)) as (url, _):
        hub_at(url)
        with pytest.raises(JobError, match=r"repo: unet/weights.safetensors: sha256 is .*; delete .* and fetch again"):
            fetch("repo")


def test_a_hub_that_fails_is_one_line(monkeypatch, hub_at):
    import huggingface_hub.constants

    def breaks(handler, _):
        if handler.path.endswith("weights.safetensors") and handler.command == "GET":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(DATA)))
            handler.end_headers()
            handler.wfile.write(DATA[:1000])
        else:
            hub(handler, {"config.json": b"{}", "unet/weights.safetensors": DATA})

    tiny_table(monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    for answer in (breaks, lambda handler, _: handler.send_error(404)):
        with serving(answer) as (url, _):
            hub_at(url)
            with pytest.raises(JobError, match="someone/something: cannot be fetched: ") as caught:
                fetch("repo")
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(": see that huggingface.co is reached; the same command goes on")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(JobError, match="someone/something: cannot be fetched: "):
        fetch("repo")


def test_verify_reads_every_byte(monkeypatch, tmp_path):
    tiny_table(monkeypatch)
    file = tmp_path / "models" / "tiny" / "tiny.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA)
    assert [(check.path, check.size_bytes, check.status) for check in verify("tiny")] == [("tiny.pth", 300_000, "ok")]
    file.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    (check,) = verify("tiny")
    assert check.status.startswith("sha256 is ")
    file.unlink()
    with pytest.raises(UserError, match="not found"):
        verify("tiny")


def test_what_is_published_as_a_pickle_alone_is_converted(monkeypatch, tmp_path):
    import torch
    from safetensors.torch import load_file

    tiny_table(monkeypatch)
    entry = Weights(
        about="a test", licence="MIT", size_bytes=1, repo="someone/pickled", extras=("weights.bin",),
        files=(WeightFile(path="config.json"), WeightFile(path="weights.safetensors")),
    )  # fmt: skip
    monkeypatch.setitem(weights_module.WEIGHTS, "pickled", entry)

    def published(repo, *, local_dir, **_):
        local_dir.mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")
        torch.save({"a": torch.ones(3)}, local_dir / "weights.bin")

    monkeypatch.setattr("huggingface_hub.snapshot_download", published)
    place = fetch("pickled", folder=tmp_path)
    assert torch.equal(load_file(place / "weights.safetensors")["a"], torch.ones(3))
    assert not (place / "weights.bin").exists()
    assert find("pickled", folder=tmp_path) == place


def test_what_no_program_may_fetch_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"humansd: no program may fetch it: fetch humansd-v1\.ckpt .*h2d models conv"):
        fetch("humansd", folder=tmp_path)
    with pytest.raises(UserError, match=r"humansd-v1\.safetensors not found; .*get it: fetch humansd-v1\.ckpt from"):
        locate("humansd", folder=tmp_path)
    (tmp_path / "humansd-v1.safetensors").write_bytes(b"x")
    assert locate("humansd", folder=tmp_path) == tmp_path / "humansd-v1.safetensors"
    assert [check.status for check in verify("humansd", folder=tmp_path)] == ["unchecked"]


def test_one_file_of_a_repository_is_found_in_the_hubs_cache_too(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    weights = WEIGHTS["handrefiner-control"]
    entry = replace(weights, files=(replace(weights.files[0], size_bytes=1),))
    monkeypatch.setitem(weights_module.WEIGHTS, "handrefiner-control", entry)
    kept = tmp_path / "hub" / "models--hr16--ControlNet-HandRefiner-pruned" / "snapshots" / str(weights.revision)
    kept.mkdir(parents=True)
    (kept / weights.files[0].path).write_bytes(b"x")
    assert find("handrefiner-control", folder=tmp_path / "none") == kept / weights.files[0].path
