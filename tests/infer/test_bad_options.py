"""Numbers that are none or out of range, devices that are not there, networks that give NaN: one line each."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_two_stage import FEW
from typer.testing import CliRunner

from h2d.cli import app
from h2d.errors import UserError
from h2d.infer.choosing import Models, models_of
from h2d.infer.loading import cast, load_models
from h2d.infer.session import Session, device_of


def run(*arguments: str):
    return CliRunner().invoke(app, ["sample", "--pose", "peace", "--prompt", "x", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--guidance", "nan"], "guidance_scale must be a number at least 1, got nan"),
        (["--guidance", "inf"], "guidance_scale must be a number at least 1, got inf"),
        (["--set", "hand_guidance_scale=0.5"], "hand_guidance_scale must be a number at least 1, got 0.5"),
        (["--steps", "1001"], "num_inference_steps must be a number from 1 to 1000, got 1001"),
        (["--set", "eta=.nan"], "eta must be a number from 0 to 1, got nan"),
        (["--set", "eta=5"], "eta must be a number from 0 to 1, got 5"),
        (["--set", "controlnet_conditioning_scale=nan"], "controlnet_conditioning_scale must be a number at least 0"),
        (["--set", "feather_px=-3"], "feather_px must be a number at least 0, got -3"),
        (["--set", "zoom_strength=nan"], "zoom_strength must be above 0 and at most 1, got nan"),
        (["--set", "blend_options.max_px=nan"], "max_px must be a number at least 0, got nan"),
        (
            ["--set", "blend_options.unmasked_steps=-1", "--blend", "naive"],
            "unmasked_steps must be a number at least 0",
        ),
        (["--set", "blend_options.unmasked_steps=-1", "--blend", "bbox"], "unmasked_steps must be a number at least 0"),
        (["--method", "controlnet", "--set", "baseline.eta=nan"], "eta must be a number from 0 to 1, got nan"),
        (
            ["--method", "controlnet", "--set", "baseline.control_scale=nan"],
            "control_scale must be a number at least 0",
        ),
        (["--blend", "soft"], "options: unknown blending 'soft': choose one of"),
        (["--hand", "none"], "none: no checkpoint of h2d train"),
        (["--pose", "wink"], "wink: no file, and no example pose: give OpenPose JSON, or one of palm, peace"),
        (["--pose", "peac"], "peac: no file, and no example pose: did you mean peace?"),
        (["--device", "cpu:x"], "device 'cpu:x': there is no such device here: give auto, cpu"),
        (["--device", "cpu:7"], "device 'cpu:7': there is no such device here: give auto, cpu"),
    ],
)
def test_out_of_range(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert isinstance(done.exception, UserError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_auto_is_apples_gpu_where_there_is_no_cuda(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [device_of(name).type for name in ("auto", "cpu", "mps")] == ["mps", "cpu", "mps"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_of("auto").type == "cuda"


def with_nan(checkpoints, tmp_path, part: str):
    shutil.copytree(checkpoints[0], tmp_path / "hand")
    (file,) = (tmp_path / "hand").rglob(f"{part}/*.safetensors")
    save_file({name: value * torch.nan for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    pipe = load_models(models_of({"hand": tmp_path / "hand", "outpaint": checkpoints[1]}))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(("part", "name"), [("unet", "hand U-Net"), ("mask_head", "mask head")])
def test_weights_that_give_nan_are_said(part, name, checkpoints, pose, tmp_path):
    with pytest.raises(UserError, match=f"the {name} gives NaN: its weights are damaged"):
        with_nan(checkpoints, tmp_path, part)("x", pose, seed=1, options=FEW)


def test_half_precision_warns_of_nothing(checkpoints, caplog):
    pipe = load_models(Models(outpaint=checkpoints[1]))
    loggers = [pipe.unet.to.__func__.__globals__["logger"]]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    cast(pipe, torch.bfloat16)
    assert {part.dtype for part in (pipe.unet, pipe.controlnet, pipe.vae, pipe.text_encoder)} == {torch.bfloat16}
    assert not caplog.records


def test_a_session_leaves_the_threads_of_its_process_alone(checkpoints, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    session = Session(Models(outpaint=checkpoints[1]), device="cpu")
    assert not asked
    from h2d.cli.start import one_thread_if_small

    assert one_thread_if_small(session) is session
    assert asked == [1]
