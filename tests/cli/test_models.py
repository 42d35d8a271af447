"""`h2d models`, with a tiny table and a local file server."""

import hashlib
import json

import pytest
from typer.testing import CliRunner

from h2d.cli.models import app
from h2d.errors import UserError
from h2d.models import weights as weights_module
from h2d.models.weights import WEIGHTS, WeightFile, Weights

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setenv("H2D_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def put(tmp_path):
    """Put bytes where SAM ViT-B's checkpoint is looked for."""

    def write(data):
        file = tmp_path / "models" / "sam-vit-b" / "sam_vit_b_01ec64.pth"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    return write


@pytest.fixture
def tiny(monkeypatch):
    file = WeightFile(path="sam_vit_b_01ec64.pth", size_bytes=len(DATA), sha256=SHA256)
    tiny = Weights(about="a test", licence="MIT", size_bytes=len(DATA), files=(file,), url="http://127.0.0.1:9/x.pth")
    monkeypatch.setitem(weights_module.WEIGHTS, "sam-vit-b", tiny)


@pytest.mark.usefixtures("tiny")
def test_list_shows_every_name_and_where_it_is(put):
    file = put(DATA)
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    for name in WEIGHTS:
        assert name in result.stdout
    assert f"sam-vit-b: {file}" in result.stdout
    table = result.stdout.splitlines()[: len(WEIGHTS) + 1]
    assert max(map(len, table)) <= 80


@pytest.mark.usefixtures("tiny")
def test_list_as_json(put):
    file = put(DATA)
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)}
    assert list(rows) == list(WEIGHTS)
    assert rows["sam-vit-b"]["found"] == str(file)
    assert rows["sam-vit-h"]["found"] is None
    assert rows["llava-1.5-7b"]["revision"] == WEIGHTS["llava-1.5-7b"].revision


@pytest.mark.usefixtures("tiny")
def test_verify_tells_whole_from_damaged(put):
    assert "No weights found" in CliRunner().invoke(app, ["verify"]).stdout
    put(DATA)
    whole = CliRunner().invoke(app, ["verify"])
    assert (whole.exit_code, whole.stdout) == (0, "sam-vit-b/sam_vit_b_01ec64.pth: ok\n")
    put(DATA[::-1])
    damaged = CliRunner().invoke(app, ["verify", "sam-vit-b"])
    assert damaged.exit_code == 1
    assert "sha256 is" in damaged.stdout


@pytest.mark.usefixtures("tiny")
def test_fetch_of_what_is_here_does_nothing(put):
    file = put(DATA)
    result = CliRunner().invoke(app, ["fetch", "sam-vit-b"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"sam-vit-b: at {file}"


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_an_unknown_name_is_a_users_mistake(command):
    result = CliRunner().invoke(app, [command, "sam-vit-x"])
    assert isinstance(result.exception, UserError)
    assert "choose one of sam-vit-h" in str(result.exception)


@pytest.mark.usefixtures("tiny")
def test_list_says_which_method_lacks_what():
    shown = " ".join(CliRunner().invoke(app, ["list"]).stdout.split())
    assert "h2d sample --method humansd: lacks sd-2.1-base, humansd" in shown
    assert "humansd: fetch humansd-v1.ckpt from the Google Drive folder" in shown
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)}
    assert rows["control-openpose-1.1"]["methods"] == ["controlnet", "handrefiner"]
    assert rows["sd-2.1-base"]["how"] == "h2d models fetch sd-2.1-base"
    fetched = CliRunner().invoke(app, ["fetch", "humansd"])
    assert isinstance(fetched.exception, UserError)


def test_convert_writes_safetensors(tmp_path):
    import torch
    from safetensors.torch import load_file

    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "model.ckpt")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "model.ckpt"), str(tmp_path / "model.safetensors")])
    assert done.exit_code == 0, done.output
    assert "1 tensors" in done.stdout
    assert load_file(tmp_path / "model.safetensors")["a"].tolist() == [1, 1]
