"""The stage that trains the miniature's keypoint network: points follow their pixels, and a run leaves a detector."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_studio import STUDIO
from stand_in import Silent
from typer.testing import CliRunner

from h2d.annotate.keypoints.miniature import MiniatureDetector
from h2d.annotate.keypoints.network import PICTURE_PX, logits_of, points_of
from h2d.cli import app
from h2d.config import validate_config
from h2d.errors import UserError
from h2d.models.checkpoint import read_facts
from h2d.models.miniature import MiniatureSizes, write_base
from h2d.pose.layouts import FLIP, LEFT_HAND, NUM_POINTS
from h2d.synth.generate import generate
from h2d.train.config import TrainConfig
from h2d.train.keypoints import PREVIEW_PX, KeypointsExamples, KeypointsOptions, KeypointsStage
from h2d.train.loop import train
from h2d.train.stage import Batch

SMALL = {"channels": (16, 16, 16, 16)}


def spotted(size_hw=(300, 240), *, missing=(), seed=0) -> dict:
    """A black picture with a white spot at its first point."""
    random = np.random.default_rng(seed)
    places = random.uniform(0.3, 0.7, (NUM_POINTS, 2)) * size_hw[::-1]
    body = np.concatenate([places, np.ones((NUM_POINTS, 1))], axis=1).astype(np.float32)
    for point in missing:
        body[point] = (np.nan, np.nan, 0)
    return {"id": "a", "image": _spots(size_hw, body[:1]), "body": body}


def _spots(size_hw, points) -> bytes:
    across, down = np.meshgrid(np.arange(size_hw[1]) + 0.5, np.arange(size_hw[0]) + 0.5)
    light = sum(np.exp(-((across - x) ** 2 + (down - y) ** 2) / 50) for x, y, _ in points)
    picture = np.clip(255 * light, 0, 255).astype(np.uint8)
    return cv2.imencode(".png", cv2.merge([picture] * 3))[1].tobytes()


def brightest(image: torch.Tensor) -> np.ndarray:
    """The middle of the light, x and y in pixels."""
    light = image.numpy().astype(np.float64).sum(axis=0)
    light = np.clip(light - 0.5 * light.max(), 0, None)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size_hw", [(300, 240), (128, 128), (96, 90)])
def test_points_follow_their_pixels(size_hw, training):
    make = KeypointsExamples(options=KeypointsOptions(flip=0.5))
    row, sides = spotted(size_hw), set()
    for seed in range(12 if training else 1):
        example = make(row, np.random.default_rng(seed), training=training)
        first = example["points"][0]
        assert example["image"].shape == (3, PICTURE_PX, PICTURE_PX)
        assert np.abs(brightest(example["image"]) - first[:2].numpy()).max() < 0.7
        mirrored = int(np.linalg.det(_affine(row["body"], example["points"].numpy())) < 0)
        sides.add(mirrored)
    assert sides == ({0, 1} if training else {0})


def _affine(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The linear part of what moved the points of the face's middle line, which no mirror exchanges."""
    lone = [point for point in range(NUM_POINTS) if FLIP[point] == point]
    known = np.column_stack([before[lone, :2], np.ones(len(lone))])
    return np.linalg.lstsq(known, after[lone, :2], rcond=None)[0][:2]


def test_a_mirrored_persons_hands_swap_sides():
    make = KeypointsExamples(options=KeypointsOptions(flip=1, turn_degrees=0, shift=0, zoom=(1, 1)))
    row = spotted(missing=range(LEFT_HAND.start, LEFT_HAND.stop))
    seen = make(row, np.random.default_rng(0), training=True)["points"]
    assert (seen[LEFT_HAND, 2] == 1).all()
    assert (seen[LEFT_HAND.stop :, 2] == 0).all()


def test_the_same_random_numbers_give_the_same_example():
    make, row = KeypointsExamples(options=KeypointsOptions()), spotted()
    one, same, other = (make(row, np.random.default_rng(seed), training=True) for seed in (1, 1, 2))
    assert torch.equal(one["image"], same["image"])
    assert torch.equal(one["points"], same["points"])
    assert not torch.equal(one["image"], other["image"])


