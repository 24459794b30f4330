"""Intervals, warm-up and averages against known answers and against scipy."""

import numpy as np
import pytest
from scipy import stats

from sim import statistics


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 19, 29, 99, 100, 1000, 9999])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.99999])
def test_the_t_quantile_is_that_of_scipy(level: float, degrees: int) -> None:
    expected = float(stats.t.ppf(0.5 + level / 2, degrees))
    assert statistics.t_quantile(level, degrees) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("level", "degrees"), [(0.0, 3), (1.0, 3), (0.95, 0)])
def test_a_t_quantile_that_does_not_exist_is_refused(level: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="no t for"):
        statistics.t_quantile(level, degrees)


def test_an_interval_over_replications_is_students() -> None:
    """Worked by hand: mean 5, standard deviation 2, n = 4, t(0.975, 3) = 3.182446305284263."""
    interval = statistics.t_interval([3.0, 5.0, 5.0, 7.0])
    half = 3.182446305284263 * np.sqrt(8 / 3) / 2
    assert interval.mean == 5.0
    assert interval.low == pytest.approx(5 - half, rel=1e-12)
    assert interval.high == pytest.approx(5 + half, rel=1e-12)
    assert 5.0 in interval
    assert 9.0 not in interval


def test_one_replication_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        statistics.t_interval([1.0])


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    draws = np.random.default_rng(5).normal(10.0, 3.0, (2000, 5))
    held = np.mean([10.0 in statistics.t_interval(sample, 0.9) for sample in draws])
    assert held == pytest.approx(0.9, abs=0.02)


def test_common_arrivals_make_a_small_difference_visible() -> None:
    """Runs differ by 1 although their level wanders by tens: pairing cancels the wandering."""
    wandering = np.random.default_rng(1).normal(100.0, 30.0, 10)
    better = wandering - 1.0 + np.linspace(-0.1, 0.1, 10)
    paired = statistics.paired_difference(wandering, better)
    assert paired.mean == pytest.approx(1.0)
    assert 0.0 not in paired
    assert statistics.t_interval(wandering).low < better.mean()


def test_unequal_numbers_of_replications_are_not_paired() -> None:
    with pytest.raises(ValueError, match="3 replications cannot be paired with 2"):
        statistics.paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])


def test_batch_means_leave_the_rest_at_the_start_out() -> None:
    """Seven values in three batches of two: (2, 4), (6, 8), (10, 12)."""
    interval = statistics.batch_means([99.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0], batches=3)
    assert interval == statistics.t_interval([3.0, 7.0, 11.0])


def test_batch_means_need_a_value_per_batch() -> None:
    with pytest.raises(ValueError, match="3 values are too few for 20 batches"):
        statistics.batch_means([1.0, 2.0, 3.0])


def test_batch_means_allow_for_neighbours_that_are_alike() -> None:
    """An autoregressive series: the interval of independent values would be about four times too narrow."""
    noise = np.random.default_rng(2).normal(size=20_000)
    series = np.empty_like(noise)
    level = 0.0
    for place, shock in enumerate(noise):
        level = 0.9 * level + shock
        series[place] = level
    batched, naive = statistics.batch_means(series), statistics.t_interval(series)
    ratio = (batched.high - batched.low) / (naive.high - naive.low)
    assert 0.0 in batched
    assert 2.5 < ratio < 7.0


def test_the_warm_up_ends_where_the_level_settles() -> None:
    steady = np.random.default_rng(3).normal(50.0, 1.0, 1000)
    assert statistics.warm_up_length(np.concatenate([np.linspace(0.0, 50.0, 200), steady])) in range(185, 226)


def test_a_steady_run_needs_no_warm_up() -> None:
    assert statistics.warm_up_length(np.tile([1.0, 2.0, 3.0, 4.0, 5.0], 40)) == 0
    assert statistics.warm_up_length([1.0, 2.0]) == 0


def test_percentiles_are_those_of_definition_seven() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert statistics.percentile(values, 40) == pytest.approx(29.0)
    assert [statistics.percentile(values, level) for level in (0, 50, 100)] == [15.0, 35.0, 50.0]


def test_a_time_average_weights_levels_by_how_long_they_lasted() -> None:
    """2 GPUs for 3 s, 10 for 1 s, 0 for 6 s: 16 GPU-seconds in 10 s."""
    times, levels = [0.0, 3.0, 4.0], [2.0, 10.0, 0.0]
    assert statistics.time_average(times, levels, until_s=10.0) == pytest.approx(1.6)
    assert statistics.time_average(times, levels, until_s=4.0, from_s=2.0) == pytest.approx(6.0)
    assert statistics.integral(times, levels, 5.0, 9.0) == 0.0
    assert statistics.integral(times, levels, -5.0, 1.0) == 2.0


def test_an_average_over_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no time passes"):
        statistics.time_average([1.0], [1.0], until_s=1.0)


def test_the_running_integral_is_the_area_up_to_each_time() -> None:
    times, levels = np.array([1.0, 3.0, 4.0]), np.array([2, 10, 0])
    areas = statistics.running_integral(times, levels, [0.0, 1.0, 2.0, 3.5, 9.0])
    assert areas.tolist() == [0.0, 0.0, 2.0, 9.0, 14.0]


@pytest.mark.parametrize(
    ("shares", "index"),
    [
        ([4.0], 1.0),
        ([2.0, 2.0, 2.0], 1.0),
        ([0.0, 0.0, 6.0], 1 / 3),
        ([1.0, 3.0], 0.8),
        ([], 1.0),
        ([0.0, 0.0], 1.0),
    ],
)
def test_jains_index_runs_from_one_share_to_one(shares: list[float], index: float) -> None:
    assert statistics.jain_index(shares) == pytest.approx(index)
