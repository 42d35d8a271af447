"""Our walk through InceptionV3 gives torchmetrics' features, and reads no file that is not its own."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from h2d.errors import UserError
from h2d.eval.features import RANDOM, WIDTHS
from h2d.eval.inception import load_inception, random_inception
from h2d.models.weights import locate


def pictures(count: int, *, size_hw=(60, 84), seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size_hw, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def random_state():
    """Every tensor of the published file, with random numbers."""
    state = random_inception(WIDTHS, seed=1).state_dict()
    state["fc.weight"], state["fc.bias"] = torch.zeros(1008, 2048), torch.zeros(1008)
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return state


@pytest.fixture(scope="module")
def weights(random_state, tmp_path_factory):
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(random_state, file)
    return file


@pytest.mark.parametrize(("resize", "widths"), [("tensorflow", WIDTHS), ("antialias", WIDTHS)])
def test_features_are_those_of_torchmetrics(weights, resize, widths):
    from torchmetrics.image.fid import NoTrainInceptionV3

    batch = pictures(2)
    ours = load_inception(weights, widths, resize=resize).features(batch, batch_size=2)
    theirs = NoTrainInceptionV3(
        "inception-v3-compat",
        [str(width) for width in widths],
        feature_extractor_weights_path=str(weights),
        antialias=resize == "antialias",
    )
    with torch.inference_mode():
        expected = theirs._torch_fidelity_forward(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2))
    for width, features in zip(widths, expected, strict=True):
        np.testing.assert_allclose(ours.by_width[width], features.numpy(), rtol=2e-5, atol=2e-5)
        assert features.std() > 0.01, "the comparison is of something"


def test_the_resize_mode_changes_the_features_and_is_told():
    noise = pictures(1, size_hw=(640, 640))
    by_mode = {mode: random_inception((64,), resize=mode).features(noise) for mode in ("tensorflow", "antialias")}
    first, second = (features.by_width[64] for features in by_mode.values())
    assert np.abs(first - second).max() > 0.05
    assert [features.identity["resize"] for features in by_mode.values()] == ["tensorflow", "antialias"]


def test_pictures_of_many_sizes_and_batches_give_rows_in_order():
    several = [*pictures(2), *pictures(2, size_hw=(33, 20), seed=1)]
    network = random_inception((64,))
    together = network.features(iter(several), batch_size=3).by_width[64]
    assert together.shape == (4, 64)
    for row, picture in zip(together, several, strict=True):
        np.testing.assert_allclose(row, network.features([picture]).by_width[64][0], rtol=1e-5, atol=1e-6)


def test_the_maps_of_the_papers_figure_are_what_is_averaged():
    network = random_inception((192,))
    batch = torch.stack([network.resized(picture) for picture in pictures(1)])
    maps = network.maps(batch)[192]
    assert maps.shape == (1, 192, 35, 35)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), network(batch)[192])


def test_safetensors_are_the_same_weights(weights, random_state, tmp_path):
    file = tmp_path / "inception.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in random_state.items()}, file)
    one, other = load_inception(weights, (192,)), load_inception(file, (192,))
    assert one.identity == other.identity
    assert one.identity["features"] == "inception-v3-fid"
    assert one.identity["weights"].startswith("sha256 of tensors ")
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_random_features_are_called_so_and_depend_on_their_seed_alone():
    torch.manual_seed(0)
    first = random_inception((64,), seed=3)
    torch.manual_seed(9)
    again = random_inception((64,), seed=3)
    assert first.identity == {"features": RANDOM, "weights": "seed 3"}
    assert torch.equal(first.Conv2d_1a_3x3.conv.weight, again.Conv2d_1a_3x3.conv.weight)
    other = random_inception((64,), seed=4)
    assert not torch.equal(first.Conv2d_1a_3x3.conv.weight, other.Conv2d_1a_3x3.conv.weight)


def test_only_the_layers_that_are_needed_are_made():
    assert "Mixed_5b.branch1x1.conv.weight" not in random_inception((64, 192)).state_dict()


def test_what_is_no_inception_is_one_line(tmp_path, weights):
    with pytest.raises(UserError, match=r"absent.pth: no such file: get it: h2d models fetch inception-v3-fid"):
        load_inception(tmp_path / "absent.pth")
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"no weights at all")
    with pytest.raises(
        UserError,
        match=r"junk.pth: not a PyTorch checkpoint \(17 bytes of another format\): get it again: h2d models fetch",
    ):
        load_inception(junk)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cut off at 1000 bytes"):
        load_inception(cut)
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    with pytest.raises(UserError, match=r"not the InceptionV3 of FID: 25 of 25 tensors .* first Conv2d_1a_3x3"):
        load_inception(other, (192,))
    state = random_inception((64,)).state_dict()
    state["Conv2d_2a_3x3.conv.weight"] = torch.zeros(32, 32, 1, 1)
    torch.save(state, other)
    with pytest.raises(UserError, match=r"1 of 15 tensors .* first Conv2d_2a_3x3.conv.weight"):
        load_inception(other, (64,))
    listed = tmp_path / "list.pth"
    torch.save([torch.zeros(3)], listed)
    with pytest.raises(UserError, match="holds list instead of a plain state dict"):
        load_inception(listed)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x00" * 20)
    with pytest.raises(UserError, match="damaged"):
        load_inception(damaged)
    with pytest.raises(UserError, match="Inception widths 100: choose among 64, 192, 768, 2048"):
        load_inception(weights, (100,))
    with pytest.raises(UserError, match="no pictures"):
        random_inception((64,)).features([])


def test_code_in_a_file_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("run").touch, ())

    file = tmp_path / "evil.pth"
    with file.open("wb") as stream:
        pickle.dump({"conv": Payload()}, stream, protocol=2)
    with pytest.raises(UserError, match="holds more than tensors") as refused:
        load_inception(file)
    assert "weights_only" not in str(refused.value), "torch's advice to run it is not repeated"
    assert not (tmp_path / "run").exists()


def test_the_published_file_is_found_in_the_models_folder_and_named_when_it_is_not(tmp_path):
    with pytest.raises(
        UserError, match=r"inception-v3-fid: .*6726825d.pth not found.*h2d models fetch inception-v3-fid"
    ):
        locate("inception-v3-fid", folder=tmp_path)
