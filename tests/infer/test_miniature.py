"""The miniature that comes with h2d: whole, small, in half precision, sampled with when nothing is named."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from h2d.cli import app
from h2d.infer import two_stage
from h2d.infer.baselines import BASELINES
from h2d.infer.baselines.base import BaselineOptions, place_of
from h2d.infer.choosing import default_models
from h2d.infer.jobs import impossible
from h2d.infer.loading import load_models
from h2d.infer.options import SampleOptions
from h2d.infer.provenance import read_record
from h2d.infer.text import prompt_notes
from h2d.infer.two_stage import TwoStagePipeline
from h2d.models.base import load_tokenizer
from h2d.models.shipped import SHIPPED, find_shipped, miniature_folder
from h2d.models.words import known_words, unknown_words
from h2d.pose.examples import read_example
from h2d.registry import resolve
from h2d.train.text import caption_tokens

PROMPT = (
    "A person with brown skin and long black hair, in a yellow top with long sleeves, is {},"
    " in front of a plain dark blue background."
)
SHOWN = {
    "palm": "spreading all five fingers with the left hand, palm to the camera",
    "peace": "making the peace sign with the right hand, palm to the camera",
    "rock": "making the rock sign with the left hand, palm to the camera",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A picture of each pose, few steps, all in one batch."""
    models = default_models(tmp_path_factory.mktemp("no_runs"))
    pipe = load_models(models)
    pipe.set_progress_bar_config(disable=True)
    poses = [read_example(name) for name in SHOWN]
    prompts = [PROMPT.format(words) for words in SHOWN.values()]
    return pipe(prompts, poses, seed=[1] * len(poses), options=SampleOptions(num_inference_steps=12, hand_attempts=1))


