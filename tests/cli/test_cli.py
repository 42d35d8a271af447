"""The command's frame."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "mediapipe", "transformers", "diffusers", "cv2", "pyarrow", "pandas", "matplotlib", "scipy"}


def test_help_loads_nothing_heavy():
    code = f"import sys, h2d.cli; sys.exit(' '.join(sorted({HEAVY} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "verb", ["prepare", "status", "synth", "train", "sample", "manifest", "models", "pose", "evaluate", "doctor"]
)
def test_help_shows_the_verbs_that_work(verb):
    done = subprocess.run([sys.executable, "-m", "h2d", "--help"], capture_output=True, text=True, check=True)
    assert verb in done.stdout


def test_help_says_in_one_line_what_the_whole_tool_does():
    done = subprocess.run([sys.executable, "-m", "h2d", "--help"], capture_output=True, text=True, check=True)
    assert "Diffusion models that draw hands right: prepare data, train, sample, evaluate." in done.stdout


@pytest.mark.parametrize(
    "command",
    [("pose", "extract"), ("pose", "draw"), ("manifest", "show"), ("manifest", "export"), ("evaluate", "run")],
)
def test_help_tells_defaults_that_are_made_up(command):
    done = subprocess.run([sys.executable, "-m", "h2d", *command, "--help"], capture_output=True, text=True, check=True)
    assert "Default: " in done.stdout


def test_an_unknown_folder_is_one_line_and_exit_code_2(tmp_path):
    command = [
        sys.executable,
        "-m",
        "h2d",
        "prepare",
        "hagrid",
        "--root",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"h2d: {tmp_path}/none: no such folder: give the dataset's folder with --root"]
