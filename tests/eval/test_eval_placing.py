"""Where work is done makes no difference to what is done: each shard once, here or by Ray's workers."""

import os
from pathlib import Path

import pytest

from h2d.eval.placing import Silent, do_all, shards_of


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
