"""Options on measuring: what is out of range is one line that names option, value and range, before any work."""

import pytest

from h2d.config import load_config
from h2d.errors import UserError
from h2d.eval.options import MeasureConfig


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("resamples=1", "resamples is 1: give at least 2"),
        ("resamples=-4", "resamples is -4: give at least 2"),
        ("part_pictures=0", "part_pictures is 0: give at least 1"),
        ("distance_resamples=1", "distance_resamples is 1: give at least 2"),
        ("level=1.5", "level is 1.5: give a share between 0 and 1"),
        ("level=nan", "level is nan: give a share between 0 and 1"),
        ("seed=-1", "seed is -1: give at least 0"),
        ("pose.penalty=nan", "penalty is nan: give a distance of at least 0"),
        ("pose.penalty=-1", "penalty is -1.0: give a distance of at least 0"),
        ("pose.penalty=inf", "penalty is inf: give a distance of at least 0"),
        ("pose.truth_above=nan", "truth_above is nan: give a confidence, from 0 to below 1"),
        ("pose.truth_above=1", "truth_above is 1.0: give a confidence, from 0 to below 1"),
        ("look.enlarged_px=0", "enlarged_px is 0: give at least 1"),
        ("look.enlarged_px=-5", "enlarged_px is -5: give at least 1"),
        ("look.width=100", "width is 100: choose among 64, 192, 768, 2048"),
        ("quality.subsets=0", "subsets must be at least 1, got 0"),
        ("quality.subset_size=1", "subset_size must be at least 2, got 1"),
        ("quality.seed=-1", "seed must be at least 0, got -1"),
    ],
)
def test_what_is_out_of_range_is_one_line(option, message):
    with pytest.raises(UserError) as refused:
        load_config(MeasureConfig, {}, overrides=[option])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_in_range_is_taken():
    taken = ["resamples=0", "level=0.9", "pose.penalty=0", "pose.truth_above=0.5", "look.width=2048"]
    chosen = load_config(MeasureConfig, {}, overrides=taken)
    assert (chosen.resamples, chosen.pose.penalty, chosen.look.width) == (0, 0, 2048)
