"""The other methods make the pictures of a list, small, on random weights."""

from dataclasses import replace

import numpy as np
import pytest
from pose_lists import person

from h2d.errors import UserError
from h2d.eval.methods import METHODS, MethodOptions, make_method
from h2d.eval.picture_list import Entry
from h2d.eval.settings import settings_of
from h2d.infer.baselines import BASELINES
from h2d.models.tiny import write_tiny
from h2d.models.weights import WEIGHTS
from h2d.pose.pose import Pose


@pytest.fixture
def weights(tmp_path, monkeypatch):
    write_tiny(tmp_path / "stable-diffusion-1.5")
    (tmp_path / "stable-diffusion-1.5" / "controlnet").rename(tmp_path / "control-openpose-1.1")
    (tmp_path / "stable-diffusion-1.5" / "model_index.json").write_text("{}")
    for name, entry in WEIGHTS.items():
        # The table states the bytes of the real files; these are smaller.
        files = (
            replace(file, size_bytes=None, sha256=None, path=file.path.replace(".fp16", "")) for file in entry.files
        )
        monkeypatch.setitem(WEIGHTS, name, replace(entry, files=tuple(files)))
    return tmp_path


def entry(number: int, *, seed: int) -> Entry:
    pose = Pose(people=person(scale=0.125)[None], width=64, height=64)
    return Entry(number=number, id=f"synth/{number}", pose=pose, prompt="a person", seed=seed, size=64)


def options(weights, **changes) -> MethodOptions:
    sample = {"num_inference_steps": 2}
    return MethodOptions(**{"baseline": {"weights": str(weights)}, "sample": sample, "device": "cpu", **changes})


def test_every_method_of_the_sampler_is_a_row():
    assert set(BASELINES) <= set(METHODS)
    for name in METHODS:
        assert make_method(name, MethodOptions()).title


@pytest.mark.parametrize("name", ["stable-diffusion", "controlnet"])
def test_a_picture_is_of_its_seed_alone(weights, name):
    method = make_method(name, options(weights))
    assert method.identity()["method"] == name
    method.setup()
    one, two = method.make([entry(0, seed=3), entry(1, seed=4)])
    (again,) = method.make([entry(1, seed=4)])
    method.close()
    assert one.picture.shape == (64, 64, 3)
    assert np.abs(two.picture.astype(int) - again.picture).max() <= 1
    assert not np.array_equal(one.picture, two.picture)


def test_a_table_says_with_what_a_method_samples(weights):
    """What was given, what the weights state and what the method itself decides."""
    (weights / "control-openpose-1.1" / "sampling.json").write_text('{"eta": 1, "control_scale": 2}')
    base = str(weights / "stable-diffusion-1.5")
    identity = make_method("controlnet", options(weights, baseline={"weights": str(weights), "base": base})).identity()
    assert settings_of({"identity": identity}, [{}]) == {
        "networks": {"base": base, "control": "control-openpose-1.1"}, "scheduler": "ddim", "steps": 2,
        "guidance_scale": 7.5, "eta": 1, "control_scale": 2, "precision": "float32",
    }  # fmt: skip
    alone = make_method("stable-diffusion", options(weights)).identity()
    assert settings_of({"identity": alone}, [])["networks"] == {"base": "stable-diffusion-1.5"}
    assert settings_of({"identity": alone}, [])["control_scale"] is None


def test_what_is_missing_or_not_its_own_is_refused(weights):
    with pytest.raises(UserError, match=r"handrefiner-control|sd-1\.5-inpainting"):
        make_method("handrefiner", options(weights)).identity()
    with pytest.raises(UserError, match=r"sample\.blend: an option of the two-stage method"):
        make_method("controlnet", options(weights, sample={"blend": "naive"})).identity()


def test_without_weights_the_miniature_of_a_method_is_named(tmp_path):
    empty = {"baseline": {"weights": str(tmp_path)}}
    with pytest.raises(UserError, match=r"--baseline base=miniature-base --baseline control=miniature-control$"):
        make_method("controlnet", options(tmp_path, **empty)).identity()
    named = {"baseline": {"base": "miniature-base", "control": "miniature-control"}}
    assert make_method("controlnet", options(tmp_path, **named)).identity()["sampling"]["control_scale"] == 2
    with pytest.raises(UserError) as told:
        make_method("t2i-adapter", options(tmp_path, **empty)).identity()
    assert "miniature" not in str(told.value)
