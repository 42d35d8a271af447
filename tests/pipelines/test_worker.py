"""What a worker does with pictures that fail: a row each, in place, and the shard goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from h2d.errors import UserError
from h2d.manifests.schema import POINTS_21
from h2d.pipelines.parts import fingerprint, part_folder
from h2d.pipelines.plan import SelectionConfig, list_source, open_plan
from h2d.pipelines.sources.base import Record
from h2d.pipelines.worker import StageJob
from h2d.supervision.job import Care


@dataclass(frozen=True, kw_only=True)
class ListedSource:
    """A source of made-up records."""

    root: Any
    count: int
    name: ClassVar[str] = "listed"
    follow_links: ClassVar[bool] = False

    def describe(self) -> str:
        return "made-up records"

    def options(self) -> Mapping[str, Any]:
        return {}

    def records(self):
        for number in range(self.count):
            yield Record(id=f"listed/{number:02d}", split="train", path=f"{number:02d}.jpg", size_bytes=number)


@dataclass(frozen=True, kw_only=True)
class PickyStage:
    """Squares the size; raises on chosen pictures, always or only when they come in company."""

    name: ClassVar[str] = "picky"
    version: ClassVar[int] = 1
    index_columns: ClassVar[tuple[str, ...]] = ("size_bytes",)
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    annotator: ClassVar[str] = "picky"
    needs_gpu: ClassVar[bool] = False
    uses_all_cores: ClassVar[bool] = False
    schema: ClassVar[pa.Schema] = pa.schema([("square", pa.int64()), pa.field("points", POINTS_21, nullable=False)])
    bad: tuple[int, ...] = ()
    batch_size: int = 3
    fatal: bool = False
    calls: list[list[int]] = field(default_factory=list)

    def identity(self):
        return {}

    def setup(self): ...

    def close(self): ...

    def process(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        numbers = [row["size_bytes"] for row in rows]
        self.calls.append(numbers)
        if self.fatal:
            raise UserError("the server says no")
        for number in numbers:
            if number in self.bad:
                raise ValueError(f"bad   picture\n{number} " + "x" * 500)
        return [{"square": number**2, "points": np.zeros(63, np.float32)} for number in numbers]


def run(tmp_path, stage, count=7, inputs=None):
    source = ListedSource(root=tmp_path, count=count)
    plan = open_plan(tmp_path, source, list_source(source, SelectionConfig(), 100))
    job = StageJob(stage=stage, work=tmp_path, fingerprint="f" * 16, inputs=inputs or {})
    tally = job.run(plan.shards[0], lambda tally: None, lambda places: None, Care())
    return tally, pq.read_table(part_folder(tmp_path, stage.name, "f" * 16) / "part-00000.parquet").to_pylist()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_a_bad_picture_fails_alone_whatever_its_batch(tmp_path, batch_size):
    tally, rows = run(tmp_path, PickyStage(bad=(0, 4), batch_size=batch_size))
    assert [row["id"] for row in rows] == [f"listed/{number:02d}" for number in range(7)]
    assert [row["square"] for row in rows] == [None, 1, 4, 9, None, 25, 36]
    assert [row["status"] for row in rows] == ["error", "ok", "ok", "ok", "error", "ok", "ok"]
    assert dict(tally.statuses) == {"ok": 5, "error": 2}
    assert dict(tally.reasons) == {"ValueError": 2}


def test_a_failure_is_one_short_line_and_was_tried_twice(tmp_path):
    _, rows = run(tmp_path, PickyStage(bad=(2,)))
    assert rows[2]["message"].startswith("bad picture 2 xxx")
    assert len(rows[2]["message"]) == 200
    assert rows[2]["attempts"] == 2
    assert rows[1]["attempts"] == 1


def test_a_failed_row_has_missing_points_that_can_be_read_back(tmp_path):
    _, rows = run(tmp_path, PickyStage(bad=(1,)))
    points = np.array(rows[1]["points"]).reshape(21, 3)
    assert np.isnan(points[:, :2]).all()
    assert (points[:, 2] == 0).all()


def test_a_users_mistake_stops_the_shard_and_leaves_no_part(tmp_path):
    with pytest.raises(UserError, match="the server says no"):
        run(tmp_path, PickyStage(fatal=True))
    assert not list(tmp_path.rglob("picky/**/*.parquet"))


def test_later_stages_skip_what_an_earlier_one_could_not_do(tmp_path):
    run(tmp_path, PickyStage(bad=(3,)))

    @dataclass(frozen=True, kw_only=True)
    class Later(PickyStage):
        name: ClassVar[str] = "later"
        reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"picky": ("square",)}

        def process(self, rows):
            assert all(row.keys() == {"id", "size_bytes", "picky"} for row in rows)
            assert all(row["picky"].keys() == {"id", "status", "square"} for row in rows), "what it named, no more"
            return super().process(rows)

    later = Later(batch_size=7)
    tally, rows = run(tmp_path, later, inputs={"picky": "f" * 16})
    assert later.calls == [[0, 1, 2, 4, 5, 6]]
    assert rows[3]["status"] == "blocked"
    assert dict(tally.statuses) == {"ok": 6, "blocked": 1}


@pytest.mark.parametrize("change", ["stage", "version", "identity", "inputs"])
def test_a_fingerprint_changes_with_everything_that_goes_in(change):
    base = {"stage": "pose", "version": 1, "identity": {"a": 1}, "inputs": ["x"]}
    other = {**base, change: {"stage": "mask", "version": 2, "identity": {"a": 2}, "inputs": ["y"]}[change]}
    assert fingerprint(**base) != fingerprint(**other)
    assert fingerprint(**base) == fingerprint(**base)
