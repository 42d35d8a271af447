"""`h2d evaluate` on the command line: the whole walk with miniature models and the real detector, and its errors."""

import json
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import ClassVar
from unittest.mock import Mock

import numpy as np
import pytest
from typer.testing import CliRunner

from h2d.cli import app, evaluate
from h2d.errors import UserError
from h2d.eval.methods import ABLATION, METHODS, Made
from h2d.images import encode_png, load_rgb

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    sys.path[:0] = [str(TESTS / "manifests"), str(TESTS / "infer")]
    from manifest_builder import build_manifest
    from tiny_models import write_checkpoints

    folder = tmp_path_factory.mktemp("evaluate")
    build_manifest(folder / "manifest", num_pictures=6, splits=("test",))
    write_checkpoints(folder / "runs")
    return folder


def call(*arguments, **options):
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, **options)


@pytest.fixture(scope="module")
def list_file(place):
    path = place / "list.jsonl"
    ended = call(
        "evaluate", "protocol", "--manifest", place / "manifest", "-n", 3, "--seed", 1, "--size", 128, "--out", path
    )
    assert ended.exit_code == 0, ended.output
    assert "3 of 6 usable pictures" in ended.output
    return path


@pytest.fixture(scope="module")
def run(place, list_file):
    """The ablation, that is three methods, with everything small."""
    ended = call(
        "evaluate", "ablation", "--list", list_file, "--out", place / "run", "--hand", place / "runs/hand",
        "--outpaint", place / "runs/outpaint", "--steps", 2, "--device", "cpu", "--resamples", 10,
        "--features", "none", "--sample", "hand_attempts=1", "--sample", "guidance_scale=1", "--json",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def test_the_walk_ends_in_tables(place, run):
    assert [method["name"] for method in run["methods"]] == ["real", "two-stage-bbox", "two-stage-naive", "two-stage"]
    for method in run["methods"][1:]:
        assert method["measures"]["dap"]["value"] is not None
        assert len(list((place / "run/methods" / method["name"] / "pictures").glob("*.png"))) == 3
        assert method["made"]["identity"]["sample"]["num_inference_steps"] == 2
        told = method["settings"]
        assert list(told["networks"]) == ["hand", "outpaint"]
        assert (told["steps"], told["scheduler"], told["guidance_scale"], told["eta"]) == (2, "ddim", 1, 0)
    blends = {method["made"]["identity"]["sample"]["blend"] for method in run["methods"][1:]}
    assert blends == {"expanding", "naive", "bbox"}
    for name in ("report.html", "report.md", "report.tex", "results.json", "per_picture.parquet"):
        assert (place / "run" / name).stat().st_size > 1000


def test_the_same_command_makes_nothing_again(place, list_file, run):
    before = {path: path.stat().st_mtime_ns for path in (place / "run/methods").rglob("*.p*") if path.is_file()}
    ended = call("evaluate", "report", place / "run", "--resamples", 10, "--features", "none")
    assert ended.exit_code == 0, ended.output
    assert "Report:" in ended.output
    assert before == {path: path.stat().st_mtime_ns for path in before}


class Echo:
    """Draws what it was told: steps, guidance, and how many pictures it makes at once."""

    title: ClassVar[str] = "Echo"

    def __init__(self, options):
        self._options = options

    def identity(self):
        return {"sample": self._options.sample}

    def setup(self): ...

    def close(self): ...

    def make(self, entries):
        told = self._options.sample
        levels = [told["num_inference_steps"], told["guidance_scale"], len(entries)]
        return [Made(picture=np.full((entry.size, entry.size, 3), levels, np.uint8)) for entry in entries]


def test_options_of_the_ablation_reach_its_pictures(monkeypatch, list_file, tmp_path):
    for name in ABLATION:
        monkeypatch.setitem(METHODS, name, f"{__name__}:Echo")
    ended = call(
        "evaluate", "ablation", "--list", list_file, "--out", tmp_path / "run", "--steps", 7, "--batch", 2,
        "--sample", "guidance_scale=5", "--device", "cpu", "--segmenter", "none", "--features", "none",
        "--resamples", 0, "--set", "look.text=none",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    for name in ABLATION:
        files = sorted((tmp_path / "run/methods" / name / "pictures").glob("*.png"))
        assert [tuple(load_rgb(file)[0, 0]) for file in files] == [(7, 5, 2), (7, 5, 2), (7, 5, 1)], name


def test_the_ablation_takes_the_options_of_a_run():
    """All of them: what is added to one is in the other."""
    takes = {command.callback.__name__: signature(command.callback) for command in evaluate.app.registered_commands}
    assert set(takes["run"].parameters) - set(takes["ablation"].parameters) == {"method", "baseline"}
    assert set(takes["ablation"].parameters) < set(takes["run"].parameters)
    assert takes["ablation"].parameters["out"].default == Path("runs/ablation")


@pytest.mark.parametrize(
    ("where", "look"),
    [(("cuda", "--address", "head:1"), "auto"), (("cpu", "--address", "head:1"), "cpu"), (("cuda",), "cuda")],
)
def test_on_a_cluster_a_gpu_is_asked_of_workers_and_not_of_this_machine(place, list_file, monkeypatch, where, look):
    begun = Mock(return_value=None)
    monkeypatch.setattr("h2d.eval.run.evaluate_methods", begun)
    call("evaluate", "run", "--list", list_file, "--pipeline", place / "runs", "--device", *where)
    options, choices = begun.call_args.args[3:5]
    assert (options.device, choices.look.device) == (where[0], look)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("protocol", "--manifest", "{place}/none"), "no such folder"),
        (("protocol", "--manifest", "{place}/manifest", "-n", 99), "99 were asked for: give -n 6 or fewer"),
        (("run", "--list", "{place}/none.jsonl"), "make one: h2d evaluate protocol"),
        (("run", "--list", "{list}", "--method", "mine"), "unknown method 'mine': choose one of"),
        (("run", "--list", "{list}", "--method", ","), "--method is empty"),
        (("run", "--list", "{list}", "--set", "look.wide=3"), "there is no such option: did you mean look.width?"),
        (("run", "--list", "{list}", "--set", "eta=1"), "it is an option of sampling: give --sample eta=1"),
        (("run", "--list", "{list}", "--resamples", 1), "resamples is 1: give at least 2"),
        (("run", "--list", "{list}", "--set", "pose.penalty=nan"), "penalty is nan: give a distance of at least 0"),
        (("run", "--list", "{list}", "--device", "foo"), "device 'foo': there is no such device here: give auto, cpu"),
        (("annotators", "--resamples", 1), "resamples is 1: give at least 2"),
        (("run", "--list", "{list}", "--hand", "{place}/runs/hand"), "one stage alone was named"),
        (("run", "--list", "{list}", "--sample", "steps=3"), "there is no such option"),
        (("folder", "{place}/none", "--list", "{list}"), "no such folder: give the folder of the pictures"),
        (("folder", "{place}", "--list", "{list}", "--match", "size"), "choose one of auto, id, order"),
        (("report", "{place}/runs"), "not a run of h2d evaluate"),
    ],
)
def test_a_mistake_is_one_line(place, list_file, tmp_path, arguments, message):
    given = [str(one).format(place=place, list=list_file) for one in arguments]
    out = () if arguments[0] in ("report",) else ("--out", tmp_path / "out")
    with pytest.raises(UserError) as caught:
        call("evaluate", *given, *out)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists(), "nothing is written before all is checked"


