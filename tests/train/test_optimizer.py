"""Gradients are shortened, and the average follows the weights, in the loop's own steps."""

import pytest
import torch
from safetensors.torch import load_file
from stand_in import Silent, StandIn, StandInOptions, stand_in_config

from h2d.train.loop import train
from h2d.train.run_log import read_log

OUTPUT = {"checkpoint_every": 1, "keep_checkpoints": 4, "validate_every": 0, "preview_every": 0}


def test_the_average_follows_the_weights_and_is_what_is_exported(small_manifest, tmp_path):
    train(stand_in_config(small_manifest, tmp_path, steps=4, output=OUTPUT), Silent())
    average = StandIn(StandInOptions(), size_px=64).build(seed=0).trained.state_dict()
    for step in range(1, 5):
        folder = tmp_path / f"checkpoints/step-{step:07d}"
        weights = load_file(folder / "weights.safetensors")
        decay = (1 + step) / (10 + step)
        average = {name: decay * value + (1 - decay) * weights[name] for name, value in average.items()}
        torch.testing.assert_close(load_file(folder / "average.safetensors"), average)
        torch.testing.assert_close(load_file(folder / "model/net.safetensors"), average)


@pytest.mark.parametrize("most", [1e-3, 1e3])
def test_gradients_longer_than_the_limit_are_shortened_to_it(small_manifest, tmp_path, most):
    """After one step Adam's first average is a tenth of the gradient that it was given."""
    optimizer = {"learning_rate": 1e-2, "max_gradient_norm": most}
    train(stand_in_config(small_manifest, tmp_path, steps=1, optimizer=optimizer, output=OUTPUT), Silent())
    saved = load_file(tmp_path / "checkpoints/step-0000001/optimizer.safetensors")
    averages = [value.flatten() for name, value in saved.items() if name.endswith(".exp_avg")]
    found = float(read_log(tmp_path)[0]["gradient_norm"])
    assert 10 * float(torch.cat(averages).norm()) == pytest.approx(min(most, found), rel=1e-3)
    assert 1e-2 < found < 1e2
