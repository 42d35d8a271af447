"""The command's frame."""

import subprocess
import sys

import pytest

from h2d import __version__
from h2d.cli import main

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


def test_the_version_is_one_line():
    done = subprocess.run([sys.executable, "-m", "h2d", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"h2d {__version__}\n"


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


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("sample peace", "got unexpected extra argument (peace): h2d sample --help shows what it takes"),
        ("sample --pose", "option '--pose' requires an argument"),
        (
            "sample --seed -1",
            "invalid value '-1' for '--seed': Input should be greater than or equal to 0:"
            " h2d sample --help shows what it takes",
        ),
        (
            "sample --stepz 3",
            "no such option: --stepz (Possible options: --set, --size, --steps): h2d sample --help shows what it takes",
        ),
        ("evaluate run", "missing option '--list': h2d evaluate run --help shows what it takes"),
        (
            "--device cpu sample",
            "no such option: --device: h2d --help lists the commands; options come after one",
        ),
        (
            "pose drew",
            "no such command 'drew'. Did you mean 'draw'? h2d pose --help lists the commands; options come after one",
        ),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_exit_code_2(typed, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["h2d", *typed.split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"h2d: {line}"]


def test_a_group_alone_shows_its_help_and_nothing_else(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["h2d", "pose"])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    assert (end.value.code, told.err) == (2, "")
    assert "Usage: h2d pose" in told.out