@pytest.mark.parametrize(
    "arguments",
    [
        ("protocol", "--manifest", "{place}/manifest", "-n", 3, "--size", 128),
        (
            "run",
            "--list",
            "{list}",
            "--device",
            "cpu",
            "--hand",
            "{place}/runs/hand",
            "--outpaint",
            "{place}/runs/outpaint",
        ),
        ("annotators", "-n", 1),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_before_any_work(place, list_file, tmp_path, arguments):
    given = [str(one).format(place=place, list=list_file) for one in arguments]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    is_file = arguments[0] == "protocol"
    for out, said in (
        (tmp_path / "folder" if is_file else tmp_path / "file", "it is a folder" if is_file else "it is a file"),
        (tmp_path / "file" / "below" / "it", "no folder that can be written into: Not a directory: give another"),
    ):
        with pytest.raises(UserError) as caught:
            call("evaluate", *given, "--out", out)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_sizes_beyond_reason_are_refused(place, tmp_path):
    ended = call(
        "evaluate", "protocol", "--manifest", place / "manifest", "--size", 1_000_000, "--out", tmp_path / "list.jsonl"
    )
    assert ended.exit_code == 2
    assert "4096" in ended.output


def test_a_report_is_compared_with_itself(place, run):
    ended = call("evaluate", "compare", place / "run", place / "run")
    assert ended.exit_code == 0, ended.output
    assert "MPJPE hands" in ended.output
    assert "PCK" not in ended.output
    assert "more: --all" in ended.output
    assert "PCK" in call("evaluate", "compare", place / "run", place / "run", "--all").output
    plain = json.loads(call("evaluate", "compare", place / "run", place / "run", "--json").stdout)
    assert {row["difference"] for row in plain["measures"] if row["measure"] == "mpjpe"} == {0.0}


def test_figures_are_written_beside_the_run(place, run):
    ended = call("evaluate", "figures", place / "run", "--pictures", "0,2", "--features", "random", "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    for name in ("methods", "blends", "foregrounds", "inception_channels"):
        assert (place / "run" / "figures" / f"{name}.png").stat().st_size > 10_000
    with pytest.raises(UserError, match="--pictures '1;2': give numbers with commas"):
        call("evaluate", "figures", place / "run", "--pictures", "1;2")


def test_annotators_are_judged_on_drawn_people(tmp_path):
    ended = call("evaluate", "annotators", "-n", 3, "--size", 160, "--out", tmp_path, "--resamples", 10)
    assert ended.exit_code == 0, ended.output
    assert "3 pictures" in ended.output
    assert "goal 0.95" in ended.output
    plain = json.loads((tmp_path / "annotators.json").read_text())
    assert plain["rows"][0]["body"]["value"] == 1


def test_the_page_names_every_command_and_no_other():
    page = (TESTS.parent / "docs" / "evaluation.md").read_text()
    named = set(re.findall(r"h2d evaluate ([a-z]+)", page))
    assert named == {command.name or command.callback.__name__ for command in evaluate.app.registered_commands}
    for option in set(re.findall(r"--[a-z][a-z-]+", page)) - {"--split", "--name"}:
        helps = [call("evaluate", name, "--help").output for name in named]
        assert any(option in text for text in helps) or option in call("synth", "--help").output, option


def test_help_names_every_method():
    from h2d.eval.methods import METHODS

    text = " ".join(call("evaluate", "run", "--help", env={"COLUMNS": "200"}).output.split())
    assert all(name in text for name in METHODS)


def test_an_unreadable_picture_is_one_line_and_nothing_is_taken_over(place, list_file, tmp_path):
    source = tmp_path / "theirs"
    source.mkdir()
    for name in ("00000", "00001", "00002"):
        (source / f"{name}.png").write_bytes(encode_png(np.full((128, 128, 3), 90, np.uint8)))
    for damage, reason in ((b"", "the file is empty"), ((source / "00000.png").read_bytes()[:60], "not a picture")):
        (source / "00002.png").write_bytes(damage)
        with pytest.raises(UserError) as caught:
            call("evaluate", "folder", source, "--list", list_file, "--out", tmp_path / "run", "--device", "cpu")
        assert str(caught.value).startswith(f"{source / '00002.png'}: {reason}")
        assert str(caught.value).endswith("make it again, then the same command")
        assert not (tmp_path / "run" / "methods").exists()


@pytest.mark.slow
def test_ray_workers_give_the_numbers_of_this_process(place, list_file, run):
    arguments = [
        "evaluate", "run", "--list", list_file, "--out", place / "ray", "--hand", place / "runs/hand",
        "--outpaint", place / "runs/outpaint", "--steps", 2, "--device", "cpu", "--resamples", 10,
        "--features", "none", "--sample", "hand_attempts=1", "--sample", "guidance_scale=1", "--batch", 2,
        "--workers", 2, "--json",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "h2d", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    one, other = json.loads(done.stdout)["methods"][1], run["methods"][3]
    assert one["name"] == other["name"] == "two-stage"
    assert one["measures"]["mpjpe"]["conventions"] == other["measures"]["mpjpe"]["conventions"]
    for number in range(3):
        made, here = (load_rgb(place / at / f"methods/two-stage/pictures/{number:05d}.png") for at in ("ray", "run"))
        assert made.std() > 10, "it shows something"
        np.testing.assert_allclose(made.astype(int), here, atol=2, err_msg="batches change rounding alone")
