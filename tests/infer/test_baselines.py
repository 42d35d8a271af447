"""Every method in the table, small, on random weights in the formats that are published."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from poses import pose_of

from h2d.errors import UserError
from h2d.infer.baselines import BASELINES, NEEDS, OWN_OPTIONS
from h2d.infer.baselines.base import SAMPLING_FILE, Baseline, BaselineOptions
from h2d.models.shipped import find_shipped
from h2d.models.tiny import write_tiny
from h2d.models.tiny_ldm import write_tiny_adapter, write_tiny_hand_control, write_tiny_humansd
from h2d.models.weights import WEIGHTS
from h2d.registry import resolve

SIZE = 64


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A models folder that holds everything, by the names of the table."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny(folder / "stable-diffusion-1.5")
    write_tiny(folder / "sd-1.5-inpainting", in_channels=9, seed=1)
    shutil.copytree(folder / "stable-diffusion-1.5", folder / "sd-2.1-base")
    shutil.rmtree(folder / "stable-diffusion-1.5" / "controlnet")
    for name in ("stable-diffusion-1.5", "sd-1.5-inpainting", "sd-2.1-base"):
        (folder / name / "model_index.json").write_text("{}")
    shutil.copytree(folder / "sd-2.1-base" / "controlnet", folder / "control-openpose-1.1")
    steer(folder / "control-openpose-1.1")
    # Of HumanSD's base the U-Net's configuration is enough.
    for file in (folder / "sd-2.1-base" / "unet").glob("*.safetensors"):
        file.unlink()
    write_tiny_adapter(folder / "t2i-adapter-openpose", seed=2)
    write_tiny_humansd(folder / "humansd" / "humansd-v1.safetensors", seed=3)
    write_tiny_hand_control(folder / "handrefiner-control" / WEIGHTS["handrefiner-control"].files[0].path, seed=4)
    return folder


def steer(folder: Path) -> None:
    """Draw a ControlNet's last layers: of zeros the skeleton would have no effect."""
    from diffusers import ControlNetModel

    controlnet = ControlNetModel.from_pretrained(folder)
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in controlnet.named_parameters():
            if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding")):
                weight.copy_(0.1 * torch.randn(weight.shape, generator=random))
    controlnet.save_pretrained(folder)


@pytest.fixture(autouse=True)
def _sizes_of_the_miniatures(monkeypatch):
    """The table states the bytes of the real files; these are smaller."""
    from dataclasses import replace

    for name, entry in WEIGHTS.items():
        small = tuple(
            replace(file, size_bytes=None, sha256=None, path=file.path.replace(".fp16", "")) for file in entry.files
        )
        monkeypatch.setitem(WEIGHTS, name, replace(entry, files=small))


@pytest.fixture
def build(weights):
    """The method of a name, loaded."""

    def built(name: str, **options) -> Baseline:
        method = resolve(BASELINES, name, kind="method")(BaselineOptions(weights=weights, **options))
        method.load(torch.device("cpu"), torch.float32)
        return method

    return built


@pytest.fixture
def hands():
    """One person whose hands are apart, on a canvas of the miniatures' size."""
    return pose_of(("left", 16, 52, 30), ("right", 46, 52, 30), width=SIZE, height=SIZE)


def standing(x: float):
    """Somebody without hands."""
    pose = pose_of(width=SIZE, height=SIZE)
    body = [(0, 0, -20), (5, 8, -8), (6, -8, -8), (7, 14, 4), (8, -14, 4), (11, 6, 16), (12, -6, 16)]
    for point, right, down in body:
        pose.people[0, point] = (x + right, 32 + down, 1)
    return pose


FEW = {"steps": 2, "size": (SIZE, SIZE)}


