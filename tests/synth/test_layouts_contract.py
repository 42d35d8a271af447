"""What every layout promises, over the table."""

import json
import pickle

import numpy as np
import pytest
from fake_studio import STUDIO

from h2d.images import load_rgb
from h2d.registry import resolve
from h2d.synth.defects import DEFECTS
from h2d.synth.generate import generate
from h2d.synth.layouts import LAYOUTS
from h2d.synth.layouts.base import NO_WISH, Layout, hex_name, scene_seed

EVERY = [(name, flavour) for name in LAYOUTS for flavour in resolve(LAYOUTS, name, kind="layout").flavours]


def layout(name, flavour, *, seed=3, count=8, size_px=96):
    return resolve(LAYOUTS, name, kind="layout")(seed=seed, count=count, size_px=size_px, flavour=flavour)


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "flavour"), EVERY)
def test_pictures_are_drawn_alone_and_the_labels_from_their_notes(tmp_path, name, flavour):
    made = pickle.loads(pickle.dumps(layout(name, flavour)))
    assert isinstance(made, Layout)
    assert made.name == name
    notes = []
    for index in range(8):
        before = set(files(tmp_path))
        note = made.draw(index, tmp_path, STUDIO, NO_WISH)
        assert json.loads(json.dumps(note, allow_nan=False)) == note
        assert note["path"] in files(tmp_path).keys() - before
        assert note["split"] in ("train", "val", "test")
        assert max(load_rgb(tmp_path / note["path"]).shape[:2]) == 96
        notes.append(note)
    assert len({note["name"] for note in notes}) == len({note["path"] for note in notes}) == 8
    made.write_labels(notes, tmp_path)
    assert {path.split("/")[0] for path in files(tmp_path)} <= set(made.owns)
    for path, data in files(tmp_path).items():
        if path.endswith(".json"):
            json.loads(data, parse_constant=pytest.fail)


@pytest.mark.parametrize(("name", "flavour"), EVERY)
def test_a_picture_depends_on_the_seed_and_its_number_alone(tmp_path, name, flavour):
    def drawn(folder, index, **changes):
        note = layout(name, flavour, **changes).draw(index, tmp_path / folder, STUDIO, NO_WISH)
        return json.dumps(note), (tmp_path / folder / note["path"]).read_bytes()

    assert drawn("a", 5) == drawn("b", 5) == drawn("c", 5, count=50)
    assert drawn("a", 5) != drawn("d", 5, seed=4)


def test_every_layout_has_defects():
    assert DEFECTS.keys() == LAYOUTS.keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "hagrid" else pytest.mark.slow) for name in LAYOUTS]
)
def test_the_same_bytes_whatever_the_number_of_workers(tmp_path, name):
    for folder, workers in (("one", 1), ("two", 2)):
        hard = bool(resolve(DEFECTS, name, kind="layout"))
        generate(name, tmp_path / folder, count=32, seed=1, size_px=64, hard=hard, workers=workers, studio=STUDIO)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    for timed in ("manifest.json", "README.md", "report.html"):
        one.pop(timed, None), two.pop(timed, None)
    assert one == two


def test_seeds_of_scenes_differ_and_fit_every_generator():
    seeds = [scene_seed(seed, index) for seed in range(20) for index in range(50)]
    assert len(set(seeds)) == 1000
    assert 2**40 < max(seeds) < 2**63
    assert len(hex_name(0, 1)) == 32
    assert hex_name(0, 1) != hex_name(1, 0)
    assert scene_seed(0, 1) == scene_seed(0, 1)
    assert np.random.default_rng(seeds[0]).random() == np.random.default_rng(seeds[0]).random()
