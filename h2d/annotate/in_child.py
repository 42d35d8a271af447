"""An annotator in a process of its own: a picture of which native code dies costs that picture, not the run.

Pictures and answers travel through a pipe, in a millisecond or two.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from h2d.annotate.base import Annotator
from h2d.supervision.job import Care, Failure, OnBegin, OnPictures, Tally
from h2d.supervision.supervised import Supervised

_PRELOADED: Final = (__name__, "h2d.annotate.keypoints.holistic", "matplotlib.pyplot")
"""Imported once for all processes; of what MediaPipe imports, what takes longest. Not itself: it dies of forks."""


class Lost(RuntimeError):  # noqa: N818  # an answer of a kind
    """The process died or hung, twice, of what it was asked; the message says how."""


class InChild:
    """One method of an annotator, asked in a process that is replaced when it dies."""

    def __init__(self, annotator: Annotator, method: str, *, name: str, timeout_s: float | None = None) -> None:
        asked = _Asked(annotator=annotator, method=method, name=name)
        self._worker = Supervised(asked, timeout_s=timeout_s, preload=_PRELOADED)

    def setup(self) -> None:
        """Start the process and set the annotator up in it."""
        self._worker.setup()

    def close(self) -> None:
        """End it."""
        self._worker.close()

    def ask(self, about: str, *request: Any) -> Any:
        """The method's answer; `about` names the picture in messages. Raises what it raises, or `Lost`."""
        answer = self._worker.run(_Request(title=about, arguments=request), _unheard)
        if isinstance(answer, Failure):
            raise Lost(answer.message)
        return answer


class InThisProcess:
    """The same without a process: for annotators that do not die."""

    def __init__(self, annotator: Annotator, method: str) -> None:
        self._annotator, self._method = annotator, method

    def setup(self) -> None:
        """Set the annotator up."""
        self._annotator.setup()

    def close(self) -> None:
        """Close it."""
        self._annotator.close()

    def ask(self, about: str, *request: Any) -> Any:
        """The method's answer."""
        del about  # nobody is told
        return getattr(self._annotator, self._method)(*request)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """A shard of one picture."""

    title: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The job of answering."""

    annotator: Annotator
    method: str
    name: str

    def setup(self) -> None:
        self.annotator.setup()

    def run(self, shard: _Request, on_pictures: OnPictures, on_begin: OnBegin, care: Care) -> Any:
        if 0 in care.given_up:
            return care.given_up[0]
        on_begin((0,))
        answer = getattr(self.annotator, self.method)(*shard.arguments)
        on_pictures(Tally(statuses=Counter(ok=1)))
        return answer

    def close(self) -> None:
        self.annotator.close()


def _unheard(tally: Tally) -> None:
    """Nobody counts."""