@pytest.mark.parametrize("name", BASELINES)
def test_every_method_keeps_the_contract(name, build, hands):
    method = build(name)
    assert isinstance(method, Baseline)
    assert method.title
    assert set(NEEDS) == set(BASELINES)
    other = standing(30)
    poses = [hands, other]
    both = method(["a person waves", "rain"], poses, [4, 5], **FEW)
    assert [picture.shape for picture in both] == [(SIZE, SIZE, 3)] * 2
    assert all(picture.dtype == np.uint8 and picture.std() > 0 for picture in both)
    alone = method(["a person waves"], [hands], [4], **FEW)[0]
    assert np.abs(alone.astype(int) - both[0]).max() <= 1  # whatever else is in the batch
    assert np.array_equal(method(["a person waves"], [hands], [4], **FEW)[0], alone)
    assert not np.array_equal(method(["a person waves"], [hands], [6], **FEW)[0], alone)
    assert not np.array_equal(method(["fog"], [hands], [4], **FEW)[0], alone)
    assert not np.array_equal(method(["a person waves"], [hands], [4], guidance=1.0, **FEW)[0], alone)
    assert any(isinstance(part, torch.nn.Module) for part in method.components.values())
    assert method.size_of(pose_of(width=100, height=200), (96, 48)) == (96, 48)
    with pytest.raises(UserError, match="its sides are multiples of 16: give --size 64x48"):
        method(["x"], [hands], [1], size=(50, 64))
    with pytest.raises(UserError, match="2 seeds for 1 pictures"):
        method(["x"], [hands], [1, 2], size=(SIZE, SIZE))


@pytest.mark.parametrize(
    ("name", "sees_body", "sees_hands"),
    [
        ("stable-diffusion", False, False),
        ("controlnet", True, True),
        ("t2i-adapter", True, False),
        ("humansd", True, False),
        ("handrefiner", True, True),
    ],
)
def test_what_a_method_sees_of_a_pose(name, sees_body, sees_hands, build):
    method = build(name)

    def made(pose):
        return method(["x"], [pose], [4], **FEW)[0]

    here, there = standing(30), standing(20)
    assert (not np.array_equal(made(here), made(there))) == sees_body
    waving = standing(30)
    waving.people[0, 91:112] = pose_of(("left", 16, 52, 30)).hand(0, "left")
    assert (not np.array_equal(made(here), made(waving))) == sees_hands
    told = " ".join(method.notes("x", waving))
    assert ("does not see" in told) == (not sees_hands)


@pytest.mark.parametrize("name", ["stable-diffusion", "controlnet", "t2i-adapter", "handrefiner", "humansd"])
def test_noise_drawn_anew_is_a_pictures_own(name, build, hands):
    plain, noisy = build(name), build(name, eta=1.0)
    poses, few = [standing(30), hands], {"size": (SIZE, SIZE), "steps": 3}
    both = noisy(["rain", "a person waves"], poses, [4, 5], **few)
    alone = noisy(["a person waves"], [hands], [5], **few)[0]
    assert np.abs(alone.astype(int) - both[1]).max() <= 1, "whatever else is in the batch"
    assert not np.array_equal(plain(["a person waves"], [hands], [5], **few)[0], alone)


@pytest.mark.parametrize("name", BASELINES)
def test_missing_weights_are_one_line_with_the_remedy(name, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    method = resolve(BASELINES, name, kind="method")(BaselineOptions(weights=tmp_path))
    with pytest.raises(UserError, match=r"get it: (h2d models fetch|fetch humansd-v1\.ckpt)") as caught:
        method.places()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["stable-diffusion", "controlnet", "t2i-adapter", "handrefiner", "humansd"])
def test_a_table_of_needs_is_what_is_read(name, weights):
    found = resolve(BASELINES, name, kind="method")(BaselineOptions(weights=weights)).places()
    read = {next(part for part in place.relative_to(weights).parts) for place in found.values()}
    assert read == set(NEEDS[name])


def test_own_options_are_the_default(build, hands):
    method = build("humansd")
    own = OWN_OPTIONS["humansd"]
    told = {"guidance": own["guidance_scale"], "negative": own["negative_prompt"]}
    assert np.array_equal(method(["x"], [hands], [1], **FEW)[0], method(["x"], [hands], [1], **told, **FEW)[0])
    plain = method(["x"], [hands], [1], guidance=7.5, negative="", **FEW)[0]
    assert not np.array_equal(method(["x"], [hands], [1], **FEW)[0], plain)


