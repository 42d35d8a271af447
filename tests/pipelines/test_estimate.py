"""An estimate is what a run took, multiplied."""

from dataclasses import replace

import pytest
from colour_world import scenes, write_folder
from test_prepare import Watching, choices_for

from h2d.errors import UserError
from h2d.pipelines.estimate import estimate
from h2d.pipelines.prepare import prepare


def test_hours_and_disk_grow_with_the_pictures_and_nothing_is_written(tmp_path):
    write_folder(tmp_path / "pictures", scenes(12))
    choices = choices_for(tmp_path)
    found = estimate(choices, 1_000_000, num_measured=8)
    assert (found.num_pictures, found.num_measured) == (1_000_000, 8)
    assert found.core_hours.keys() == {"pose", "mask", "caption", "merge"}
    assert all(hours > 0 for hours in found.core_hours.values())
    assert found.gpu_hours == {}
    assert found.hours(2) == pytest.approx(sum(found.core_hours.values()) / 2)
    assert not choices.out.exists()
    whole = prepare(choices, Watching())
    size = sum(file.stat().st_size for table in ("images", "hands") for file in (whole.out / table).rglob("*.parquet"))
    assert size / 12 * 1e6 / 1e9 < found.disk_gb < 10 * size / 12 * 1e6 / 1e9


def test_one_picture_is_too_few(tmp_path):
    write_folder(tmp_path / "pictures", scenes(1))
    with pytest.raises(UserError, match="too few pictures to measure, 1: give 2 at least"):
        estimate(replace(choices_for(tmp_path)), 10)
