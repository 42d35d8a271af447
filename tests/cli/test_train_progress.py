"""What is seen of a run that trains: a bar on a terminal, lines elsewhere, nothing when it is to be quiet."""

from io import StringIO

import pytest
from rich.console import Console

from h2d.cli import train_progress
from h2d.cli.train_progress import TrainProgress


def shown(monkeypatch, *, terminal: bool, quiet: bool = False) -> str:
    seen = StringIO()
    monkeypatch.setattr(train_progress, "errors", Console(file=seen, force_terminal=terminal, width=120))
    with TrainProgress(quiet=quiet) as progress:
        for step in (1, 2, 3):
            progress.step_done(step, 10, {"loss": 0.5 / step, "samples_per_s": 12.34})
    return seen.getvalue()


def test_the_bar_has_steps_loss_rate_and_time_left(monkeypatch):
    bar = shown(monkeypatch, terminal=True)
    for part in ("3/10", "loss 0.1667", "12.3 samples/s", "0:00:"):
        assert part in bar


def test_without_a_terminal_there_is_a_line_at_once_and_none_too_often(monkeypatch):
    assert shown(monkeypatch, terminal=False).split("\n")[0] == "step 1/10  loss 0.5000  12.3 samples/s"
    assert "step 2/10" not in shown(monkeypatch, terminal=False)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_silent(monkeypatch, terminal):
    assert "loss" not in shown(monkeypatch, terminal=terminal, quiet=True)