def test_weights_state_how_they_are_sampled(weights, tmp_path, hands):
    base, control = tmp_path / "base", tmp_path / "control"
    shutil.copytree(weights / "stable-diffusion-1.5", base)
    shutil.copytree(weights / "control-openpose-1.1", control)

    def made(steps=None, **options):
        method = resolve(BASELINES, "controlnet", kind="method")(
            BaselineOptions(base=str(base), control=str(control), **options)
        )
        method.load(torch.device("cpu"), torch.float32)
        picture = method(["x"], [hands], [4], size=(SIZE, SIZE), steps=steps)[0]
        return picture, asdict(method.sampling(steps, None))

    plain, said = made(steps=3)
    assert said == {"steps": 3, "guidance_scale": 7.5, "eta": 0.0, "control_scale": 1.0}
    (base / SAMPLING_FILE).write_text('{"num_inference_steps": 3, "eta": 1, "guidance_scale": 2}')
    (control / SAMPLING_FILE).write_text('{"control_scale": 2}')
    own, said = made()
    assert said == {"steps": 3, "guidance_scale": 2.0, "eta": 1.0, "control_scale": 2.0}
    assert not np.array_equal(own, plain)
    asked, said = made(eta=0.0, control_scale=0.0)
    assert said == {"steps": 3, "guidance_scale": 2.0, "eta": 0.0, "control_scale": 0.0}, "0 was asked for"
    assert not np.array_equal(asked, own)
    _, said = made(scheduler="euler")
    assert said == {"steps": 30, "guidance_scale": 2.0, "eta": None, "control_scale": 2.0}, "steps and eta are DDIM's"
    (control / SAMPLING_FILE).write_text('{"contol_scale": 2}')
    with pytest.raises(UserError, match=r"sampling\.json: contol_scale = 2: there is no such option"):
        made()


def test_steps_are_the_schedulers_where_nobody_states_them(weights):
    method = resolve(BASELINES, "stable-diffusion", kind="method")(BaselineOptions(weights=weights, scheduler="dpm++"))
    assert (method.sampling(None, None).steps, method.sampling(None, None).control_scale) == (20, None)


def test_the_shipped_networks_are_sampled_alike_by_every_method():
    options = BaselineOptions(base="miniature-base", control="miniature-control")
    chosen = resolve(BASELINES, "controlnet", kind="method")(options).sampling(None, None)
    ours = json.loads((find_shipped("miniature") / "model_index.json").read_text())
    assert asdict(chosen) == {
        "steps": ours["num_inference_steps"],
        "guidance_scale": ours["guidance_scale"],
        "eta": ours["eta"],
        "control_scale": ours["controlnet_conditioning_scale"],
    }