def test_it_is_small_and_holds_no_pickle():
    files = [path for path in miniature_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                assert {opened.get_tensor(name).dtype for name in opened.keys()} == {torch.float16}, path  # noqa: SIM118


def test_every_name_has_its_folder_and_the_card_is_there():
    for name in SHIPPED:
        assert any(find_shipped(name).rglob("*.safetensors")), name
        assert place_of("stable-diffusion-1.5", name, None) == find_shipped(name)
    assert find_shipped("stable-diffusion-1.5") is None
    assert (miniature_folder() / "README.md").read_text().startswith("---")


def test_importing_the_pipeline_brings_the_class_of_its_mask_head():
    """Diffusers finds a saved part's class in an imported module alone."""
    index = json.loads((find_shipped("miniature") / "model_index.json").read_text())
    assert index["mask_head"] == [two_stage.MaskHead.__module__, "MaskHead"]


def test_networks_are_read_in_single_precision(made, tmp_path):
    pipe = load_models(default_models(tmp_path))
    kinds = {part: network.dtype for part, network in pipe.components.items() if isinstance(network, torch.nn.Module)}
    assert set(kinds.values()) == {torch.float32}


def test_hands_are_where_the_poses_have_them(made):
    """The predicted mask covers the hand's points, and little else."""
    for hands in made.hands:
        for hand in hands:
            points = np.concatenate([found[found[:, 2] > 0] for found in hand.points.values()])
            at = np.clip(points[:, :2].round().astype(int), 0, hand.mask.shape[0] - 1)
            assert hand.mask[at[:, 1], at[:, 0]].mean() > 0.8
            assert hand.mask.mean() < 0.5


def test_a_picture_has_the_colours_of_its_prompt(made):
    """A dark blue background and a yellow top: of every pixel, most of the upper corners and a part of the rest."""
    for image in made.images:
        picture = np.asarray(image.resize((128, 128), Image.Resampling.BOX)).astype(int)
        corners = picture[:24, [*range(16), *range(112, 128)]].reshape(-1, 3)
        assert (corners[:, 2] > corners[:, 0] + 15).mean() > 0.7
        yellow = (picture[..., 0] > picture[..., 2] + 50) & (picture[..., 1] > picture[..., 2] + 30)
        assert yellow.mean() > 0.04


def test_words_that_it_does_not_know_are_named():
    tokenizer = load_tokenizer(miniature_folder() / "two_stage")
    known = "A person in a red top is making the peace sign."
    assert prompt_notes(tokenizer, known) == []
    assert prompt_notes(tokenizer, "a woman, studio photograph of a woman, red top") == [
        "left out of the prompt, as words that these networks do not know: woman, studio, photograph"
    ]
    assert unknown_words(range(49_408), "anything at all") == [], "CLIP's own has pieces of every word"
    assert known_words(tokenizer, known) == known
    assert known_words(tokenizer, "A Woman, womanly in a red top") == "A , in a red top"


@pytest.mark.parametrize(
    ("prompt", "kept", "left_out"),
    [
        ("café person", "person", ["café"]),
        ("हिन्दी person", "person", ["हिन्दी"]),
        ("cafe\u0301 “person”", "“person”", ["café"]),
        ("İstanbul person", "person", ["i\u0307stanbul"]),
        ("Straße, person", ", person", ["straße"]),
        ("женщина: a person", ": a person", ["женщина"]),
        ("don't, person's", ", person's", ["don't"]),
        ("a T-shirt, t-top", "a , t-top", ["t-shirt"]),
        ("3 hands & 2 palms", "3 hands & 2 palms", []),
    ],
)
def test_a_word_is_left_out_whole(prompt, kept, left_out):
    tokenizer = load_tokenizer(miniature_folder() / "two_stage")
    assert known_words(tokenizer, prompt) == kept
    assert unknown_words(tokenizer, prompt) == left_out


def test_training_reads_captions_as_sampling_reads_prompts():
    tokenizer = load_tokenizer(miniature_folder() / "two_stage")
    assert torch.equal(caption_tokens(tokenizer, "a woman in a red top"), caption_tokens(tokenizer, "a in a red top"))
    many = "a person " + "zyzzyva " * 40 + "in red"
    assert len(tokenizer(many).input_ids) > tokenizer.model_max_length
    assert prompt_notes(tokenizer, many) == [
        "left out of the prompt, as words that these networks do not know: zyzzyva"
    ]
    assert "nothing is left of the prompt: h2d pose examples lists" in prompt_notes(tokenizer, "prompt.txt")[1]
    assert [note.split(":")[0] for note in prompt_notes(tokenizer, "red " * 80)] == [
        f"the prompt has 82 tokens and {tokenizer.model_max_length} are read"
    ]


def test_a_word_that_it_does_not_know_changes_nothing(tmp_path):
    """Spelt letter by letter, `woman` made a red top green."""
    pipe = TwoStagePipeline.from_pretrained("miniature")
    few = {"seed": 1, "num_inference_steps": 2, "hand_attempts": 1}
    pose, prompts = read_example("peace"), ("a woman in a red top", "a in a red top")
    with_it, without = (pipe(prompt, pose, **few) for prompt in prompts)
    assert np.array_equal(np.asarray(with_it.images[0]), np.asarray(without.images[0]))
    method = resolve(BASELINES, "stable-diffusion", kind="method")(BaselineOptions(base="miniature-base"))
    method.load(torch.device("cpu"), torch.float32)
    both = method(prompts, [pose], [1, 1], steps=2)
    assert np.array_equal(*both)
    assert "woman" in " ".join(method.notes("a woman", pose))


def test_what_does_nothing_or_too_much_is_said():
    pipe = TwoStagePipeline.from_pretrained("miniature")
    few = {"seed": 1, "num_inference_steps": 1, "hand_attempts": 1, "negative_prompt": "a red top"}
    plain = pipe("a person", read_example("peace"), **few).notes[0]
    assert "the negative prompt does nothing without guidance: --guidance 3 lets it" in plain
    assert not any("far from" in note for note in plain)
    guided = pipe("a person", read_example("peace"), guidance_scale=3.0, height=256, width=256, **few).notes[0]
    assert not any("negative" in note for note in guided)
    assert "256x256 is far from the 128 pixels that these networks draw: leave --size out" in guided


def test_a_hand_of_the_other_side_is_told():
    pose = read_example("peace")
    swapped = replace(pose, people=pose.people.copy())
    left, right = (slice(first, first + 21) for first in (91, 112))
    swapped.people[:, left], swapped.people[:, right] = pose.people[:, right], pose.people[:, left]
    assert impossible(pose) == []
    assert "--swap-hands 0" in " ".join(impossible(swapped))
    pipe = TwoStagePipeline.from_pretrained("miniature")
    notes = pipe("a person", swapped, seed=1, num_inference_steps=1, hand_attempts=1).notes[0]
    assert set(impossible(swapped)) <= set(notes)


def test_nothing_need_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ("--steps", "2", "--device", "cpu", "--seed", "1", "--set", "hand_attempts=1")
    done = CliRunner().invoke(app, ["sample", "--pose", "palm", "--prompt", "a person", "--out", "a.png", *few])
    assert done.exit_code == 0, done.output
    assert "With the miniature that comes with h2d" in done.stdout
    record = read_record(tmp_path / "a.png")
    assert record["models"] == {"pipeline": "miniature"}
    again = CliRunner().invoke(app, ["sample", "--like", "a.png", "--out", "b.png", "--device", "cpu"])
    assert again.exit_code == 0, again.output
    with Image.open("a.png") as first, Image.open("b.png") as second:
        assert np.array_equal(np.asarray(first), np.asarray(second))
    base = CliRunner().invoke(app, ["sample", "--pose", "palm", "--prompt", "x", "--base", "miniature-base"])
    assert "--base miniature-base: miniature is a whole: name --outpaint as well" in str(base.exception)


def test_the_methods_compared_with_have_theirs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for method in ("controlnet", "stable-diffusion"):
        control = ("--set", "baseline.control=miniature-control") if method == "controlnet" else ()
        done = CliRunner().invoke(
            app,
            ["sample", "--method", method, "--base", "miniature-base", *control, "--pose", "palm", "--prompt", "x",
             "--steps", "2", "--seed", "1", "--device", "cpu", "--out", f"{method}.png"],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        with Image.open(f"{method}.png") as picture:
            assert picture.size == (128, 128)
