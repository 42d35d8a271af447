"""`h2d sample` from end to end with miniature networks, and what it says of mistakes."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from h2d.cli import app
from h2d.errors import UserError
from h2d.images import encode_png
from h2d.infer.picture_files import file_stem, grid, unused
from h2d.infer.provenance import read_record, write_png
from h2d.infer.session import Session, other_sampling
from h2d.pose.examples import EXAMPLES
from h2d.pose.openpose_json import write_pose
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene

ASK = ("--pose", "pose.json", "--prompt", "x")
FEW = ("--steps", "2", "--set", "hand_attempts=1")


@pytest.fixture(autouse=True)
def here(checkpoints, tmp_path, monkeypatch, pose) -> Path:
    """A folder with `runs/` and a pose, as a user has it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(checkpoints[0].parent)
    write_pose(pose, tmp_path / "pose.json")
    return tmp_path


A_LINE = '{"prompt": "x", "pose": "pose.json"}'


def run(*arguments: str):
    return CliRunner().invoke(app, ["sample", *arguments])


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_pose_and_a_prompt_are_enough_and_repeat_to_the_bit(here):
    first = run("--pose", "pose.json", "--prompt", "a person waves", "--seed", "7", *FEW)
    assert first.exit_code == 0, first.output
    assert "With runs/hand/checkpoints/step-0000001" in first.stdout
    assert "samples/a-person-waves-7.png  seed 7" in first.stdout
    assert "Again: h2d sample --like samples/a-person-waves-7.png" in first.stdout
    picture = here / "samples" / "a-person-waves-7.png"
    assert pixels(picture).shape == (128, 128, 3)
    record = read_record(picture)
    assert record["prompt"] == "a person waves"
    assert record["resolved"] == {
        "scheduler": "ddim", "steps": 2, "guidance_scale": 7.5, "hand_guidance_scale": 7.5, "eta": 0.0,
        "control_scale": 1.0,
    }  # fmt: skip
    assert set(record["weights"]) >= {"unet", "vae", "controlnet", "hand_unet", "mask_head"}
    (here / "pose.json").unlink()
    again = run("--like", str(picture), "--out", "again.png")
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("again.png"), pixels(picture))
    assert read_record(here / "again.png") == record
    assert "bits may differ" not in again.output


def test_several_seeds_a_grid_and_one_of_them_again(here):
    done = run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--n", "3", "--grid", "--json", *FEW)
    told = json.loads(done.stdout)
    assert [picture["seed"] for picture in told["pictures"]] == [4, 5, 6]
    assert [Path(path).name for path in told["files"]] == ["x-4.png", "x-5.png", "x-6.png", "x-4-grid.png"]
    assert pixels(told["files"][3]).shape == (256, 256, 3)
    second = told["files"][1]
    assert run("--like", second, "--out", "again.png").exit_code == 0
    assert np.array_equal(pixels("again.png"), pixels(second))


def test_like_with_other_options_varies_the_picture(here):
    run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--out", "one.png", *FEW)
    done = run("--like", "one.png", "--prompt", "y", "--blend", "naive", "--out", "two.png")
    assert done.exit_code == 0, done.output
    record = read_record(here / "two.png")
    assert (record["prompt"], record["seed"], record["options"]["blend"]) == ("y", 4, "naive")
    assert record["options"]["num_inference_steps"] == 2
    run("--like", "one.png", "--seed", "9", "--out", "three.png")
    assert read_record(here / "three.png")["seed"] == 9
    assert not np.array_equal(pixels("three.png"), pixels("one.png"))


def test_like_with_options_by_name_or_file_varies_the_picture_too(here):
    run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--out", "one.png", *FEW)
    (here / "options.yaml").write_text("paste: none\nblend_options: {unmasked_steps: 1}\n")
    done = run("--like", "one.png", "--set", "eta=0.5", "--config", "options.yaml", "--out", "two.png")
    assert done.exit_code == 0, done.output
    before, after = (read_record(here / name)["options"] for name in ("one.png", "two.png"))
    assert after == {**before, "eta": 0.5, "paste": "none", "blend_options": {"unmasked_steps": 1}}
    assert "nonsense = 3: there is no such option" in str(run("--like", "one.png", "--set", "nonsense=3").exception)
    assert "missing.yaml: cannot read" in str(run("--like", "one.png", "--config", "missing.yaml").exception)


