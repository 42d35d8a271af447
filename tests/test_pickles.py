"""Pickled weights of every damage: one line that names the file, and nothing in it is run."""

import io
import pickle

import numpy as np
import pytest
import torch

from h2d.errors import UserError
from h2d.models.conversion import convert_pickle
from h2d.pickles import read_tensors


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_back(tmp_path, zipped):
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(6.0).reshape(2, 3)}, file, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_tensors(file, remedy="fetch it")["a"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a PyTorch checkpoint \(0 bytes"),
        (b"<html>moved</html>", r"not a PyTorch checkpoint \(18 bytes"),
        (b"PK\x03\x04 and no more", "cut off at 16 bytes"),
        (b"\x80\x02a", "damaged: IndexError"),  # the stack from which the unpickler takes is empty
        (pickle.dumps({"a": 1}, protocol=2), "damaged"),
        (pickle.dumps(print, protocol=2), "damaged, or holds more than tensors"),
    ],
)
def test_other_files_are_one_line(tmp_path, content, message):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"weights\.pth: .*{message}.*: fetch it$"):
        read_tensors(file, remedy="fetch it")
    with pytest.raises(UserError, match=r"weights\.pth: no checkpoint of PyTorch's") as error:
        convert_pickle(file, tmp_path / "weights.safetensors")
    assert "\n" not in str(error.value)


def test_other_things_than_a_state_dict_are_named(tmp_path):
    file = tmp_path / "weights.pth"
    for held, message in (([torch.zeros(1)], "holds list"), ({"a": 1}, "holds dict")):
        torch.save(held, file)
        with pytest.raises(UserError, match=f"{message} instead of a plain state dict: fetch it"):
            read_tensors(file, remedy="fetch it")


@pytest.mark.parametrize("zipped", [True, False])
def test_no_damage_ends_in_a_traceback(tmp_path, zipped):
    """Bytes changed here and there: the tensors, or one line."""
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(3), "b": torch.ones(2)}, stream, _use_new_zipfile_serialization=zipped)
    whole, file = stream.getvalue(), tmp_path / "weights.pth"
    random = np.random.default_rng(0)
    refused = []
    for _ in range(200):
        changed = bytearray(whole)
        for place in random.integers(0, min(len(whole), 400), 3):
            changed[place] = int(random.integers(256))
        file.write_bytes(changed)
        try:
            read_tensors(file, remedy="fetch it")
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in said for said in refused)
