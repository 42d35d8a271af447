"""From a seed to a folder: what may be drawn where, going on, starting over, stopping, and the real renderer."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_studio import STUDIO, setup

from h2d.errors import JobError, UserError
from h2d.images import decode_rgb
from h2d.manifests.store import Manifest
from h2d.synth.drawing_folder import NOTES, STATE
from h2d.synth.generate import generate
from h2d.synth.layouts import LAYOUTS
from h2d.synth.layouts.base import Studio


def draw(out, **changes):
    settings = {"layout": "hagrid", "count": 6, "seed": 1, "size_px": 64, "workers": 1, "studio": STUDIO}
    return generate(out=out, **{**settings, **changes})


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class Recorder:
    def __init__(self, stop_after=None):
        self.calls, self.stop_after, self.num_drawn = [], stop_after, 0

    def started(self, count, done):
        self.calls.append(("started", count, done))

    def drawn(self):
        self.num_drawn += 1

    def ended(self):
        self.calls.append(("ended",))

    def should_stop(self):
        return self.stop_after is not None and self.num_drawn >= self.stop_after


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, workers):
    whole = draw(tmp_path / "whole", count=20)
    assert (whole.num_drawn, whole.num_pictures, whole.interrupted) == (20, 20, False)
    watch = Recorder(stop_after=3)
    stopped = draw(tmp_path / "parts", count=20, watch=watch, workers=workers)
    assert stopped.interrupted
    assert 3 <= stopped.num_drawn == watch.num_drawn < 20
    assert not (tmp_path / "parts" / "hagrid_annotations").exists()
    watch = Recorder()
    rest = draw(tmp_path / "parts", count=20, watch=watch)
    assert (rest.num_drawn, rest.interrupted) == (20 - stopped.num_drawn, False)
    assert watch.calls == [("started", 20, stopped.num_drawn), ("ended",)]
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_finished_set_is_left_alone(tmp_path):
    draw(tmp_path)
    before = files(tmp_path)
    assert not (tmp_path / NOTES).exists()
    again = draw(tmp_path, studio=Studio(sample=refuse, render=refuse, setup=setup))
    assert (again.num_drawn, again.num_pictures) == (0, 6)
    assert files(tmp_path) == before


def test_a_picture_is_drawn_again_when_its_note_is_missing(tmp_path):
    draw(tmp_path / "whole")
    draw(tmp_path / "cut", watch=Recorder(stop_after=4))
    notes = sorted((tmp_path / "cut" / NOTES).rglob("*.json"))
    path = tmp_path / "cut" / json.loads(notes[1].read_text())["path"]
    path.write_bytes(b"half a picture")
    notes[1].unlink()
    assert draw(tmp_path / "cut").num_drawn == 3
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"count": 7}, {"size_px": 96}, {"flavour": "v1"}, {"layout": "interhand"}]
)
def test_other_settings_need_another_folder_or_fresh(tmp_path, change):
    draw(tmp_path)
    (name,) = change
    with pytest.raises(UserError, match=f"was drawn with {name} = .*--fresh"):
        draw(tmp_path, **change)
    draw(tmp_path, **change, fresh=True)
    draw(tmp_path / "new", **change)
    expected = files(tmp_path / "new")
    shutil.rmtree(tmp_path / "new")
    assert files(tmp_path) == expected


def test_fresh_deletes_only_what_was_drawn(tmp_path):
    draw(tmp_path)
    (tmp_path / "my-notes.txt").write_text("mine")
    draw(tmp_path, flavour="v1", fresh=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        "train",
        "test",
        "ann_train",
        "ann_test",
        STATE,
        "my-notes.txt",
    }


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_is_not_ours_is_not_touched(tmp_path, fresh):
    (tmp_path / "photo.jpg").write_bytes(b"dear to someone")
    with pytest.raises(UserError, match="is not empty and was not drawn by h2d synth"):
        draw(tmp_path, fresh=fresh)
    assert files(tmp_path) == {"photo.jpg": b"dear to someone"}
    (tmp_path / STATE).write_text("{}")
    with pytest.raises(UserError, match="not written by this h2d synth"):
        draw(tmp_path, fresh=fresh)
    with pytest.raises(UserError, match="is a file"):
        draw(tmp_path / "photo.jpg", fresh=fresh)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "-n 0: must be at least 1"),
        ({"seed": -1}, "seed = -1"),
        ({"size_px": 32}, "size = 32: must be 64 to 4096"),
        ({"workers": 0}, "workers = 0"),
        ({"flavour": "v3"}, "flavour 'v3': hagrid has v2-1M, 2.0, v1"),
        (
            {"layout": "coco"},
            "unknown layout 'coco': choose one of hagrid, interhand, laion-human, manifest, reinterhand",
        ),
        ({"hard": True}, "-n 6: --hard plants 17 defects, one a picture: ask for 23 or more"),
    ],
)
def test_what_the_user_got_wrong_is_said_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(UserError) as error:
        draw(tmp_path / "out", **change)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def die(scene):
    import os

    os._exit(1)


def test_a_worker_that_dies_stops_the_job_with_a_remedy(tmp_path):
    with pytest.raises(JobError, match="--workers"):
        draw(tmp_path, workers=2, studio=Studio(sample=STUDIO.sample, render=die, setup=setup))


def doze(scene):
    time.sleep(0.05)
    return STUDIO.render(scene)


def children(pid):
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()] if tasks.exists() else []


def alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and ") Z " not in status.read_text()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_killed_run_leaves_no_process_and_goes_on(tmp_path):
    draw(tmp_path / "whole", count=60)
    code = (
        "from pathlib import Path; import test_generate as t\n"
        "if __name__ == '__main__':\n"
        "    studio = t.Studio(sample=t.STUDIO.sample, render=t.doze, setup=t.setup)\n"
        "    t.draw(Path('cut'), count=60, workers=2, studio=studio)\n"
    )
    (tmp_path / "run.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())])}
    process = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path, env=environment)
    wait_until(lambda: len(list((tmp_path / "cut").glob(f"{NOTES}/*/*.json"))) > 3)
    workers = children(process.pid)
    process.kill()
    process.wait()
    assert len(workers) >= 2
    wait_until(lambda: not any(alive(worker) for worker in workers))
    assert 3 < 60 - draw(tmp_path / "cut", count=60).num_drawn < 60
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def refuse(scene):
    raise ZeroDivisionError


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_ours_is_not_hidden(tmp_path, workers):
    with pytest.raises(ZeroDivisionError):
        draw(tmp_path, workers=workers, studio=Studio(sample=STUDIO.sample, render=refuse, setup=setup))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["hagrid", "reinterhand"])
def test_the_real_renderer_draws_the_same_in_this_process_and_in_two(tmp_path, layout):
    draw(tmp_path / "here", layout=layout, count=2, workers=1, studio=None)
    draw(tmp_path / "there", layout=layout, count=2, workers=2, studio=None)
    assert files(tmp_path / "here") == files(tmp_path / "there")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_real_renderer_draws_every_layout(tmp_path, layout):
    draw(tmp_path / "here", layout=layout, count=2, studio=None)
    pictures = [cv2.imread(str(path)) for path in tmp_path.rglob("here/**/*.*g") if "masks" not in path.parts]
    if layout == "manifest":
        table = Manifest(tmp_path / "here").table("images", ["image"])
        pictures = [decode_rgb(row["image"]["bytes"]) for row in table.to_pylist()]
    assert len(pictures) == 2
    assert all(np.std(picture) > 5 for picture in pictures)