def test_a_picture_in_another_precision_repeats_in_it(here):
    run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--precision", "bf16", "--out", "one.png", *FEW)
    again = run("--like", "one.png", "--out", "again.png")
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("again.png"), pixels("one.png"))
    assert read_record(here / "again.png")["machine"]["precision"] == "bf16"
    other = run("--like", "one.png", "--precision", "fp32", "--out", "other.png")
    assert other.exit_code == 0, other.output
    assert "precision was bf16 then and is fp32 now: bits may differ" in other.output
    assert not np.array_equal(pixels("other.png"), pixels("one.png"))


def test_pictures_that_were_made_stay_when_the_rest_is_interrupted(here, monkeypatch):
    sample, calls = Session.sample, []

    def sample_twice(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sample(*arguments, **options)

    monkeypatch.setattr(Session, "sample", sample_twice)
    done = run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--n", "60", *FEW)
    assert done.exit_code == 130
    assert "Stopped: 2 of 60 pictures are in samples; the rest: --seed 6 -n 58." in done.output
    assert sorted(path.name for path in (here / "samples").iterdir()) == ["x-4.png", "x-5.png"]


@pytest.mark.slow
def test_ctrl_c_leaves_the_pictures_that_were_made(here):
    command = [sys.executable, "-m", "h2d", "sample", "--pose", "pose.json", "--prompt", "x", "--n", "500", *FEW]
    process = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(here.glob("samples/x-*.png")) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    count = len(list(here.glob("samples/x-*.png")))
    assert process.returncode == 130
    assert f"Stopped: {count} of 500 pictures are in samples; the rest: --seed " in told
    assert "Traceback" not in told


def test_every_step_is_saved_with_one_sheet(here):
    done = run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--out", "one.png", "--save-intermediates", *FEW)
    assert "step by step: one/sheet.png" in done.stdout
    names = {path.name for path in (here / "one").iterdir()}
    assert names >= {
        "1-skeleton.png",
        "2-heatmaps-1-left.png",
        "3-hand-2-right.png",
        "3-hand-1-left-mask.png",
        "3-hand-1-left-mask-predicted.png",
        "4-canvas.png",
        "4-canvas-mask.png",
        "5-step-mask-001.png",
        "5-step-mask-002.png",
        "6-decoded.png",
        "7-picture.png",
        "sheet.png",
    }
    assert np.array_equal(pixels(here / "one" / "7-picture.png"), pixels("one.png"))
    assert pixels(here / "one" / "sheet.png").shape[1] > 600


def test_a_size_far_off_is_told_before_the_picture_is_made(here):
    told = run("--pose", "pose.json", "--prompt", "x", "--out", "a.png", "--size", "256x256", *FEW).output.splitlines()
    first = told.index("256x256 is far from the 128 pixels that these networks draw: leave --size out")
    assert first < next(number for number, line in enumerate(told) if line.startswith("a.png  seed"))


def test_an_example_pose_has_a_prompt_of_its_own(here):
    done = run("--pose", "prayer", "--seed", "4", "--out", "a.png", *FEW)
    assert done.exit_code == 0, done.output
    assert read_record(here / "a.png")["prompt"] == EXAMPLES["prayer"]
    (here / "prayer").write_text((here / "pose.json").read_text())
    assert "--prompt is missing" in str(run("--pose", "prayer").exception), "a file of one's own has none"


def test_a_pose_may_be_a_photograph(here):
    pytest.importorskip("mediapipe", reason="the extra `annotate` is not installed")
    from h2d.annotate.extract import extract_pose

    drawing = render(sample_scene(0, frame="selfie", size_hw=(320, 320), gesture="palm", background="plain"))
    (here / "photo.png").write_bytes(encode_png(drawing.picture))
    ask = ("--pose", "photo.png", "--prompt", "x", "--seed", "4", *FEW)
    done = run(*ask, "--out", "a.png")
    assert done.exit_code == 0, done.output
    assert "photo.png: 1 person: body" in done.stdout
    found = extract_pose(drawing.picture, name="photo.png")
    assert read_record(here / "a.png")["pose"]["hash"] == found.pose.pose_hash()
    plain = json.loads(run(*ask, "--out", "b.png", "--json").stdout)
    assert plain["pictures"][0]["path"] == "b.png"
    told = plain["photograph"]
    assert (told["path"], told["persons"], [*told["hands"]]) == ("photo.png", 1, [*found.hands])
    again = run("--like", "a.png", "--out", "c.png")
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("a.png"), pixels("c.png"))


def test_a_size_and_a_config_file(here):
    (here / "options.yaml").write_text("num_inference_steps: 2\nguidance_scale: 1.0\nhand_attempts: 1\n")
    done = run("--pose", "pose.json", "--prompt", "x", "--size", "96x160", "--config", "options.yaml", "--out", "a.png")
    assert done.exit_code == 0, done.output
    assert pixels("a.png").shape == (160, 96, 3)
    assert read_record(here / "a.png")["resolved"]["steps"] == 2