@pytest.mark.parametrize(
    ("name", "control", "message"),
    [
        ("humansd", "pickle.ckpt", r"can run code .*h2d models convert .*pickle\.ckpt .*pickle\.safetensors"),
        ("humansd", "four.safetensors", "takes 4 channels, HumanSD's 8"),
        ("humansd", "handrefiner-control.safetensors", "holds no U-Net"),
        ("handrefiner", "pickle.ckpt", "h2d models convert"),
        ("handrefiner", "four.safetensors", "holds no ControlNet"),
        ("t2i-adapter", "nothing", "config.json is missing"),
        ("t2i-adapter", "pickled", r"can run code .*h2d models convert"),
        ("controlnet", "nothing", "config.json is missing"),
        ("controlnet", "nowhere", "nowhere: no such weights"),
    ],
)
def test_other_files_are_refused(name, control, message, weights, tmp_path):
    (tmp_path / "pickle.ckpt").write_bytes(b"x")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    (tmp_path / "pickled" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    write_tiny_humansd(tmp_path / "four.safetensors", in_channels=4)
    write_tiny_hand_control(tmp_path / "handrefiner-control.safetensors")
    options = BaselineOptions(weights=weights, control=str(tmp_path / control))
    with pytest.raises(UserError, match=message):
        resolve(BASELINES, name, kind="method")(options).load(torch.device("cpu"), torch.float32)


def test_handrefiner_leaves_a_picture_without_hands_alone(build):
    somebody = standing(30)
    first = build("controlnet")(["x"], [somebody], [4], **FEW)[0]
    assert np.array_equal(build("handrefiner")(["x"], [somebody], [4], **FEW)[0], first)
    assert "no hands: nothing repaired" in build("handrefiner").notes("x", somebody)
    noisy = build("controlnet", eta=1.0)(["x"], [somebody], [4], **FEW)[0]
    assert not np.array_equal(noisy, first)
    assert np.array_equal(build("handrefiner", eta=1.0)(["x"], [somebody], [4], **FEW)[0], noisy), "eta is of both"


def test_handrefiner_takes_picture_depth_and_mask_from_files(build, hands, tmp_path):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (SIZE, SIZE, 3), np.uint8)).save(tmp_path / "picture.png")
    depth, mask = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    depth[20:30, 20:30], mask[16:40, 16:40] = 200, 255
    Image.fromarray(depth).save(tmp_path / "depth.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    given = {name: tmp_path / f"{name}.png" for name in ("picture", "depth", "mask")}
    made = build("handrefiner", **given)(["x"], [hands], [4], **FEW)[0]
    without = build("handrefiner", picture=given["picture"])(["x"], [hands], [4], **FEW)[0]
    assert not np.array_equal(made, without)
    folder = tmp_path / "depths"
    folder.mkdir()
    shutil.copy(given["depth"], folder / f"{hands.pose_hash()[:16]}.png")
    again = build("handrefiner", **{**given, "depth": folder})(["x"], [hands], [4], **FEW)[0]
    assert np.array_equal(again, made)
    with pytest.raises(UserError, match=r"64 x 64, the picture is to be 96 x 96"):
        build("handrefiner", **given)(["x"], [hands], [4], size=(96, 96), steps=2)
    (folder / f"{hands.pose_hash()[:16]}.png").unlink()
    with pytest.raises(UserError, match="no such file: HandRefiner's depth of this pose"):
        build("handrefiner", **{**given, "depth": folder})(["x"], [hands], [4], **FEW)


def test_handrefiner_keeps_what_is_around_the_hands(build, hands, tmp_path):
    """Outside of the mask the latents are those of the picture, up to the noise of the last step."""
    method = build("handrefiner")
    seen = {}
    keeping = method._keeping

    def spy(jobs, pictures, masks):
        keep = keeping(jobs, pictures, masks)

        def both(pipe, step, timestep, tensors):
            tensors = keep(pipe, step, timestep, tensors)
            seen[step] = tensors["latents"].clone()
            return tensors

        seen["mask"], seen["pictures"] = masks, pictures
        return both

    method._keeping = spy
    depth = np.zeros((SIZE, SIZE), np.uint8)
    depth[0:8, 0:8] = 200
    Image.fromarray(depth).save(tmp_path / "depth.png")
    method._options = BaselineOptions(weights=method._options.weights, depth=tmp_path / "depth.png")
    method(["x"], [hands], [4], **FEW)
    from h2d.infer.latents import encode
    from h2d.infer.pixels import to_networks

    with torch.no_grad():
        kept = encode(method._pipe.vae, to_networks(seen["pictures"]))
    scheduler = method._pipe.scheduler
    level = scheduler.alphas_cumprod[scheduler.timesteps[1]]
    noise = (seen[0] - level.sqrt() * kept) / (1 - level).sqrt()
    outside = ~torch.from_numpy(seen["mask"][0][::8, ::8])
    assert outside.any()
    from h2d.infer.loop import Noise, first_noise, generator_of

    expected = first_noise((4, 8, 8), [generator_of(4, Noise.BODY)])
    torch.testing.assert_close(noise[0][:, outside], expected[0][:, outside], atol=1e-4, rtol=1e-4)
