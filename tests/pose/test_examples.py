"""The poses that come with h2d: good ones, installed with it, and what `examples/make_poses.py` makes."""

import importlib.util
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from h2d.errors import UserError
from h2d.pose.checks import validate
from h2d.pose.examples import EXAMPLES, find_pose, read_example
from h2d.pose.openpose_json import write_pose

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_a_pose_without_a_finding(name):
    pose = read_example(name)
    assert validate(pose) == []
    assert list(pose.hands())


def test_every_shipped_file_is_an_example():
    shipped = {path.name for path in (files("h2d") / "assets" / "poses").iterdir()}
    assert shipped == {f"{name}.json" for name in EXAMPLES}


def test_there_are_one_and_two_hands_and_two_people():
    hands = {name: list(read_example(name).hands()) for name in EXAMPLES}
    assert [(person, side) for person, side in hands["peace"]] == [(0, "right")]
    assert [(person, side) for person, side in hands["palm"]] == [(0, "left")]
    assert len(hands["heart"]) == 2
    assert read_example("two_people").num_people == 2


def test_an_unknown_example_is_named():
    with pytest.raises(UserError, match="no example pose 'wink': choose one of palm, peace"):
        read_example("wink")


@pytest.mark.parametrize("name", ["peace", "wave", "two_people"])
def test_the_command_that_made_them_makes_them_again(name):
    spec = importlib.util.spec_from_file_location("make_poses", ROOT / "examples" / "make_poses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(module.SCENES) == set(EXAMPLES)
    made, shipped = module.example_pose(name), read_example(name)
    shown = made.people.copy()
    shown[:, 17:23] = (np.nan, np.nan, 0)  # editors' dialect has no feet
    np.testing.assert_allclose(shown, shipped.people, atol=0.011)


def test_the_miniature_knows_every_word_of_the_examples_prompts():
    from h2d.models.base import load_tokenizer
    from h2d.models.shipped import miniature_folder
    from h2d.models.words import unknown_words

    tokenizer = load_tokenizer(miniature_folder() / "two_stage")
    assert [word for prompt in EXAMPLES.values() for word in unknown_words(tokenizer, prompt)] == []


@pytest.mark.parametrize("slip", ["peac", "Peace", "peace.json", "poses/peace.json"])
def test_what_is_like_an_examples_name_is_told_as_a_slip(slip):
    with pytest.raises(UserError, match=f"^{slip}: no file, and no example pose: did you mean peace\\?$"):
        find_pose(slip)


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}.json"])
def test_a_name_that_no_file_may_have_is_one_line(name):
    with pytest.raises(UserError, match=f"{name}: cannot be read: File name too long"):
        find_pose(name)


def test_a_file_comes_before_what_it_is_like(tmp_path):
    write_pose(read_example("palm"), tmp_path / "peac")
    assert find_pose("peac", folder=tmp_path).pose_hash() == read_example("palm").pose_hash()


def test_an_example_is_a_single_pose():
    with pytest.raises(UserError, match=r"peace\.json: --frame 1: it holds a single pose"):
        find_pose("peace", frame=1)
