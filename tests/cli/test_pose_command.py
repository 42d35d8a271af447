"""`h2d pose`: arguments in, files and a few lines out."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from h2d.cli.pose import app
from h2d.errors import UserError
from h2d.images import encode_png, load_rgb
from h2d.pose.checks import CHECKS
from h2d.pose.draw import draw_pose
from h2d.pose.examples import EXAMPLES, read_example
from h2d.pose.openpose_json import read_pose, write_pose
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def poses(tmp_path):
    run("examples", "--write", tmp_path / "poses")
    return tmp_path / "poses"


@pytest.fixture
def swapped(tmp_path):
    file = tmp_path / "swapped.json"
    write_pose(read_example("peace").with_hands_swapped(0), file)
    return file


def test_examples_are_listed_with_prompts_and_copied(tmp_path):
    listed = run("examples")
    assert all(prompt in listed for prompt in EXAMPLES.values())
    rows = json.loads(run("examples", "--json", "--write", tmp_path / "new" / "poses"))
    assert [row["name"] for row in rows] == list(EXAMPLES)
    for row in rows:
        assert read_pose(tmp_path / "new" / "poses" / f"{row['name']}.json").pose_hash() == row["hash"]
        assert row["file"].endswith(f"{row['name']}.json")
    assert rows[1]["hands"] == [{"person": 0, "side": "right"}]


def test_examples_cannot_be_copied_onto_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: palm\.json cannot be written: "):
        run("examples", "--write", tmp_path / "file")


@pytest.mark.parametrize("style", ["v1.1", "v1.0", "humansd"])
def test_draw_writes_what_the_networks_take(style, poses, tmp_path):
    file = poses / "two_people.json"
    said = run("draw", file, "--style", style, "--resize", "384x256", "--out", tmp_path / "new" / "drawn.png")
    expected = draw_pose(read_pose(file).resized(384, 256), style=style)
    np.testing.assert_array_equal(load_rgb(tmp_path / "new" / "drawn.png"), expected)
    assert "2 people at 384x256" in said


def test_draw_leaves_out_hands_and_faces_when_told_and_names_its_file(poses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("draw", poses / "peace.json", "--no-hands", "--no-face")
    expected = draw_pose(read_example("peace"), hands=False, face=False)
    np.testing.assert_array_equal(load_rgb(tmp_path / "peace.png"), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "v2"], "unknown style 'v2' of skeletons: choose one of v1.1, v1.0, humansd"),
        (["--out", "drawn.gif"], "--out drawn.gif: give a name that ends with .png"),
        (["--resize", "512"], "--resize '512': give WIDTHxHEIGHT in pixels, 1 to 32768, as 512x768"),
        (["--size", "0x12"], "--size '0x12': give WIDTHxHEIGHT"),
        (["--size", "12x99999"], "--size '12x99999': give WIDTHxHEIGHT"),
        (["--frame", "1"], "--frame 1: it holds a single pose: leave --frame out"),
    ],
)
def test_wrong_options_are_one_line(arguments, message, poses):
    with pytest.raises(UserError) as raised:
        run("draw", poses / "peace.json", *arguments)
    assert message in str(raised.value)


def test_convert_writes_dialects_sizes_and_swapped_hands(poses, tmp_path):
    out = tmp_path / "new" / "pose.json"
    pose = read_pose(poses / "two_people.json")
    run("convert", poses / "two_people.json", "--out", out, "--dialect", "openpose", "--resize", "384x256")
    assert json.loads(out.read_text())["version"] == 1.3
    assert read_pose(out, size_hw=(256, 384)).pose_hash() == pose.resized(384, 256).pose_hash()
    run("convert", poses / "two_people.json", "--out", out, "--swap-hands", "1", "--dialect", "comfyui")
    assert isinstance(json.loads(out.read_text()), list)
    assert read_pose(out).pose_hash() == pose.with_hands_swapped(1).pose_hash()
    with pytest.raises(UserError, match=r"--swap-hands 2: .*two_people.json has 2 people: count from 0"):
        run("convert", poses / "two_people.json", "--out", out, "--swap-hands", "2")


def test_convert_says_what_an_editor_would_not_show(poses, tmp_path):
    pose = read_pose(poses / "peace.json")
    pose.people[0, :3, 2] = 0.2
    write_pose(pose, tmp_path / "unsure.json", dialect="openpose")
    arguments = ["convert", tmp_path / "unsure.json", "--size", "512x512", "--out", tmp_path / "out.json"]
    assert "left out 3 points too unsure to be drawn" in run(*arguments)
    assert "left out" not in run(*arguments, "--dialect", "openpose")


def test_a_canvas_that_is_guessed_is_told(poses, tmp_path):
    write_pose(read_pose(poses / "peace.json"), tmp_path / "openpose.json", dialect="openpose")
    arguments = ["convert", tmp_path / "openpose.json", "--out", tmp_path / "out.json"]
    assert "the file names no canvas" in run(*arguments)
    assert "the file names no canvas" not in run(*arguments, "--size", "512x512")
    assert "the file names no canvas" in run("draw", tmp_path / "openpose.json", "--out", tmp_path / "out.png")
    assert "canvas_not_stated" in run("validate", tmp_path / "openpose.json")


def test_good_poses_are_valid(poses):
    files = sorted(poses.glob("*.json"))
    said = run("validate", *files)
    assert said.count(": ok: ") == len(files)
    assert "person 0: body (13 of 17), face, right hand; no left hand" in said


def test_a_pose_that_cannot_be_makes_exit_code_2_and_the_remedy_works(swapped, poses, tmp_path):
    said = run("validate", swapped, poses / "palm.json", code=2)
    assert "swapped.json: not ok: 512x512, 1 error, 0 warnings" in said
    assert "error    person 0, left hand: left_is_right: " in said
    assert said.rstrip().splitlines()[-2].endswith("palm.json: ok: 512x512, 0 errors, 0 warnings")
    run("convert", swapped, "--swap-hands", "0", "--out", tmp_path / "fixed.json")
    assert ": ok: " in run("validate", tmp_path / "fixed.json")


def test_validate_prints_json_for_machines(swapped, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    told = json.loads(run("validate", swapped, broken, "--json", code=2))
    assert told["ok"] is False
    first, second = told["poses"]
    (finding,) = first["findings"]
    assert (finding["name"], finding["level"], finding["person"], finding["side"]) == (
        "left_is_right",
        "error",
        0,
        "left",
    )
    assert finding["measured"] > finding["limit"] == 0.6
    assert (finding["unit"], finding["bound"]) == (CHECKS["left_is_right"].unit, "at most")
    assert finding["remedy"] == "h2d pose convert --swap-hands 0"
    assert first["people"] == [{"body": 13, "feet": 0, "face": 68, "left_hand": 21, "right_hand": 0}]
    assert second["ok"] is False
    assert second["error"].startswith(f"{broken}: no `people`")


def test_a_warning_is_not_an_error(poses, tmp_path):
    said = run("validate", poses / "peace.json", "--resize", "250x252")
    assert ": ok: 250x252, 0 errors, 2 warnings" in said


def test_extract_finds_a_drawn_person_and_draws_over_it(tmp_path, monkeypatch):
    pytest.importorskip("mediapipe", reason="the extra `annotate` is not installed")
    monkeypatch.chdir(tmp_path)
    drawing = render(sample_scene(0, frame="selfie", size_hw=(320, 320), gesture="palm", background="plain"))
    (tmp_path / "photo.png").write_bytes(encode_png(drawing.picture))
    said = run("extract", "photo.png", "--draw", "over.png")
    assert "photo.png: 1 person: body" in said
    assert "wrote photo.pose.json and over.png" in said
    pose = read_pose(tmp_path / "photo.pose.json")
    assert (pose.size_hw, list(pose.hands())) == ((320, 320), [(0, "right")])
    off = np.linalg.norm(pose.people[0, :, :2] - drawing.people[0].points[:, :2], axis=1)
    assert np.nanmedian(off) < 8
    over = load_rgb(tmp_path / "over.png")
    assert over.shape == drawing.picture.shape
    assert (over != drawing.picture).any()


def test_extract_says_what_is_no_photograph_or_shows_nobody(tmp_path):
    pytest.importorskip("mediapipe", reason="the extra `annotate` is not installed")
    with pytest.raises(UserError, match=r"none.jpg: cannot be read: No such file or directory: give a picture"):
        run("extract", tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(UserError, match=r"text.jpg: not a picture that can be decoded: give a JPEG or PNG"):
        run("extract", tmp_path / "text.jpg")
    (tmp_path / "blank.png").write_bytes(encode_png(np.full((64, 64, 3), 127, np.uint8)))
    with pytest.raises(UserError, match=r"blank.png: no person was found: give a photograph"):
        run("extract", tmp_path / "blank.png")
    with pytest.raises(UserError, match="unknown dialect 'x'"):
        run("extract", tmp_path / "blank.png", "--dialect", "x")


def test_an_examples_name_stands_for_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("validate", "peace", "thumbs_up").startswith("peace: ok: 512x512")
    run("draw", "peace")
    np.testing.assert_array_equal(load_rgb(tmp_path / "peace.png"), draw_pose(read_example("peace")))
    run("convert", "peace", "--out", "out.json")
    assert read_pose(tmp_path / "out.json").pose_hash() == read_example("peace").pose_hash()
