"""`h2d sample --method`, with miniatures in a models folder."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_baselines import _sizes_of_the_miniatures, weights  # noqa: F401  # the folder of miniatures
from typer.testing import CliRunner

from h2d.cli import app
from h2d.errors import UserError
from h2d.infer.provenance import read_record
from h2d.pose.openpose_json import write_pose

FEW = ("--steps", "2", "--size", "64x64")


@pytest.fixture(autouse=True)
def here(weights, tmp_path, monkeypatch, pose) -> Path:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("H2D_MODELS", str(weights))
    write_pose(pose, tmp_path / "pose.json")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, ["sample", *arguments])


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path))


ASK = ("--pose", "pose.json", "--prompt", "a person waves", "--seed", "7", *FEW)


@pytest.mark.parametrize("name", ["controlnet", "humansd"])
def test_a_method_makes_pictures_that_can_be_made_again(name, here):
    done = run("--method", name, *ASK, "--n", "2", "--out", "a.png")
    assert done.exit_code == 0, done.output
    record = read_record(here / "a-8.png")
    assert (record["method"], record["seed"], set(record["models"])) == (name, 8, {"base", "control"})
    assert record["options"]["guidance_scale"] == (9.0 if name == "humansd" else None)
    assert record["options"]["negative_prompt"].startswith("longbody") == (name == "humansd")
    again = run("--like", "a-8.png", "--out", "again.png")
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("again.png"), pixels("a-8.png"))
    assert read_record(here / "again.png") == record


def test_options_of_the_method_and_of_sampling(here):
    (here / "options.yaml").write_text("guidance_scale: 2.0\n")
    set_scale = ("--set", "baseline.control_scale=0.5", "--config", "options.yaml")
    assert run("--method", "controlnet", *ASK, *set_scale, "--out", "half.png").exit_code == 0
    record = read_record(here / "half.png")
    assert (record["baseline"]["control_scale"], record["options"]["guidance_scale"]) == (0.5, 2.0)
    assert run("--like", "half.png", "--out", "again.png").exit_code == 0
    assert np.array_equal(pixels("again.png"), pixels("half.png"))
    run("--like", "half.png", "--set", "baseline.control_scale=1", "--out", "full.png")
    assert read_record(here / "full.png")["baseline"]["control_scale"] == 1
    assert not np.array_equal(pixels("full.png"), pixels("half.png"))


def test_what_is_not_read_of_a_negative_prompt_is_told():
    ask = ("--method", "stable-diffusion", "--set", "baseline.base=miniature-base", *ASK, "--negative", "zyzzyva")
    unguided, guided = run(*ask), run(*ask, "--guidance", "3")
    assert "the negative prompt does nothing without guidance: --guidance 3 lets it" in unguided.output
    assert "left out of the negative prompt, as words that these networks do not know: zyzzyva" in guided.output


def test_the_same_by_another_method(here):
    assert run("--method", "controlnet", *ASK, "--out", "a.png").exit_code == 0
    done = run("--like", "a.png", "--method", "stable-diffusion", "--out", "b.png")
    assert done.exit_code == 0, done.output
    assert "stable-diffusion does not see the pose" in done.output
    assert read_record(here / "b.png")["method"] == "stable-diffusion"
    assert read_record(here / "b.png")["pose"] == read_record(here / "a.png")["pose"]


def test_ours_after_a_picture_of_another(here, checkpoints):
    (here / "runs").symlink_to(checkpoints[0].parent)
    assert run("--method", "controlnet", *ASK, "--out", "a.png").exit_code == 0
    done = run("--like", "a.png", "--method", "two-stage", "--prompt", "y", "--out", "b.png")
    assert done.exit_code == 0, done.output
    assert read_record(here / "b.png")["method"] == "two-stage"


@pytest.mark.parametrize("method", ["controlnet", "stable-diffusion"])
def test_where_weights_are_missing_the_miniature_that_is_named_works(method, here, monkeypatch):
    monkeypatch.setenv("H2D_MODELS", str(here / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "none"))
    missing = run("--method", method, *ASK)
    said, named = str(missing.exception).split("; or take the miniature, which is here: ")
    assert said.endswith("get it: h2d models fetch stable-diffusion-1.5")
    assert run("--method", method, *ASK, *named.split(), "--out", "a.png").exit_code == 0


def test_ours_is_one_class_alone():
    from h2d.infer.baselines import BASELINES, OURS

    assert OURS not in BASELINES, "a second one beside `Session` would have to be kept like it"


def test_a_batch_is_not_made_twice(here):
    rows = [{"prompt": "x", "pose": "pose.json"}, {"prompt": "y", "pose": "pose.json"}]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ask = ("--method", "t2i-adapter", "--batch", "rows.jsonl", "--out", "out", "--json", *FEW)
    assert json.loads(run(*ask).stdout)["made"] == 2
    again = json.loads(run(*ask).stdout)
    assert (again["made"], again["found"]) == (0, 2)
    other = json.loads(run(*ask, "--set", "baseline.control_scale=0.5").stdout)
    assert other["made"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "controlnet", *ASK, "--hand-base", "x"], "--hand-base: it is of our own method, not of"),
        (["--method", "controlnet", *ASK, "--zoom-hands"], "--zoom-hands: it is of our own method"),
        (["--method", "controlnet", *ASK, "--hand-photo", "no.jpg"], "--hand-photo: it is of our own method"),
        (["--method", "controlnet", *ASK, "--lora", "no.safetensors"], "--lora: it is of our own method"),
        (["--method", "controlnet", *ASK, "--set", "eta=1.0"], "--set eta: it is of our own method"),
        (["--method", "controlnet", *ASK, "--set", "blend_options.max_px=4"], "--set blend_options.max_px: it is of"),
        (
            ["--method", "midjourney", *ASK],
            "unknown method 'midjourney': choose one of controlnet, handrefiner.*two-stage",
        ),
        (["--method", "controlnet", *ASK, "--save-intermediates"], "controlnet has no stages to show"),
        (["--method", "controlnet", *ASK, "--set", "baseline.contrl=1"], "contrl = 1: there is no such option"),
        (["--method", "controlnet", *ASK, "--base", "nowhere"], "nowhere: no such weights"),
        (["--method", "handrefiner", *ASK, "--set", "baseline.mask=m.png"], "mask without depth"),
        (["--method", "handrefiner", *ASK, "--set", "baseline.depth=d.png"], "depth d.png: no such file"),
        ([*ASK, "--set", "baseline.control_scale=1"], "baseline = .*there is no such option"),
        (["--method", "humansd", *ASK, "--scheduler", "unipc"], "it is --set baseline.scheduler"),
    ],
)
def test_mistakes_are_one_line(arguments, message, checkpoints, here):
    (here / "runs").symlink_to(checkpoints[0].parent)
    done = run(*arguments)
    assert done.exit_code != 0
    assert isinstance(done.exception, UserError), done.output
    assert re.search(message, str(done.exception)), done.exception
    assert "\n" not in str(done.exception)
