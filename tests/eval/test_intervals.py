"""Bootstrap intervals hold the true number as often as they say, and pairing sees what unpaired lists hide."""

import numpy as np
import pytest

from h2d.errors import UserError
from h2d.eval.feature_distance import FrechetDistance, KernelDistance
from h2d.eval.intervals import bootstrap, paired_difference, with_interval
from h2d.eval.measured import REPEATS, Measure, Ratio, Undefined, mean_of


def test_intervals_of_a_mean_hold_it_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        interval = bootstrap(mean_of(rng.exponential(1, 80)), rng=rng, resamples=80, level=0.8)
        held += interval.low <= 1 <= interval.high
    assert 0.65 <= held / 100 <= 0.9


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    rng = np.random.default_rng(1)
    values = rng.normal(5, 2, 400)
    interval = bootstrap(mean_of(values), rng=rng, resamples=4000)
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert (interval.level, interval.resamples, interval.method) == (0.95, 4000, "percentile")


def test_the_same_seed_gives_the_same_interval():
    statistic = mean_of(np.arange(20.0))
    first, again = (bootstrap(statistic, rng=np.random.default_rng(3), resamples=50) for _ in range(2))
    assert first == again
    assert first != bootstrap(statistic, rng=np.random.default_rng(4), resamples=50)


def test_pictures_of_one_person_are_drawn_together():
    """Ten people with ten equal pictures each are ten observations, not a hundred."""
    rng = np.random.default_rng(5)
    people = np.repeat(np.arange(10), 10)
    statistic = mean_of(np.repeat(rng.normal(0, 1, 10), 10))
    alone = bootstrap(statistic, rng=rng)
    together = bootstrap(statistic, rng=rng, groups=people)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(10), rel=0.15)


def test_a_part_of_the_list_is_drawn_from_that_part():
    statistic = mean_of(np.concatenate([np.zeros(50), np.linspace(1, 2, 50)]))
    counts = np.repeat([0, 1], 50)
    interval = bootstrap(statistic, rng=np.random.default_rng(0), resamples=50, counts=counts)
    assert 1 < interval.low < interval.high < 2


def test_pictures_that_count_more_often_stay_so_when_they_are_drawn():
    statistic = mean_of(np.array([0.0, 1.0]))
    interval = bootstrap(statistic, rng=np.random.default_rng(0), resamples=300, level=0.2, counts=np.array([3, 1]))
    assert (interval.low, interval.high) == (0.25, 0.25)


def test_the_centred_interval_stands_around_a_number_that_resampling_shifts():
    """The distance between normal sets grows when pictures repeat: percentiles lie wholly above it."""
    rng = np.random.default_rng(0)
    sets = rng.normal(0, 1, (21, 2, 100, 16)).astype(np.float32)
    distances = [FrechetDistance(real=real, made=made) for real, made in sets]
    usual = np.mean([distance.on() for distance in distances])
    held = 0
    for distance in distances:
        percentile = bootstrap(distance, rng=rng, resamples=40)
        centred = bootstrap(distance, rng=rng, resamples=40, method="centred")
        assert percentile.low > distance.on()
        assert centred.low < distance.on() < centred.high
        held += centred.low <= usual <= centred.high
    assert held >= 17
    apart = paired_difference(distances[0], distances[0], rng=rng, resamples=20, method="centred")
    assert (apart.difference, apart.p_value) == (0, 1)


@pytest.mark.parametrize("count", [3, 8, 40])
@pytest.mark.parametrize("level", [0.05, 0.95])
def test_the_interval_of_a_distance_is_never_negative_and_holds_the_distance(count, level):
    """Of few pictures resamples differ by more than the distance; those with the one that lies far off are skewed."""
    rng = np.random.default_rng(0)
    for number in range(6):
        real, made = rng.normal(size=(2, count, 4)).astype(np.float32)
        if number % 2:
            made[0] += 9
        distance = FrechetDistance(real=real, made=made)
        interval = bootstrap(distance, rng=rng, resamples=100, level=level, method="centred")
        assert 0 <= interval.low <= distance.on() <= interval.high


def test_the_difference_of_two_distances_may_be_negative():
    rng = np.random.default_rng(0)
    real, near, far = rng.normal(size=(3, 60, 4)).astype(np.float32)
    distances = (FrechetDistance(real=real, made=made) for made in (near, far + 2))
    assert paired_difference(*distances, rng=rng, resamples=40, method="centred").interval.high < 0


