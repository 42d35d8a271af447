"""`h2d doctor`: the pins that clash, what can be run, and what is printed."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from h2d import doctor as facts
from h2d.cli.doctor import doctor
from h2d.cli.doctor_report import abilities, examine
from h2d.machine import version_of
from h2d.models.weights import WEIGHTS

GOOD = {
    "mediapipe": "0.10.21",
    "numpy": "1.26.4",
    "protobuf": "4.25.9",
    "pyarrow": "25.0.1",
    "opencv-python-headless": "4.11.0.86",
    "opencv-contrib-python": "4.11.0.86",
    "torch": "2.12.1+cu130",
    "torchvision": "0.27.1",
}


def clashes(*, has_solutions=True, torchvision_needs="torch==2.12.1", **changes):
    installed = {**GOOD, **{name.replace("_", "-"): version for name, version in changes.items()}}
    return facts.clashes(installed, has_solutions=has_solutions, torchvision_needs=torchvision_needs)


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(doctor)
    return app


@pytest.fixture
def report(monkeypatch, tmp_path):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path))
    monkeypatch.setattr(facts, "clashes", lambda *_, **__: [])
    monkeypatch.setattr(facts, "unmet_requirements", list)
    return examine()


@pytest.mark.parametrize(
    ("changes", "words", "remedy"),
    [
        ({"numpy": "2.1.0"}, "mediapipe 0.10.21 needs numpy<2, found 2.1.0", "'numpy>=1.26,<2'"),
        ({"protobuf": "5.29.6"}, "mediapipe 0.10.21 needs protobuf<5, found 5.29.6", "'protobuf<5'"),
        ({"pyarrow": "26.0.1"}, "pyarrow 26.0.1 refuses numpy 1.26.4", "'pyarrow>=17,<26'"),
        ({"opencv_python": "4.12.0.88"}, "opencv-python 4.12.0.88", "opencv-python-headless==4.12.0.88"),
        ({"torch": "2.11.0"}, "torchvision 0.27.1 is made for torch==2.12.1, found 2.11.0", "'torch==2.12.1'"),
        ({"torch": "2.12.1+cpu"}, "are a CPU and a CUDA build", "same package index"),
        (
            {"mediapipe": "0.10.35", "has_solutions": False},
            "mediapipe 0.10.35 has no `solutions`",
            "mediapipe==0.10.21",
        ),
    ],
)
def test_each_known_clash_is_named_with_its_remedy(changes, words, remedy):
    (clash,) = clashes(**changes)
    assert words in clash.problem
    assert remedy in clash.remedy
    assert clash.breaks
    assert "\n" not in clash.problem + clash.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mediapipe": None, "numpy": "2.3.1", "pyarrow": "26.0.1", "protobuf": "6.1", "has_solutions": False},
        {"torchvision": None, "torchvision_needs": None},
        {"torch": "2.12.1+cpu", "torchvision": "0.27.1+cpu"},
        {"opencv_contrib_python": None},
        {name.replace("-", "_"): None for name in GOOD},
    ],
)
def test_good_combinations_have_none(changes):
    assert clashes(**changes) == []


def test_the_facts_of_this_machine_make_sense():
    here = facts.machine(facts.Path("."))
    assert here.cores > 0
    assert 1e8 < (here.memory_available_bytes or 1e9) <= here.memory_bytes
    assert here.disk_free_bytes > 0
    assert version_of("numpy")
    assert version_of("no-such-distribution") is None


def test_a_containers_limits_count(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("500000000\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr(facts, "_control_groups", lambda: [tmp_path])
    here = facts.machine(tmp_path)
    assert (here.cores, here.memory_bytes) == (0.5, 2_000_000_000)
    assert here.memory_available_bytes == 1_500_000_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    here = facts.machine(tmp_path)
    assert here.memory_bytes != 2_000_000_000
    assert here.cores >= 1


def test_torch_is_asked_only_where_a_gpu_may_be_and_cannot_take_us_down(monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "GPU_NODES", (str(tmp_path / "nvidia0"),))
    monkeypatch.setattr(facts, "GPU_QUESTION", "raise SystemExit('must not be asked')")
    assert facts.gpus() == ([], None)
    (tmp_path / "nvidia0").touch()
    for question, words in [
        ("raise RuntimeError('driver too old')", "torch fails: RuntimeError: driver too old"),
        ("import os; os.abort()", "torch fails: "),
        ("pass", "torch sees no GPU"),
        ("import time; time.sleep(30)", "did not answer"),
    ]:
        monkeypatch.setattr(facts, "GPU_QUESTION", question)
        devices, problem = facts.gpus(timeout_s=2.0 if "sleep" in question else 30.0)
        assert not devices
        assert words in problem
    monkeypatch.setattr(facts, "GPU_QUESTION", "print('NVIDIA H100|85000000000')")
    assert facts.gpus() == ([facts.Gpu(name="NVIDIA H100", memory_bytes=85_000_000_000)], None)


def test_abilities_follow_from_what_is_here(report):
    report = replace(
        report,
        packages={**report.packages, "mediapipe": "0.10.21", "segment-anything": "1.0", "ray": "2.60.0"},
        models=dict.fromkeys(WEIGHTS),
        mediapipe_models_missing=[],
        gpus=[],
        gpu_problem=None,
    )

    def said(**changes):
        return {each.name: (each.ready, each.note) for each in abilities(replace(report, **changes))}

    bare = said()
    assert bare["keypoints"][0]
    assert bare["masks, grabcut"][0]
    assert bare["captions, template"][0]
    assert bare["masks, SAM"] == (False, "no weights: h2d models fetch sam-vit-h")
    assert bare["captions, LLaVA"] == (False, "no weights: h2d models fetch llava-1.5-7b")
    assert bare["GPU"] == (False, "none on this machine")
    assert bare["sampling, miniature"][0]
    assert bare["sampling, untrained"] == (False, "no weights: h2d models fetch controlnet-hands")
    assert bare["other methods"] == (False, "no weights: see h2d models list")
    assert bare["training, tiny"][0]
    assert bare["training"] == (False, "no weights: h2d models fetch stable-diffusion-1.5")
    assert bare["FID and KID"] == (False, "no weights: h2d models fetch inception-v3-fid")
    trained_from = dict.fromkeys(("stable-diffusion-1.5", "sd-1.5-inpainting", "control-openpose-1.1"), "/m")
    started = said(models={**report.models, **trained_from})
    assert started["training"] == (True, "hand and outpaint; slow without a GPU")
    assert started["other methods"] == (True, "stable-diffusion, controlnet; slow without a GPU")
    assert not started["sampling, untrained"][0]
    assert said(models=dict.fromkeys(WEIGHTS, "/m"))["sampling, untrained"][0]
    here = {**report.models, "sam-vit-b": "/m/b.pth", "llava-1.5-7b": "/m/llava"}
    large = replace(report.machine, memory_bytes=64_000_000_000)
    assert said(models=here, machine=large)["masks, SAM"] == (True, "sam-vit-b; slow without a GPU")
    assert said(models=here, machine=large)["captions, LLaVA"][0]
    small = [facts.Gpu(name="GTX 1080", memory_bytes=8_000_000_000)]
    assert said(models=here, gpus=small)["captions, LLaVA"][1] == "needs about 16 GB of GPU memory, there are 8.0 GB"
    assert said(models=here, gpus=small)["masks, SAM"] == (True, "sam-vit-b")
    assert said(models=here, gpus=small)["GPU"] == (True, "GTX 1080")
    without = {**report.packages, "mediapipe": None, "segment-anything": None}
    assert "hand-to-diffusion[annotate]" in said(packages=without)["keypoints"][1]
    assert "hand-to-diffusion[annotate]" in said(packages=without)["masks, SAM"][1]
    clash = facts.Clash(problem="a", remedy="b", breaks=("keypoints",))
    assert said(clashes=[clash])["keypoints"] == (False, "packages clash, see above")
    assert said(clashes=[clash])["masks, grabcut"][0]


def test_the_exit_code_says_whether_packages_clash(command, report, monkeypatch):
    assert CliRunner().invoke(command).exit_code == 0
    clash = facts.Clash(problem="numpy [bold]2[/bold] clashes", remedy="pip install 'numpy<2'", breaks=("keypoints",))
    monkeypatch.setattr(facts, "clashes", lambda *_, **__: [clash])
    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "clash: numpy [bold]2[/bold] clashes" in result.stdout
    assert "remedy: pip install 'numpy<2'" in result.stdout


@pytest.mark.parametrize("columns", ["80", "120"])
def test_no_line_is_wider_than_the_terminal(command, report, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    result = CliRunner().invoke(command)
    for heading in ("Packages", "Machine", "Models", "Ready for"):
        assert heading in result.stdout
    own_folder = [line for line in result.stdout.splitlines() if not line.startswith("looked in ")]
    assert max(len(line) for line in own_folder) <= int(columns)


def test_json_is_the_whole_report(command, report):
    answer = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert answer["packages"]["numpy"] == version_of("numpy")
    assert set(answer["models"]) == set(WEIGHTS)
    assert {"name", "ready", "note"} == set(answer["ready"][0])
    assert answer["clashes"] == []


def test_nothing_heavy_is_imported():
    heavy = "{'torch', 'ray', 'mediapipe', 'transformers', 'diffusers', 'cv2', 'pyarrow'}"
    code = f"import sys, h2d.doctor, h2d.models.weights; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
