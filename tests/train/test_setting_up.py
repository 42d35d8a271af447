"""What makes a step fast or small changes no number, and what does not fit is refused."""

from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from stand_in import StandIn, StandInOptions, stand_in_config
from test_stages import SIZE, batch_of, body_row, hand_row

from h2d.errors import UserError
from h2d.train.hand import HandOptions, HandStage
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.setting_up import check_gpu_memory, place

STAGES = {
    "hand": (HandStage(HandOptions(base="tiny", mask_channels=(8, 8, 8)), size_px=SIZE), hand_row),
    "outpaint": (OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny"), size_px=SIZE), body_row),
}


@pytest.fixture(autouse=True)
def models(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path_factory.getbasetemp() / "tiny_models"))


@pytest.mark.parametrize(("setting", "tolerance"), [("gradient_checkpointing", 1e-6), ("channels_last", 1e-3)])
@pytest.mark.parametrize("name", STAGES)
def test_loss_and_gradients_stay_the_same(name, setting, tolerance, tmp_path):
    """To the last digits where the same is computed twice, to rounding where sums go another way."""
    stage, row = STAGES[name]
    found = []
    for speed in ({}, {setting: True}):
        networks = stage.build(seed=0)
        place(networks, stand_in_config(tmp_path, tmp_path, speed=speed), Accelerator(cpu=True))
        networks.trained.train()
        if setting == "channels_last":
            wide = [weight for weight in networks.trained.parameters() if weight.dim() == 4 and min(weight.shape) > 1]
            assert all(weight.is_contiguous(memory_format=torch.channels_last) == bool(speed) for weight in wide)
        loss = stage.loss(networks, batch_of(stage, [row()])).total
        loss.backward()
        found.append((loss.detach(), [weight.grad for weight in networks.trained.parameters()]))
    (plain, plain_gradients), (other, other_gradients) = found
    torch.testing.assert_close(other, plain, rtol=tolerance, atol=0)
    largest = max(float(gradient.abs().max()) for gradient in plain_gradients)
    torch.testing.assert_close(other_gradients, plain_gradients, rtol=0, atol=tolerance * largest)


def test_a_run_that_does_not_fit_the_gpu_is_refused_and_on_a_cpu_none_is(tmp_path, monkeypatch):
    stage = StandIn(StandInOptions(), size_px=64)
    networks, config = stage.build(seed=0), stand_in_config(tmp_path, tmp_path)
    free = {"cuda": 1000, "cpu": 0}

    def check(device: str) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda asked: (free[asked.type], 0))
        accelerator = Mock(spec=Accelerator, device=torch.device(device), mixed_precision="bf16")
        check_gpu_memory(networks, stage, config, accelerator, 4)

    check("cpu")
    with pytest.raises(UserError, match="of GPU memory at micro-batch 4"):
        check("cuda")
    free["cuda"] = 80 * 2**30
    check("cuda")
