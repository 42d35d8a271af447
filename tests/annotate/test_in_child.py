"""An annotator in a process of its own: its answers, its errors, its deaths."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from h2d.annotate.in_child import InChild, InThisProcess, Lost


class Doubler:
    """Doubles numbers, and does to its process what native code does at some of them."""

    def identity(self) -> Mapping[str, Any]:
        return {}

    def setup(self) -> None:
        self.factor = 2

    def close(self) -> None: ...

    def double(self, numbers: np.ndarray) -> tuple[int, np.ndarray]:
        if numbers[0] == 13:
            os.kill(os.getpid(), signal.SIGSEGV)
        if numbers[0] == 14:
            time.sleep(600)
        if numbers[0] == 15:
            raise ValueError("fifteen")
        return os.getpid(), numbers * self.factor


@pytest.fixture
def child():
    asked = InChild(Doubler(), "double", name="doubler", timeout_s=2.0)
    asked.setup()
    yield asked
    asked.close()


def test_answers_come_from_another_process(child):
    process, doubled = child.ask("numbers", np.arange(4))
    assert process != os.getpid()
    np.testing.assert_array_equal(doubled, [0, 2, 4, 6])
    assert child.ask("numbers", np.arange(2))[0] == process, "one process for all"
    here = InThisProcess(Doubler(), "double")
    here.setup()
    assert here.ask("numbers", np.arange(4))[0] == os.getpid()


@pytest.mark.parametrize(("number", "how"), [(13, "the worker was killed by SIGSEGV"), (14, "no answer in 2 s")])
def test_what_it_dies_of_is_lost_alone(child, number, how):
    child.ask("numbers", np.arange(4))
    with pytest.raises(Lost, match=how):
        child.ask("numbers", np.array([number]))
    assert child.ask("numbers", np.array([21]))[1] == [42]


def test_its_error_is_raised_here(child):
    with pytest.raises(ValueError, match="fifteen"):
        child.ask("numbers", np.array([15]))
