"""Memory is counted from the files' headers and said before anything is loaded."""

import pytest
import torch
from tiny_models import write_checkpoints

from h2d.errors import UserError
from h2d.infer.choosing import default_models
from h2d.infer.loading import load_models, weight_folders
from h2d.infer.memory import Need, available_bytes, check_memory, count_values, need_of

GIB = 2**30


def test_values_are_those_of_the_networks(checkpoints):
    models = default_models(checkpoints[0].parent)
    pipe = load_models(models)
    folders = weight_folders(models)
    assert set(folders) == {
        "unet",
        "vae",
        "text_encoder",
        "controlnet",
        "hand_unet",
        "mask_head",
        "hand_vae",
        "hand_text_encoder",
    }
    for name, folder in folders.items():
        parameters = sum(weight.numel() for weight in getattr(pipe, name).parameters())
        assert count_values(folder) == parameters, name
    values = {name: count_values(folder) for name, folder in folders.items()}
    need = need_of(values, precision="fp16", num_pixels=512**2, batch_size=2)
    assert need.weights == 2 * sum(values.values())
    assert need.whole > need.offloaded
    assert need_of(values, precision="fp32", num_pixels=512**2, batch_size=2).whole == pytest.approx(2 * need.whole)


def test_a_saved_pipeline_is_counted_too(loaded, tmp_path):
    from h2d.infer.choosing import Models

    loaded.save_pretrained(tmp_path)
    folders = weight_folders(Models(pipeline=tmp_path))
    assert count_values(folders["unet"]) == sum(weight.numel() for weight in loaded.unet.parameters())


def test_of_two_precisions_one_is_counted(tmp_path, checkpoints):
    folder = weight_folders(default_models(checkpoints[0].parent))["vae"]
    (file,) = folder.glob("*.safetensors")
    (tmp_path / "a.safetensors").write_bytes(file.read_bytes())
    (tmp_path / "a.fp16.safetensors").write_bytes(file.read_bytes())
    assert count_values(tmp_path) == count_values(folder) == count_values(file)


def test_too_little_is_one_line_with_what_fits():
    need = Need(weights=4 * GIB, largest=2 * GIB, working=2 * GIB)

    def said(available, **options):
        asked = {"on_gpu": True, "offload": False, "batch_size": 4, "what": "a batch of 4 pictures", **options}
        with pytest.raises(UserError) as caught:
            check_memory(need, available, **asked)
        return str(caught.value)

    check_memory(need, 6 * GIB, on_gpu=True, offload=False, batch_size=4, what="x")
    check_memory(need, None, on_gpu=False, offload=False, batch_size=4, what="x")
    assert said(5 * GIB) == (
        "a batch of 4 pictures needs about 6.0 GiB of GPU memory, 5.0 GiB are free: "
        "use --offload (about 4.0 GiB) or --batch-size 1"
    )
    assert said(3 * GIB, offload=True).endswith("use --batch-size 1")
    assert said(1 * GIB).endswith("use --device cpu, or a larger GPU")
    assert said(1 * GIB, on_gpu=False).endswith("use a smaller --size")


def test_this_machines_memory_is_known():
    found = available_bytes(torch.device("cpu"))
    assert found is None or found > 2**20
    assert available_bytes(torch.device("meta")) is None


def test_hands_of_nobody_need_nothing(tmp_path):
    from h2d.infer.choosing import Models

    _, body = write_checkpoints(tmp_path)
    assert "hand_unet" not in weight_folders(Models(outpaint=body))
