"""A run that fails too often is stopped: what is wrong then is a model or a folder, not the pictures."""

from typing import Final

from h2d.errors import JobError
from h2d.pipelines.executors.base import Watch
from h2d.supervision.job import Tally

MIN_PICTURES: Final = 1000
"""Fewer than this say nothing about a rate."""
NUM_REASONS: Final = 5
FAILURES: Final = ("error", "crash", "timeout")


class ErrorLimit:
    """A watch that passes everything on, and raises `JobError` when too many pictures of a job fail."""

    def __init__(self, watch: Watch, *, max_error_rate: float) -> None:
        self._watch = watch
        self._max_error_rate = max_error_rate
        self._name = ""
        self._worked = Tally()

    def job_started(self, name: str, num_pictures: int, done: Tally) -> None:
        """Count anew: each job has its own rate, of this run."""
        self._name, self._worked = name, Tally()
        self._watch.job_started(name, num_pictures, done)

    def pictures_worked(self, tally: Tally) -> None:
        """Count, and stop the run when the rate is too high."""
        self._watch.pictures_worked(tally)
        self._worked = self._worked + tally
        statuses = self._worked.statuses
        num_worked = statuses.total() - statuses["blocked"]
        num_failed = sum(statuses[status] for status in FAILURES)
        if num_worked < MIN_PICTURES or num_failed <= self._max_error_rate * num_worked:
            return
        reasons = ", ".join(f"{reason} {count}" for reason, count in self._worked.reasons.most_common(NUM_REASONS))
        raise JobError(
            f"the {self._name} stage failed on {num_failed} of {num_worked} pictures ({num_failed / num_worked:.1%}, "
            f"more than {self._max_error_rate:.1%}): {reasons}; finished shards are kept: remove the cause, or accept "
            "it with --max-error-rate"
        )

    def job_ended(self, name: str) -> None:
        """Pass it on."""
        self._watch.job_ended(name)

    def should_stop(self) -> bool:
        """As the watch says."""
        return self._watch.should_stop()
