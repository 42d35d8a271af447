"""What was noticed about a dataset, counted and named: millions of names where labels and pictures differ."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from h2d.pipelines.index import ROWS_PER_RUN, SortedRows
from h2d.pipelines.sources.base import Finding

FINDINGS: Final = pa.schema([("kind", pa.string()), ("split", pa.string()), ("name", pa.string())])


class Findings:
    """Findings in any order in, in the order of kind, split and name out; beyond one run they lie on disk."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        """By kind."""
        self._rows = SortedRows(FINDINGS, FINDINGS.names)
        self._waiting: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Take one more."""
        self.counts[finding.kind] += 1
        self._waiting.append(finding)
        if len(self._waiting) == ROWS_PER_RUN:
            self._put_down()

    def blocks(self) -> Iterator[pa.Table]:
        """All of them, a few hundred rows at a time; none may be added meanwhile."""
        self._put_down()
        return self._rows.blocks()

    def names(self, *kinds: str) -> Iterator[str]:
        """What those of some kinds are about."""
        for block in self.blocks():
            for kind, name in zip(block["kind"].to_pylist(), block["name"].to_pylist(), strict=True):
                if kind in kinds:
                    yield name

    def _put_down(self) -> None:
        columns = {name: [getattr(finding, name) for finding in self._waiting] for name in FINDINGS.names}
        self._rows.add(pa.table(columns, schema=FINDINGS))
        self._waiting.clear()