def test_two_people_are_learnt_by_heart():
    stage = KeypointsStage(validate_config(KeypointsOptions, SMALL, where="options"))
    networks, make = stage.build(seed=0), stage.examples()
    rows = [spotted((128, 128)), spotted((128, 128), missing=range(1, 40), seed=1)]
    examples = [make(row, np.random.default_rng(0), training=False) for row in rows]
    tensors = {key: torch.stack([example[key] for example in examples]) for key in examples[0]}
    tensors["image"] = tensors["image"].float() / 127.5 - 1
    batch = Batch(tensors=tensors, ids=("a", "b"))
    optimizer = torch.optim.AdamW(networks.trained.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = stage.loss(networks, batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]
    with torch.no_grad():
        read = points_of(logits_of(networks.trained["network"].eval(), tensors["image"]))
    there = tensors["points"][..., 2] > 0
    apart = (read - tensors["points"])[..., :2].norm(dim=-1)[there]
    assert apart.median() < 3
    seen, missing = read[there][:, 2], read[~there][:, 2]
    surer = (seen[:, None] > missing).float().mean()
    assert surer > 0.9, "of two points, one there and one not; how sure depends on the processor's rounding"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "set"
    generate("manifest", root, count=6, seed=2, size_px=96, workers=1, studio=STUDIO)
    return root


def config(drawn, out, **changes) -> TrainConfig:
    settings = {
        "stage": "keypoints",
        "out": out,
        "data": {"manifests": [drawn]},
        "steps": 2,
        "global_batch": 2,
        "size_px": 128,
        "device": "cpu",
        "options": {**SMALL, "through_share": 1.0},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1},
        "speed": {"loader_workers": 0},
        "output": {"checkpoint_every": 0, "preview_every": 2, "validate_every": 2, "num_previews": 2},
    }
    return validate_config(TrainConfig, {**settings, **changes}, where="config")


def test_a_run_leaves_a_network_that_the_detector_opens(drawn, tmp_path):
    base = tmp_path / "base"
    sizes = MiniatureSizes(unet_channels=(16, 32), vae_channels=(8, 8, 8), text_width=16, text_layers=1, text_heads=2)
    write_base(base, ["a person"], sizes)
    out = tmp_path / "run"
    options = {**SMALL, "through": str(base), "through_share": 1.0}
    outcome = train(config(drawn, out, options=options), Silent())
    assert read_facts(outcome.model)["stage"] == "keypoints"
    preview = cv2.imread(str(next((out / "previews").glob("*.png"))))
    assert preview.shape[1] == 3 * PREVIEW_PX, "the picture, its points, those that are read"
    detector = MiniatureDetector(weights=outcome.model / "network")
    detector.setup()
    found = detector.detect(np.zeros((128, 128, 3), np.uint8), np.zeros((0, 4), np.float32))
    assert found.body.shape == (NUM_POINTS, 3)


def test_pictures_that_go_through_the_autoencoder_are_not_the_same(tmp_path):
    base = tmp_path / "base"
    sizes = MiniatureSizes(unet_channels=(16, 32), vae_channels=(8, 8, 8), text_width=16, text_layers=1, text_heads=2)
    write_base(base, ["a person"], sizes)
    stage = KeypointsStage(validate_config(KeypointsOptions, {**SMALL, "through": str(base)}, where="options"))
    networks = stage.build(seed=0)
    image = torch.rand(2, 3, 128, 128) * 2 - 1
    batch = Batch(tensors={"image": image, "decoded": torch.tensor([0.0, 1.0])}, ids=("a", "b"))
    shown = stage._shown(networks, batch)
    assert torch.equal(shown[0], image[0])
    assert not torch.equal(shown[1], image[1])


@pytest.mark.parametrize(
    ("option", "message"), [({"flip": 2}, "flip must be from 0 to 1"), ({"zoom": [2, 1]}, "zoom must be two rising")]
)
def test_options_that_cannot_be_are_one_line(option, message):
    with pytest.raises(UserError, match=message):
        validate_config(KeypointsOptions, option, where="options")


def test_the_command_knows_the_networks_size(drawn, tmp_path):
    done = CliRunner().invoke(
        app, ["train", "keypoints", "--manifest", str(drawn), "--out", str(tmp_path), "--dry-run"]
    )
    assert done.exit_code == 0, done.output
    assert "Nothing was written" in done.output


def test_another_size_is_refused_before_the_first_step(drawn, tmp_path):
    with pytest.raises(UserError, match=r"size_px = 64: .*128"):
        train(config(drawn, tmp_path / "run", size_px=64), Silent())
