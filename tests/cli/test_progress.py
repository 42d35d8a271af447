"""The lines of a job where no bar is drawn."""

from collections import Counter

from h2d.cli import progress as progress_module
from h2d.cli.progress import JobProgress
from h2d.supervision.job import Tally


def test_the_last_line_comes_once(monkeypatch, capfd):
    monkeypatch.setattr(progress_module, "LINE_EVERY_S", 0)
    progress = JobProgress()
    with progress.watching():
        progress.job_started("look", 2, Tally())
        for _ in range(2):
            progress.pictures_worked(Tally(statuses=Counter(ok=1)))
        progress.job_ended("look")
    assert [line.split()[1] for line in capfd.readouterr().err.splitlines()] == ["1/2", "2/2"]
