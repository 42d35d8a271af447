"""Both stages, made small: examples of rows, a finite loss with gradients where they belong, preview and save."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel

from h2d.images import encode_jpeg
from h2d.manifests.rle import decode_rle, encode_rle
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
    never = HandStage(HandOptions(base="tiny", mask_drop=0.0), size_px=SIZE)
    shown = batch_of(never, [hand_row()], training=True)
    for batch, highest in ((plain, 0), (changed, 0), (shown, 1), (stage.other_cases(plain)["mask_shown"], 1)):
        assert stage.condition(batch)[:, 10].max() == pytest.approx(highest)
    assert not torch.equal(plain["tokens"], changed["tokens"])
    torch.testing.assert_close(changed["mask"], plain["mask"].flip(-1))
    torch.testing.assert_close(changed["hands"][:, 1, :, 0], SIZE - plain["hands"][:, 0, :, 0])
    torch.testing.assert_close(plain["noise"], changed["noise"])


def test_shifted_colours_leave_masks_points_and_skeletons_alone():
    stages = (
        (HandStage(HandOptions(base="tiny", augment=True), size_px=SIZE), hand_row(), ("mask", "hands")),
        (
            OutpaintStage(OutpaintOptions(base="tiny", controlnet="tiny", augment=True), size_px=SIZE),
            body_row(),
            ("mask", "skeleton"),
        ),
    )
    for stage, row, places in stages:
        examples = stage.examples()
        plain = examples(row, np.random.default_rng(0), training=False)
        changed = [examples(row, np.random.default_rng(seed), training=True) for seed in range(6)]
        assert any(not torch.equal(one["image"], plain["image"]) for one in changed)
        for one in changed:
            for name in places:
                np.testing.assert_array_equal(one[name], plain[name])


def plain_example(row: dict, options: OutpaintOptions) -> dict[str, np.ndarray]:
    """The pixels of an outpainter's example, each step on whole arrays of its own."""
    picture = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR_RGB)
    left, top, side = square_around(row["body"], picture.shape[:2])
    masks = [decode_rle(row[name]) for name in ("mask_left", "mask_right") if row[name] is not None]
    cut = [np.ascontiguousarray(whole[top : top + side, left : left + side]) for whole in (picture, *masks)]
    mask = np.any(cut[1:], axis=0).astype(np.uint8)
    mask = cv2.dilate(mask, np.ones((options.dilation_px, options.dilation_px), np.uint8)) * np.uint8(255)
    assert SIZE <= side <= 2 * SIZE, "else by area"
    square, levels = (cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for part in (cut[0], mask))
    kept = (levels >= 128) & (options.keep == "hands")
    return {"image": square.transpose(2, 0, 1), "mask": (kept * np.uint8(255))[None]}


@pytest.mark.parametrize("keep", ["hands", "nothing"])
@pytest.mark.parametrize("size_hw", [(96, 128), (150, 100), (SIZE, SIZE)])
def test_examples_of_the_outpainter_are_those_of_plain_steps_to_the_bit(size_hw, keep):
    """Hands cross the edges of the square: what lies beyond them must not be dilated into it."""
    options = OutpaintOptions(base="tiny", controlnet="tiny", keep=keep)
    examples = OutpaintStage(options, size_px=SIZE).examples()
    random = np.random.default_rng(0)
    for number in range(12):
        masks = np.zeros((2, *size_hw), np.uint8)
        for mask in masks:
            cv2.circle(mask, random.integers((0, 0), size_hw[::-1]).tolist(), int(random.integers(3, 40)), 1, -1)
        sides = [encode_rle(mask.astype(bool)) if number % 3 != side else None for side, mask in enumerate(masks)]
        picture = cv2.resize(random.integers(0, 255, (6, 8, 3)).astype(np.uint8), size_hw[::-1])
        body = np.column_stack([random.normal(random.uniform((0, 0), size_hw[::-1]), 9, (133, 2)), np.ones(133)])
        row = {
            "id": "body", "image": encode_jpeg(picture), "body": body.astype(np.float32), "mask_left": sides[0],
            "mask_right": sides[1], "caption": None,
        }  # fmt: skip
        example = examples.fixed(row, None)
        for name, values in plain_example(row, options).items():
            assert np.array_equal(example[name].numpy(), values), (number, name)


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
