"""Why there is no number and what must be known of one, said once for all cells that share it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """What is said of one cell of a table."""

    what: str
    """The measure, or the part of the list."""
    method: str
    text: str


def gathered(remarks: Iterable[Remark], methods: Sequence[str]) -> tuple[str, ...]:
    """`FID fg; KID fg (ControlNet): why`, a line for each text; of one that holds of most `methods`, the others."""
    methods_of: dict[str, dict[str, list[str]]] = {}
    for one in remarks:
        methods_of.setdefault(one.text, {}).setdefault(one.what, []).append(one.method)
    said = []
    for text, by_what in methods_of.items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for what, named in by_what.items():
            alike.setdefault(tuple(named), []).append(what)
        for those, whats in alike.items():
            said.append(f"{'; '.join(whats)}{_whose(those, methods)}: {text}")
    return tuple(said)


def _whose(named: Sequence[str], methods: Sequence[str]) -> str:
    others = [method for method in methods if method not in named]
    if not others:
        return ""
    return f" (all but {'; '.join(others)})" if len(others) < len(named) else f" ({'; '.join(named)})"
