"""Checkpoints in latent-diffusion's names, and pickles made safe."""

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from h2d.errors import UserError
from h2d.models.base import read_config
from h2d.models.conversion import convert_pickle
from h2d.models.ldm import CONTROL, load_ldm_controlnet, load_ldm_unet
from h2d.models.single_file import UNET
from h2d.models.tiny import write_tiny
from h2d.models.tiny_ldm import write_original, write_tiny_hand_control, write_tiny_humansd


@pytest.fixture(scope="module")
def like(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_tiny(folder / "base")
    return read_config(folder / "base", "unet")


@torch.no_grad()
def test_a_unet_in_the_original_names_is_the_same_network(tmp_path, like):
    unet = write_tiny_humansd(tmp_path / "unet.safetensors")
    loaded = load_ldm_unet(tmp_path / "unet.safetensors", like)
    assert loaded.config.in_channels == 8
    inputs = torch.randn(2, 8, 8, 8), torch.tensor([3, 700]), torch.randn(2, 77, 32)
    assert torch.equal(loaded(*inputs).sample, unet(*inputs).sample)


@torch.no_grad()
@pytest.mark.parametrize("prefixed", [True, False])
def test_a_controlnet_in_the_original_names_is_the_same_network(tmp_path, like, prefixed):
    file = tmp_path / "control.safetensors"
    controlnet = write_tiny_hand_control(file)
    if not prefixed:
        save_file({name.removeprefix("control_model."): tensor for name, tensor in load_file(file).items()}, file)
    loaded = load_ldm_controlnet(file, like)
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([30]), torch.randn(1, 77, 32), torch.rand(1, 3, 64, 64)
    (down, middle), (own_down, own_middle) = (net(*inputs, return_dict=False) for net in (loaded, controlnet))
    assert torch.equal(middle, own_middle)
    assert all(torch.equal(one, other) for one, other in zip(down, own_down, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("linear", [True, False])
def test_networks_as_deep_as_the_published_ones(tmp_path, linear):
    """Four levels of two resnets; Stable Diffusion 2 has linear projections and more heads the deeper it is."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    kinds = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    shared = {
        "block_out_channels": (8, 16, 16, 16),
        "down_block_types": kinds,
        "cross_attention_dim": 12,
        "attention_head_dim": (1, 2, 4, 4) if linear else 2,
        "use_linear_projection": linear,
        "norm_num_groups": 4,
    }
    torch.manual_seed(0)
    unet = UNet2DConditionModel(in_channels=8, sample_size=8, **shared).eval()
    control = ControlNetModel(conditioning_embedding_out_channels=(4, 8, 8, 12), **shared).eval()
    for weight in control.parameters():
        weight.normal_(0, 0.1)
    write_original(tmp_path / "unet.safetensors", unet, UNET)
    write_original(tmp_path / "control.safetensors", control, CONTROL)
    like = {**unet.config, "in_channels": 4}
    timestep, text = torch.tensor([300]), torch.randn(1, 7, 12)
    noisy = torch.randn(1, 8, 8, 8)
    loaded = load_ldm_unet(tmp_path / "unet.safetensors", like)
    assert torch.equal(loaded(noisy, timestep, text).sample, unet(noisy, timestep, text).sample)
    steered = load_ldm_controlnet(tmp_path / "control.safetensors", like)
    inputs = noisy[:, :4], timestep, text, torch.rand(1, 3, 64, 64)
    assert torch.equal(
        steered(*inputs, return_dict=False)[0][-1], control(*inputs, return_dict=False)[0][-1]
    )  # the deepest, after all the others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.diffusion_model.middle_block.0.in_layers.0.weight"), "is missing"),
        (lambda state: state.update({"model.diffusion_model.out.2.bias": torch.zeros(7)}), r"of shape \(7,\)"),
    ],
)
def test_a_checkpoint_of_another_shape_is_one_line(tmp_path, like, change, message):
    file = tmp_path / "unet.safetensors"
    write_tiny_humansd(file)
    state = load_file(file)
    change(state)
    save_file(state, file)
    with pytest.raises(UserError, match=message):
        load_ldm_unet(file, like)


class Dangerous:
    """Runs when it is unpickled by anybody careless."""

    ran = False

    def __reduce__(self):
        return (_run, ())


def _run():
    Dangerous.ran = True


@pytest.mark.parametrize("nested", [True, False])
def test_a_pickle_becomes_safetensors_and_runs_nothing(tmp_path, nested):
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}
    tied = {**tensors, "a.again": tensors["a.weight"]}
    saved = {"state_dict": tied, "callbacks": {Dangerous: Dangerous()}} if nested else tied
    torch.save(saved, tmp_path / "model.ckpt")
    assert convert_pickle(tmp_path / "model.ckpt", tmp_path / "out" / "model.safetensors") == 3
    assert not Dangerous.ran
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in tied.items())


def test_what_is_no_checkpoint_is_one_line(tmp_path):
    (tmp_path / "text.ckpt").write_text("no weights")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps({"a": 1}))
    torch.save({"epoch": 3}, tmp_path / "empty.ckpt")
    for name, message in (
        ("text.ckpt", "no checkpoint"),
        ("plain.ckpt", "no checkpoint|holds no tensors"),
        ("empty.ckpt", "holds no tensors"),
        ("nowhere.ckpt", "no such file"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            convert_pickle(tmp_path / name, tmp_path / "x.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        convert_pickle(tmp_path / "empty.ckpt", tmp_path / "x.bin")
    assert not list(tmp_path.glob("*.safetensors"))