def test_a_saved_pipeline_serves_too(here, pipe):
    pipe.save_pretrained(here / "saved")
    done = run("--pose", "pose.json", "--prompt", "x", "--pipeline", "saved", "--seed", "1", "--out", "a.png", *FEW)
    assert done.exit_code == 0, done.output
    assert read_record(here / "a.png")["models"] == {"pipeline": "saved"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "x"], "--pose is missing"),
        (["--pose", "pose.json"], "--prompt is missing"),
        (["--batch", "no.jsonl"], "no.jsonl: cannot be read: No such file or directory: give a JSONL file"),
        (["--like", "no.png"], "no.png: cannot be read: No such file or directory: give a PNG"),
        (["--pose", "pose.json", "--prompt", "  "], "--prompt is empty"),
        (["--pose", "pose.json", "--prompt", "caf\udce9"], "--prompt is not UTF-8"),
        (["--pose", "no.json", "--prompt", "x"], "no.json: cannot be read"),
        (["--pose", "pose.json", "--prompt", "x", "--size", "512"], "--size 512: give WIDTHxHEIGHT"),
        (["--pose", "no.jpg", "--prompt", "x"], "no.jpg: cannot be read: No such file or directory: give a picture"),
        (["--pose", "no.jpg", "--prompt", "x", "--frame", "0"], "--frame: no.jpg is a photograph: leave it out"),
        (["--pose", "no.jpg"], "--prompt is missing"),
        ([*ASK, "--size", "100x128"], "size 100x128: its sides are multiples of 16: give --size 96x128"),
        (["--pose", "pose.json", "--prompt", "x", "--scheduler", "pndm"], "unknown scheduler 'pndm'"),
        (["--pose", "pose.json", "--prompt", "x", "--blend", "soft"], "unknown blending 'soft'"),
        (["--pose", "pose.json", "--prompt", "x", "--set", "guidence=3"], "guidence = 3: there is no such option"),
        (["--pose", "pose.json", "--prompt", "x", "--hand", "runs/hand"], "--outpaint is missing"),
        (["--pose", "pose.json", "--prompt", "x", "--pipeline", "runs"], "model_index.json is missing"),
        (["--pose", "pose.json", "--prompt", "x", "--device", "tpu"], "device 'tpu': there is no such device here"),
        (["--pose", "pose.json", "--prompt", "x", "--precision", "int8"], "--precision int8: choose one of"),
        (["--like", "pose.json"], "pose.json: not a picture"),
        ([*ASK, "--out", "pose.json"], "pose.json: no folder that can be written into: it is a file"),
        ([*ASK, "--out", "pose.json/x.png"], "pose.json: no folder that can be written into"),
        ([*ASK, "--out", "/proc/x/a.png"], "/proc/x: no folder that can be written into"),
        ([*ASK, "--out", "a.jpg"], "--out a.jpg: pictures are PNG, which hold how they were made: give a.png"),
        (
            [*ASK, "--pipeline", "miniature", "--outpaint", "runs/outpaint"],
            "--outpaint: --pipeline miniature is",
        ),
        ([*ASK, "--workers", "2"], "--workers: it is of --batch: leave it out"),
        (["--batch", "lines.jsonl", "-n", "5"], "--n: with --batch the file says what is made: leave it out"),
        (["--batch", "lines.jsonl", "--prompt", "x"], "--prompt: with --batch the file says what is made"),
        (["--batch", "lines.jsonl", "--save-intermediates"], "--save-intermediates: with --batch"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    done = run(*arguments)
    assert done.exit_code != 0
    assert isinstance(done.exception, UserError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_pictures_of_others_are_refused(here):
    Image.new("RGB", (8, 8)).save(here / "plain.png")
    with pytest.raises(UserError, match="says nothing of how it was made"):
        read_record(here / "plain.png")
    (here / "half.png").write_bytes((here / "plain.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"half\.png: "):
        read_record(here / "half.png")


@pytest.mark.parametrize("group", ["models", "machine", "versions", "weights"])
def test_a_record_that_lacks_something_is_one_line(here, group):
    record = {"prompt": "x", **{name: {} for name in ("models", "machine", "versions", "weights")}, group: None}
    write_png(here / "part.png", Image.new("RGB", (8, 8)), record)
    with pytest.raises(UserError, match=rf"part\.png: its record lacks {group}: give a PNG"):
        read_record(here / "part.png")


def test_other_weights_are_told_from_those_of_then(here, checkpoints, tmp_path_factory):
    from tiny_models import write_checkpoints

    run("--pose", "pose.json", "--prompt", "x", "--seed", "4", "--out", "one.png", *FEW)
    record = read_record(here / "one.png")
    hand, body = write_checkpoints(tmp_path_factory.mktemp("others"), mask_bias=0.9)
    record["models"] = {"hand": str(hand / "checkpoints/step-0000001/model"), "outpaint": record["models"]["outpaint"]}
    write_png(here / "other.png", Image.open(here / "one.png"), record)
    done = run("--like", "other.png", "--out", "again.png")
    assert "other.png: made with another mask_head: name the models of then" in str(done.exception)
    done = run("--like", "other.png", "--hand", str(hand), "--outpaint", str(body), "--out", "again.png")
    assert done.exit_code == 0


def test_names_and_grids():
    assert file_stem("A person, waving!", 3) == "a-person-waving-3"
    assert file_stem("挥手", 3) == "picture-3"
    assert file_stem("a person with light skin and short black hair and more", 3) == (
        "a-person-with-light-skin-and-short-black-hair-3"  # not "-an-3"
    )
    assert file_stem("x" * 60, 3) == "x" * 48 + "-3"
    images = [Image.new("RGB", (4, 2), (number, 0, 0)) for number in range(5)]
    assert grid(images).size == (12, 4)
    assert grid(images[:1]).size == (4, 2)
    assert grid(images[:4]).size == (8, 4)


def test_no_picture_is_overwritten(here):
    (here / "a.png").touch()
    (here / "a-2.png").touch()
    assert unused(here / "a.png").name == "a-3.png"
    assert unused(here / "b.png").name == "b.png"


def test_a_lora_is_recorded_and_used_again(here, loaded):
    import torch
    from safetensors.torch import save_file

    name = "down_blocks.0.resnets.0.conv1"
    weight = loaded.unet.get_submodule(name).weight
    factors = {"lora_A": torch.ones(1, *weight.shape[1:]), "lora_B": torch.ones(weight.shape[0], 1, 1, 1)}
    save_file({f"unet.{name}.{part}.weight": value for part, value in factors.items()}, here / "style.safetensors")
    arguments = ["--pose", "pose.json", "--prompt", "x", "--seed", "4", *FEW]
    assert run(*arguments, "--lora", "style.safetensors:0.5", "--out", "styled.png").exit_code == 0
    assert run(*arguments, "--out", "plain.png").exit_code == 0
    assert not np.array_equal(pixels("styled.png"), pixels("plain.png"))
    assert read_record(here / "styled.png")["models"]["loras"] == ["style.safetensors:0.5"]
    again = run("--like", "styled.png", "--out", "again.png")
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("again.png"), pixels("styled.png"))


def test_a_wrong_size_is_said_before_the_networks_are_named():
    assert run(*ASK, "--size", "100x100").stdout == ""


def test_too_little_memory_is_said_before_loading(here, monkeypatch):
    import h2d.infer.memory as memory
    import h2d.infer.session as session_module

    monkeypatch.setattr(memory, "available_bytes", lambda device: 2000)
    monkeypatch.setattr(session_module, "load_models", lambda models: pytest.fail("it was loaded"))

    def said(*arguments: str) -> str:
        return str(run("--pose", "pose.json", "--prompt", "x", *arguments).exception)

    assert re.match(r"a picture of 128 x 128 needs about \d+ MiB of memory, 2 KiB are free: use a smaller", said())
    assert said("--size", "16x32").startswith("a picture of 16 x 32 needs about ")
    assert said("--size", "64x32", "--n", "4").startswith("a picture of 64 x 32 needs about ")
    assert said("--n", "4", "--batch-size", "4").startswith("a batch of 4 pictures of 128 x 128 needs about ")


def test_a_picture_that_is_too_large_is_said(here, monkeypatch):
    import h2d.infer.memory as memory

    monkeypatch.setattr(memory, "available_bytes", lambda device: 2**30)
    assert run("--pose", "pose.json", "--prompt", "x", "--out", "a.png", *FEW).exit_code == 0
    done = run("--pose", "pose.json", "--prompt", "x", "--size", "8192x8192")
    assert re.match(
        r"a picture of 8192 x 8192 needs about \d+\.\d GiB of memory, 1\.0 GiB are free", str(done.exception)
    )
    (here / "lines.jsonl").write_text(
        "".join(
            json.dumps({"prompt": "x", "pose": "pose.json", "options": {"width": width, "height": width}}) + "\n"
            for width in (128, 8192)
        )
    )
    done = run("--batch", "lines.jsonl", "--out", "out", "--json", *FEW)
    told = json.loads(done.stdout)
    assert told["made"] == 1
    assert "a picture of 8192 x 8192 needs about" in told["failed"][0]["error"]


def test_other_methods_are_estimated_too(here, monkeypatch):
    import h2d.infer.memory as memory
    from h2d.infer.baselines.stable_diffusion import StableDiffusion

    other = ("--method", "stable-diffusion", "--base", "miniature-base", "--pose", "pose.json", "--prompt", "x")
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2**30)
    assert "a picture of 8192 x 8192 needs about" in str(run(*other, "--size", "8192x8192").exception)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2000)
    monkeypatch.setattr(StableDiffusion, "load", lambda *_: pytest.fail("it was loaded"))
    assert str(run(*other).exception).startswith("a picture of 512 x 512 needs about")


@pytest.mark.parametrize(("num_gpus", "device", "at_once"), [(2.0, "cuda", 4), (0, "cpu", 1)])
def test_what_a_batch_is_made_on_is_asked_of_the_cluster(here, monkeypatch, num_gpus, device, at_once):
    """Neither does the driver need a GPU, nor do workers have none where the driver has none."""
    cluster = Mock(cluster_resources=lambda: {"GPU": num_gpus})
    monkeypatch.setattr("h2d.ray_start.start_ray", lambda address: cluster)
    given, opened = Mock(), Mock()
    monkeypatch.setattr("h2d.cli.sample_batch.sample_batch", given)
    monkeypatch.setattr("h2d.infer.session.Session", opened)
    monkeypatch.setattr("h2d.cli.sample.one_thread_if_small", lambda session: session)
    (here / "lines.jsonl").write_text(A_LINE)
    done = run("--batch", "lines.jsonl", "--address", "head:6379", "--workers", "2")
    assert done.exit_code == 0, done.output
    open_session, batch, workers = given.call_args.args
    open_session()
    assert opened.call_args.kwargs["device"] == workers.device == device
    assert opened.call_args.kwargs["batch_size"] == batch.batch_size == at_once


def test_more_workers_than_a_cluster_has_gpus_are_one_line(here, monkeypatch):
    monkeypatch.setattr("h2d.ray_start.start_ray", lambda address: Mock(cluster_resources=lambda: {"GPU": 1.0}))
    (here / "lines.jsonl").write_text(A_LINE)
    done = run("--batch", "lines.jsonl", "--address", "head:6379", "--workers", "2", "--device", "cuda")
    assert str(done.exception).startswith("--workers 2: each takes a GPU, and Ray has 1: give fewer --workers")


def test_offload_without_a_gpu_is_one_line():
    done = run("--pose", "pose.json", "--prompt", "x", "--device", "cpu", "--offload")
    assert "--offload: there is nothing to keep off a cpu" in str(done.exception)


def test_what_the_networks_own_settings_were_then_is_told():
    then = {"method": "two-stage", "resolved": {"scheduler": "ddim", "steps": 2, "eta": 1.0}}
    now = {**then, "resolved": {**then["resolved"], "eta": 0.0, "guidance_scale": 7.5}}
    assert other_sampling(then, now) == ["eta was 1.0 then and is 0.0 now: --set eta=1.0 makes the same picture"]
    others = other_sampling({**then, "method": "controlnet"}, now)
    assert others == ["eta was 1.0 then and is 0.0 now: --set baseline.eta=1.0 makes the same picture"]
    of_old = {**then, "resolved": {**then["resolved"], "scheduler": "DDIMScheduler"}}
    assert other_sampling(of_old, then) == [], "it had the name of the class"
    saved_anew = {**then, "resolved": {**then["resolved"], "scheduler": "euler"}}
    told = "scheduler was ddim then and is euler now: --scheduler ddim makes the same picture"
    assert other_sampling(of_old, saved_anew) == other_sampling(then, saved_anew) == [told]
    without = {**then, "resolved": {**then["resolved"], "eta": None}}
    assert (
        other_sampling(then, then)
        == other_sampling({"method": "two-stage"}, now)
        == other_sampling(then, without)
        == []
    )


def test_one_pose_of_a_list_is_chosen(here):
    one = json.loads((here / "pose.json").read_text())
    (here / "list.json").write_text(json.dumps([one, one]))
    asked = ("--pose", "list.json", "--prompt", "x", "--out", "one.png", "--steps", "1")
    assert "a list of 2 poses: choose one with --frame 0 to 1" in str(run(*asked).exception)
    assert run(*asked, "--frame", "1").exit_code == 0
    assert (here / "one.png").is_file()
