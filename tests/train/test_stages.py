"""Both stages, made small: examples of rows, a finite loss with gradients where they belong, preview and save."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel

from h2d.images import encode_jpeg
from h2d.manifests.rle import encode_rle
from h2d.models.hand_generator import HandGenerator
from h2d.models.outpainter import Outpainter
from h2d.pose.squares import square_around
from h2d.train.hand import HandOptions, HandStage
from h2d.train.loading import on_device
from h2d.train.outpaint import OutpaintOptions, OutpaintStage
from h2d.train.stage import Batch

SIZE = 64


@pytest.fixture(autouse=True)
def models(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path_factory.getbasetemp() / "tiny_models"))


def hand_row(number: int = 0) -> dict:
    random = np.random.default_rng(number)
    left = np.column_stack([random.uniform(100, 400, (21, 2)), np.ones(21)]).astype(np.float32)
    right = np.full((21, 3), np.nan, np.float32)
    right[:, 2] = 0
    mask = np.zeros((512, 512), bool)
    top, side = int(random.integers(50, 200)), int(random.integers(100, 250))
    mask[top : top + side, top : top + side] = True
    picture = np.full((512, 512, 3), 90, np.uint8)
    picture[mask] = random.integers(120, 255, 3)
    return {
        "id": f"hand{number}", "image": encode_jpeg(picture), "keypoints_left": left, "keypoints_right": right,
        "mask": encode_rle(mask), "caption": "a hand",
    }  # fmt: skip


def body_row() -> dict:
    random = np.random.default_rng(1)
    body = np.column_stack([random.uniform(20, 80, (133, 2)), np.ones(133)]).astype(np.float32)
    mask = np.zeros((96, 128), bool)
    mask[40:60, 40:60] = True
    picture = random.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    return {
        "id": "body", "image": encode_jpeg(picture), "body": body, "mask_left": encode_rle(mask), "mask_right": None,
        "caption": None,
    }  # fmt: skip


def batch_of(stage, rows, *, training=True) -> Batch:
    make = stage.examples()
    examples = [make(row, np.random.default_rng(number), training=training) for number, row in enumerate(rows)]
    tensors = {key: torch.stack([example[key] for example in examples]) for key in examples[0]}
    return on_device(Batch(tensors=tensors, ids=tuple(row["id"] for row in rows)), torch.device("cpu"))


def test_hand_stage_walks(tmp_path):
    stage = HandStage(HandOptions(base="tiny", mask_channels=(16, 8, 8)), size_px=SIZE)
    stage.check()
    networks = stage.build(seed=0)
    networks.frozen.requires_grad_(False)
    batch = batch_of(stage, [hand_row(0), hand_row(1)])
    losses = stage.loss(networks, batch)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert losses.per_sample.shape == (2,)
    torch.testing.assert_close(losses.total.detach(), losses.parts["noise"] + 0.5 * losses.parts["mask"])
    assert all(weight.grad is not None for weight in networks.trained.parameters())
    with torch.no_grad():
        assert stage.preview(networks, batch).shape == (2 * SIZE, 4 * SIZE, 3)
    stage.save(networks, tmp_path, {"manifest": "abc"})
    assert HandGenerator.from_pretrained(tmp_path).unet.config["in_channels"] == 15
    plain = UNet2DConditionModel.from_pretrained(tmp_path / "unet").state_dict()
    trained = networks.trained["generator"].unet.state_dict()
    assert all(torch.equal(weight, trained[name]) for name, weight in plain.items())
    assert DDIMScheduler.from_pretrained(tmp_path / "scheduler").config["beta_schedule"] == "scaled_linear"


@pytest.mark.parametrize("in_channels", [4, 9])
def test_outpaint_stage_walks_and_trains_the_controlnet_alone(tmp_path, in_channels):
    options = OutpaintOptions(base="tiny", controlnet="tiny", in_channels=in_channels, control_mask=in_channels == 4)
    stage = OutpaintStage(options, size_px=SIZE)
    stage.check()
    networks = stage.build(seed=0)
    networks.frozen.requires_grad_(False)
    batch = batch_of(stage, [body_row()])
    losses = stage.loss(networks, batch)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert any(weight.grad.abs().max() > 0 for weight in networks.trained.parameters() if weight.grad is not None)
    with torch.no_grad():
        assert stage.preview(networks, batch).shape == (SIZE, 4 * SIZE, 3)
    stage.save(networks, tmp_path, {})
    Outpainter.from_pretrained(tmp_path)
    plain = ControlNetModel.from_pretrained(tmp_path / "controlnet").state_dict()
    trained = networks.trained["outpainter"].controlnet.state_dict()
    assert all(torch.equal(weight, trained[name]) for name, weight in plain.items())


def test_masks_and_captions_are_dropped_by_sample_and_flips_swap_sides():
    always = HandOptions(base="tiny", mask_drop=1.0, caption_dropout=1.0, flip=1.0)
    stage = HandStage(always, size_px=SIZE)
    plain = batch_of(stage, [hand_row()], training=False)
    changed = batch_of(stage, [hand_row()], training=True)
    assert plain["mask_shown"] == 1
    assert changed["mask_shown"] == 0
    assert stage.condition(changed)[:, 10].abs().max() == 0
    assert not torch.equal(plain["tokens"], changed["tokens"])
    torch.testing.assert_close(changed["mask"], plain["mask"].flip(-1))
    torch.testing.assert_close(changed["hands"][:, 1, :, 0], SIZE - plain["hands"][:, 0, :, 0])
    torch.testing.assert_close(plain["noise"], changed["noise"])


def test_usable_rows():
    hands = pa.table({"id": ["a", "b", "c"], "mask_px": pa.array([5, None, 0], pa.int32())})
    assert HandStage(HandOptions()).usable(hands).tolist() == [True, False, False]
    images = pa.table({
        "id": ["a", "b", "c"], "persons": [1, 2, 1], "mask_left_px": [2000, 9000, 100], "mask_right_px": [600, 0, None],
    })  # fmt: skip
    assert OutpaintStage(OutpaintOptions()).usable(images).tolist() == [True, False, False]


def test_square_follows_the_person():
    points = np.ones((133, 3), np.float32) * (190, 30, 1)
    assert square_around(points.astype(np.float32), (100, 200)) == (100, 0, 100)
