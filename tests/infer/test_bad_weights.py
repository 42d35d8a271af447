"""Weights that are damaged, pickled, of another shape or of another kind are one line that names them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from h2d.errors import UserError
from h2d.infer.choosing import Models, models_of
from h2d.infer.session import Session


def opened(**named) -> Session:
    return Session(models_of(named), device="cpu")


def said_of(**named) -> str:
    with pytest.raises(UserError) as caught:
        opened(**named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def runs(checkpoints, tmp_path) -> Path:
    """A copy of both runs that may be damaged; their bases stay where they are."""
    for run in checkpoints:
        shutil.copytree(run, tmp_path / run.name)
    return tmp_path


def model(runs: Path, stage: str) -> Path:
    return runs / stage / "checkpoints" / "step-0000001" / "model"


def weights_of(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def widened(file: Path) -> None:
    state = load_file(file)
    name = min(state)
    save_file({**state, name: torch.zeros([size + 1 for size in state[name].shape])}, file, metadata={"format": "pt"})


def lacking(file: Path) -> None:
    state = load_file(file)
    del state[min(state)]
    save_file(state, file, metadata={"format": "pt"})


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def pickled(file: Path) -> None:
    file.rename(file.with_suffix(".bin"))


def gone(file: Path) -> None:
    file.unlink()


def unsettled(file: Path) -> None:
    (file.parent / "config.json").write_text("{")


DAMAGE = {
    widened: "not weights of this",
    lacking: "is missing: it is not a whole",
    halved: ".safetensors: damaged: ",
    pickled: ".bin: pickled weights can run code when they are read: h2d models convert ",
    gone: "holds no weights: its .safetensors file is missing",
    unsettled: "config.json: damaged: ",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["hand/unet", "hand/mask_head", "outpaint/controlnet"])
def test_of_a_run(part, damage, runs):
    stage, name = part.split("/")
    damage(weights_of(model(runs, stage) / name))
    said = said_of(hand=runs / "hand", outpaint=runs / "outpaint")
    assert DAMAGE[damage] in said
    assert str(model(runs, stage) / name) in said


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_of_a_base(part, damage, runs, checkpoints):
    base = runs / "base"
    shutil.copytree(checkpoints[0].parent / "base-9", base)
    damage(weights_of(base / part))
    said = said_of(hand=runs / "hand", outpaint=runs / "outpaint", base=str(base))
    assert DAMAGE[damage] in said
    assert str(base / part) in said


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_saved_pipeline(damage, loaded, tmp_path):
    loaded.save_pretrained(tmp_path)
    damage(weights_of(tmp_path / "hand_text_encoder"))
    said = said_of(pipeline=tmp_path)
    assert DAMAGE[damage] in said
    assert str(tmp_path / "hand_text_encoder") in said


@pytest.mark.parametrize("flag", ["hand_controlnet", "outpaint"])
def test_of_a_public_controlnet(flag, runs, checkpoints):
    base = checkpoints[0].parent / "base-4"
    shutil.copytree(base / "controlnet", runs / "public")
    pickled(weights_of(runs / "public"))
    named = {"outpaint": runs / "outpaint", "hand_base": str(base), "base": str(base), flag: runs / "public"}
    assert "public/diffusion_pytorch_model.bin: pickled weights can run code" in said_of(**named)
    said = said_of(**{**named, flag: base / "unet"})
    assert said == f"{base / 'unet'}: holds a UNet2DConditionModel: give a ControlNetModel"
    assert "nowhere: no" in said_of(**{**named, flag: Path("nowhere")})


@pytest.mark.parametrize("text", ["{", "[]", '{"stage": "hand"}', '{"stage": "hand", "base": "x", "config": 3}'])
def test_facts_of_a_run(text, runs):
    (model(runs, "hand") / "h2d.json").write_text(text)
    assert "model/h2d.json: " in said_of(hand=runs / "hand", outpaint=runs / "outpaint")


def test_a_run_without_its_scheduler(runs):
    shutil.rmtree(model(runs, "outpaint") / "scheduler")
    said = said_of(hand=runs / "hand", outpaint=runs / "outpaint")
    assert "model/scheduler/scheduler_config.json: no such file: it is not a whole checkpoint" in said


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
def test_a_base_in_one_file_that_is_none(name, runs):
    (runs / name).write_bytes(b"\x80\x02}q\x00.")
    said = said_of(hand=runs / "hand", outpaint=runs / "outpaint", base=str(runs / name))
    assert said.startswith(f"{runs / name}: {'damaged' if name.endswith('safetensors') else 'pickled'}")


def test_no_saved_pipeline(loaded, tmp_path):
    assert "nowhere: no saved pipeline: model_index.json is missing" in said_of(pipeline=tmp_path / "nowhere")
    loaded.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    known = json.loads(index.read_text())

    def said_with(**changes) -> str:
        index.write_text(json.dumps({**known, **changes}))
        return said_of(pipeline=tmp_path)

    assert said_with(_class_name="Other").endswith("holds a Other: give a saved TwoStagePipeline")
    assert "os is no scheduler of diffusers" in said_with(scheduler=["os", "os"])
    assert "cannot be read as TwoStagePipeline" in said_with(unheard_of=3)
    assert "unknown part of a pipeline 'safety_checker'" in said_with(safety_checker=["diffusers", "Any"])
    index.write_text("[")
    assert "model_index.json: damaged: " in said_of(pipeline=tmp_path)


def test_networks_that_do_not_go_together(runs, checkpoints):
    said = said_of(hand=runs / "hand", outpaint=runs / "outpaint", base="miniature-base")
    assert said.startswith("controlnet: reads words 32 values wide, the text encoder gives 64: name the base")
    base = checkpoints[0].parent / "base-4"
    shutil.copytree(base / "unet", model(runs, "hand") / "unet", dirs_exist_ok=True)
    said = said_of(hand=runs / "hand", outpaint=runs / "outpaint")
    assert said.startswith("hand_unet: takes 4 channels, not 15")


def test_whole_ones_are_read(checkpoints):
    assert opened(hand=checkpoints[0], outpaint=checkpoints[1]).pipe.hand_unet is not None
    assert Session(Models(outpaint=checkpoints[1]), device="cpu").pipe.hand_unet is None
