"""`h2d train STAGE --dry-run`: what the networks would refuse is said in one line, and nothing is written."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from h2d.cli import main
from h2d.models.tiny import write_tiny


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for channels in (4, 9):
        write_tiny(folder / f"tiny-{channels}", in_channels=channels)
    return folder


@pytest.fixture
def rehearsed(bases, small_manifest, tmp_path, monkeypatch, capsys):
    """`h2d train STAGE --dry-run` on the miniature: exit code, and what was said."""

    def run(stage: str, *options: str, told: tuple[str, ...] = ("--json",)) -> tuple[int, str, str]:
        monkeypatch.setenv("H2D_MODELS", str(bases))
        sets = [word for option in ("size_px=64", "global_batch=4", *options) for word in ("--set", option)]
        asked = ["train", stage, "--manifest", str(small_manifest), "--out", str(tmp_path / "run"), *sets]
        monkeypatch.setattr(sys, "argv", ["h2d", *asked, "--device", "cpu", "--dry-run", *told])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        assert not (tmp_path / "run").exists()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_dry_run_says_what_a_gpu_would_need(rehearsed):
    code, out, err = rehearsed("hand", "options.base=tiny", "options.mask_channels=[8, 8, 8]", "size_px=512")
    assert (code, err) == (0, "")
    assert 0.1 < json.loads(out)["gpu_gib"] < 10


def test_what_tiny_networks_need_is_no_zero(rehearsed):
    tiny = ("options.base=tiny", "options.mask_channels=[8, 8, 8]")
    assert "a GPU needs about 0" not in rehearsed("hand", *tiny, told=())[1]
    assert json.loads(rehearsed("hand", *tiny)[1])["gpu_gib"] > 0


def _without(part: str, pattern: str = "*.safetensors"):
    def harm(base: Path) -> None:
        for file in (base / part).glob(pattern):
            file.unlink()

    return harm


def _cut(base: Path) -> None:
    with (base / "unet/diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.truncate(5000)


HARMED = {
    "no-unet": ("hand", _without("unet"), "unet: holds no weights: its .safetensors file is missing"),
    "no-text": ("hand", _without("text_encoder"), "text_encoder: holds no weights"),
    "cut": ("hand", _cut, "diffusion_pytorch_model.safetensors: damaged: "),
    "no-words": ("hand", _without("tokenizer", "*.json"), "tokenizer: vocab.json is missing"),
    "no-controlnet": ("outpaint", _without("controlnet"), "controlnet: holds no weights"),
}


@pytest.mark.parametrize("name", HARMED)
def test_a_dry_run_finds_weights_that_are_missing_or_cut(rehearsed, bases, tmp_path, name):
    stage, harm, message = HARMED[name]
    shutil.copytree(bases / "tiny-4", tmp_path / "base")
    harm(tmp_path / "base")
    more = (f"options.controlnet={tmp_path / 'base'}", "options.in_channels=4", "options.min_mask_px=1")
    code, _, err = rehearsed(stage, f"options.base={tmp_path / 'base'}", *(more if stage == "outpaint" else ()))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert message in err


TINY = "options.base=tiny"
WRONG = {
    "init": ("hand", (TINY, "options.conv_in_init=foo"), "conv_in_init 'foo': choose random, zero, or"),
    "nine": ("hand", ("options.base={bases}/tiny-9",), "its U-Net takes 9 channels: give a text-to-image one, with 4"),
    "four": ("outpaint", ("options.base={bases}/tiny-4", "options.controlnet=tiny"), "takes 4 channels, not in_ch"),
    "copied": ("outpaint", (TINY, "options.controlnet=copy:{bases}/tiny-9"), "its U-Net takes 9 channels: give a"),
    "batch": ("hand", (TINY, "speed.micro_batch=3"), "global_batch = 4 is no multiple of 1 processes x 3 samples"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_dry_run_finds_what_the_networks_would_refuse(rehearsed, bases, name):
    stage, options, message = WRONG[name]
    code, _, err = rehearsed(stage, *(option.format(bases=bases) for option in options))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert message in err
