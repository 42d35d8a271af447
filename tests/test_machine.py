"""The machine: devices that are not there are refused in one line, by what is."""

import pytest
import torch

from h2d.errors import UserError
from h2d.machine import as_bytes, device_named


@pytest.mark.parametrize("name", ["foo", "cpu:x", "cpu:0", "", "cuda:x", "cuda:99", "CPU"])
def test_devices_that_are_not_there_are_one_line(name):
    with pytest.raises(UserError, match=r"^device '.*': there is no such device here: give auto, cpu"):
        device_named(name)


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    assert device_named("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_named(name) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UserError, match="give auto, cpu, cuda, cuda:0, cuda:1"):
        device_named("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as where the driver is too old for torch
    assert device_named("auto") == "cpu"
    with pytest.raises(UserError, match=r"give auto, cpu$"):
        device_named("cuda")


@pytest.mark.parametrize(
    ("num_bytes", "said"),
    [(24.06 * 2**30, "24.1 GiB"), (2**30, "1.0 GiB"), (40.2 * 2**20, "40 MiB"), (4096, "4 KiB"), (0, "0 KiB")],
)
def test_sizes_are_said_in_a_unit_that_shows_them(num_bytes, said):
    assert as_bytes(num_bytes) == said
