"""One batch of pictures through a stage: an answer for each, or a row that says why there is none."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from h2d.errors import JobError, UserError
from h2d.images import DecodeError
from h2d.pipelines.stages.base import Row, Stage
from h2d.supervision.job import NUM_ATTEMPTS, Failure, OnBegin

logger = logging.getLogger(__name__)

MESSAGE_LENGTH: Final = 200
_FATAL: Final = (UserError, JobError, pa.ArrowInvalid)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A picture to work on."""

    place: int
    """In its shard, from 0."""
    row: Row
    attempts_before: int
    """Made by the runs whose failure is retried; 0 when it is new."""

    def ok(self, columns: Mapping[str, Any], *, attempts: int = 1) -> dict[str, Any]:
        """The row of a result."""
        state = {"status": "ok", "reason": None, "message": None, "attempts": self.attempts_before + attempts}
        return {"id": self.row["id"], **state, **columns}

    def failed(self, failure: Failure) -> dict[str, Any]:
        """The row of a failure; a retry counts once, however it failed."""
        return {
            "id": self.row["id"],
            "status": failure.status,
            "reason": failure.reason,
            "message": " ".join(failure.message.split())[:MESSAGE_LENGTH],
            "attempts": self.attempts_before + (1 if self.attempts_before else failure.attempts),
        }


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """A stage's attempts in one worker, which learns how large a batch its GPU holds."""

    stage: Stage
    limits: list[int] = field(default_factory=list)
    """Each time that the GPU's memory did not do, the batch size that was gone down to."""

    def answer(self, items: Sequence[Item], on_begin: OnBegin) -> list[dict[str, Any]]:
        """A row per picture, in order: all in one call, and one by one if that call raises."""
        try:
            answers = self._process(items, on_begin)
            return [item.ok(columns) for item, columns in zip(items, answers, strict=True)]
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a picture does to an annotator is that picture's result
            if len(items) > 1:
                logger.info("%s: a batch of %d failed (%s), trying one by one", self.stage.name, len(items), error)
            return [self._alone(item, on_begin) for item in items]

    def _process(self, items: Sequence[Item], on_begin: OnBegin) -> list[dict[str, Any]]:
        """The stage's answers, from smaller batches where the GPU has no memory for this one."""
        answers: list[dict[str, Any]] = []
        while len(answers) < len(items):
            size = min([len(items), *self.limits])
            batch = items[len(answers) : len(answers) + size]
            on_begin([item.place for item in batch])
            try:
                answers += self.stage.process([item.row for item in batch])
            except Exception as error:
                if not _is_cuda_out_of_memory(error) or len(batch) == 1:
                    raise
                self.limits.append(len(batch) // 2)
                logger.warning(
                    "%s: no GPU memory for a batch of %d, going on with %d",
                    self.stage.name, len(batch), self.limits[-1],
                )  # fmt: skip
                sys.modules["torch"].cuda.empty_cache()
        return answers

    def _alone(self, item: Item, on_begin: OnBegin) -> dict[str, Any]:
        num_attempts = 1 if item.attempts_before else NUM_ATTEMPTS
        for attempt in range(1, num_attempts + 1):
            try:
                return item.ok(self._process([item], on_begin)[0], attempts=attempt)
            except _FATAL:
                raise
            except MemoryError as error:
                message = str(error) or "not enough memory for this picture"
                return item.failed(Failure(status="crash", reason="out_of_memory", message=message, attempts=attempt))
            except (DecodeError, FileNotFoundError) as error:
                return item.failed(Failure(status="error", reason="decode", message=str(error), attempts=attempt))
            except Exception as error:  # noqa: BLE001  # recorded with its class and message below
                failure = error
        return item.failed(
            Failure(status="error", reason=type(failure).__name__, message=str(failure), attempts=num_attempts)
        )


def _is_cuda_out_of_memory(error: Exception) -> bool:
    """Whether it is torch's; torch is not imported to find out, for then it cannot be."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)
