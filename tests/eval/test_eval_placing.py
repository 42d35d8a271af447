"""Where work is done makes no difference to what is done: each shard once, here or by Ray's workers."""

import os
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from h2d.errors import UserError
from h2d.eval.generate import method_folder
from h2d.eval.methods import MethodOptions, dtype_of
from h2d.eval.placing import Silent, do_all, shards_of
from h2d.eval.run import Placing, evaluate_methods


def squares(out: Path):
    """Work of a class that is pickled by value: Ray's workers cannot import a test."""

    class Squares:
        """Writes the square of each number, and which process did it."""

        needs_gpu = False

        def __init__(self) -> None:
            self._out = out
            self._offset: int | None = None

        def title(self, shard):
            return f"numbers {shard[0]} to {shard[-1]}"

        def setup(self):
            self._offset = 100

        def run(self, shard):
            if 13 in shard:
                raise ValueError("unlucky")
            for number in shard:
                with (self._out / f"{number}").open("x") as file:
                    file.write(f"{number**2 + self._offset} {os.getpid()}")

        def close(self):
            self._offset = None

    return Squares()


class Counting(Silent):
    done = 0

    def worked(self, count):
        self.done += count


def placed(out, **where):
    out.mkdir()
    watch = Counting()
    assert do_all("squares", squares(out), shards_of(range(10), 3), num_done=0, watch=watch, **where)
    written = {int(file.name): file.read_text().split() for file in out.iterdir()}
    assert {number: int(square) for number, (square, _) in written.items()} == {n: n**2 + 100 for n in range(10)}
    assert watch.done == 10
    return {int(process) for _, process in written.values()}


def test_here(tmp_path):
    assert placed(tmp_path / "here") == {os.getpid()}


def test_on_ray(tmp_path):
    assert os.getpid() not in placed(tmp_path / "ray", workers=2)


@pytest.mark.slow
def test_what_a_worker_raises_is_raised_here(tmp_path):
    with pytest.raises(ValueError, match="unlucky"):
        do_all("squares", squares(tmp_path), shards_of(range(12, 15), 1), num_done=0, watch=Silent(), workers=2)


@pytest.mark.parametrize(("num_gpus", "device", "dtype"), [(2.0, "cuda", "bfloat16"), (0, "cpu", "float32")])
def test_what_pictures_are_made_on_is_asked_of_the_cluster(
    fakes, picture_list, choices, tmp_path, monkeypatch, num_gpus, device, dtype
):
    """Neither does the driver need a GPU, nor do workers have none where the driver has none."""
    placed = Mock(return_value=False)
    monkeypatch.setattr("h2d.ray_start.start_ray", lambda address: Mock(cluster_resources=lambda: {"GPU": num_gpus}))
    monkeypatch.setattr("h2d.eval.generate.do_all", placed)
    monkeypatch.setattr(fakes.ShiftedMethod, "identity", lambda self: {"dtype": dtype_of(self._options)})
    placing = Placing(workers=2, address="head:6379")
    out = tmp_path / "run"
    assert evaluate_methods(["shifted"], picture_list, out, MethodOptions(), choices, Silent(), placing) is None
    making = placed.call_args.args[1]
    assert making.needs_gpu is bool(num_gpus)
    assert making.options.device == device
    assert method_folder(out, "shifted").made["identity"] == {"dtype": dtype}


def test_more_workers_than_gpus_are_refused_before_anything_is_written(
    fakes, picture_list, choices, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    out, options = tmp_path / "run", MethodOptions(device="cuda")
    with pytest.raises(UserError, match="--workers 2: each takes a GPU, and Ray has 1"):
        evaluate_methods(["shifted"], picture_list, out, options, choices, Silent(), Placing(workers=2))
    assert not out.exists()