def test_pairing_sees_a_small_difference_that_is_the_same_everywhere():
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 5, 100)
    better, worse = mean_of(hard + rng.normal(0.3, 0.5, 100)), mean_of(hard + rng.normal(0, 0.5, 100))
    apart = paired_difference(better, worse, rng=rng)
    assert apart.interval.low > 0
    assert apart.p_value < 0.01
    assert apart.difference == pytest.approx(better.on() - worse.on())
    alone = bootstrap(better, rng=rng)
    assert alone.low < worse.on() < alone.high
    backwards = paired_difference(worse, better, rng=rng)
    assert backwards.p_value < 0.01
    assert backwards.interval.high < 0


def test_methods_that_do_not_differ_are_not_told_apart():
    rng = np.random.default_rng(7)
    values = rng.random(60)
    same = paired_difference(mean_of(values), mean_of(values), rng=rng, resamples=100)
    assert (same.difference, same.p_value) == (0, 1)
    told = [
        paired_difference(mean_of(rng.normal(0, 1, 60)), mean_of(rng.normal(0, 1, 60)), rng=rng, resamples=60).p_value
        for _ in range(60)
    ]
    assert np.mean(np.array(told) < 0.1) < 0.25


def test_what_cannot_be_resampled_says_why():
    rng = np.random.default_rng(0)
    with pytest.raises(Undefined, match="only 1 picture to resample"):
        bootstrap(mean_of(np.ones(1)), rng=rng)
    with pytest.raises(Undefined, match="only 1 group to resample"):
        bootstrap(mean_of(np.ones(4)), rng=rng, groups=np.zeros(4, np.int64))
    with pytest.raises(Undefined, match="no hand"):
        bootstrap(mean_of(np.full(4, np.nan), nothing="no hand"), rng=rng)
    mostly = Ratio(sums=np.eye(1, 20)[0], weights=np.eye(1, 20)[0])
    with pytest.raises(Undefined, match=r"only \d+ of 200 resamples have a number"):
        bootstrap(mostly, rng=rng, resamples=200)


def test_a_number_that_no_resample_changes_has_no_interval():
    """Twelve hands missed of twelve: 0.00 to 0.00 would say that no hand is ever found."""
    measure = Measure(name="x", statistic=mean_of(np.zeros(12)), higher_is_better=True, conventions={})
    measured = with_interval(measure, rng=np.random.default_rng(0), resamples=50)
    assert (measured.value, measured.interval) == (0, None)
    assert measured.notes == ("no interval: every resample has the same number",)


def test_wrong_options_are_one_line():
    rng, statistic = np.random.default_rng(0), mean_of(np.arange(5.0))
    with pytest.raises(UserError, match="resamples is 1"):
        bootstrap(statistic, rng=rng, resamples=1)
    with pytest.raises(UserError, match="level is 95"):
        bootstrap(statistic, rng=rng, level=95)
    with pytest.raises(UserError, match="5 and 6 pictures cannot be paired"):
        paired_difference(statistic, mean_of(np.arange(6.0)), rng=rng)
    with pytest.raises(UserError, match="3 groups for 5 pictures"):
        bootstrap(statistic, rng=rng, groups=np.arange(3))


def test_a_number_without_an_interval_keeps_its_value_and_says_why():
    measure = Measure(name="x", statistic=mean_of(np.ones(1)), higher_is_better=True, conventions={"a": 1})
    measured = with_interval(measure, rng=np.random.default_rng(0))
    assert (measured.value, measured.interval) == (1, None)
    assert measured.notes == ("no interval: only 1 picture to resample",)
    plain = with_interval(
        Measure(name="x", statistic=mean_of(np.arange(9.0)), higher_is_better=True, conventions={}),
        rng=np.random.default_rng(0),
        resamples=20,
    ).as_plain()
    assert plain["interval"]["resamples"] == 20
    assert plain["reason"] is None


def test_what_has_no_number_has_a_reason():
    measure = Measure(
        name="x", statistic=mean_of(np.full(3, np.nan), nothing="no hand"), higher_is_better=True, conventions={}
    )
    measured = with_interval(measure, rng=np.random.default_rng(0))
    assert (measured.value, measured.reason) == (None, "no hand")


@pytest.mark.parametrize("count", [3, 30])
def test_a_kernel_distance_has_no_interval_and_says_why_however_few_pictures_there_are(count):
    """Of three pictures some resamples are permutations, which have a number: they are no reason for another answer."""
    rng = np.random.default_rng(0)
    real, made = (rng.normal(size=(count, 4)).astype(np.float32) for _ in range(2))
    distance = KernelDistance(real=real, made=made, subsets=2)
    measure = Measure(name="KID", statistic=distance, higher_is_better=False, conventions={})
    assert with_interval(measure, rng=rng, resamples=50).notes[-1] == f"no interval: {REPEATS}"
    with pytest.raises(Undefined, match=r"^a resample repeats pictures"):
        paired_difference(distance, distance, rng=rng, resamples=50)
