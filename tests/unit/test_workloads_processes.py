"""Arrival processes: their rates, their shapes over the day and the week, and what stays when they go on."""

import math
from itertools import pairwise

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import integrate, stats

from sim.errors import PlanError
from sim.parts import FROM_TEXT
from sim.workloads.processes import (
    DAY_S,
    HOUR_S,
    WEEK_S,
    AnyProcess,
    Batch,
    Bursty,
    Diurnal,
    Hours,
    Poisson,
    Process,
    Recorded,
)

OFFICE = Hours(opens=9, closes=18)
NIGHT = Hours(opens=22, closes=6, days=("fri", "sun"))
RANDOM: list[Process] = [
    Poisson(rate=0.01),
    Bursty(rate=0.01, cv=3.0),
    Diurnal(rate=0.01, amplitude=0.8, weekend_factor=0.4),
    Diurnal(rate=0.01, amplitude=1.0, weekend_factor=2.0),
]
ALL: list[Process] = [*RANDOM, Batch(every=HOUR_S, size=36)]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_arrivals_come_in_order_before_the_end_and_at_the_stated_rate(process: Process) -> None:
    until_s = 50 * WEEK_S
    times = process.times_s(rng(), until_s, None)
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < until_s
    # Five standard deviations of a count whose variance is cv² (9 for the burstiest) times its mean.
    assert len(times) == pytest.approx(0.01 * until_s, abs=5 * 3 * math.sqrt(0.01 * until_s))


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_a_later_end_only_adds_jobs(process: Process) -> None:
    short = process.times_s(rng(), 5 * WEEK_S, None)
    long = process.times_s(rng(), 40 * WEEK_S, None)
    assert len(long) > len(short) > 16_384  # so that several pieces are joined
    assert long[: len(short)].tolist() == short.tolist()
    assert (long[len(short) :] >= 5 * WEEK_S).all()


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_a_count_ends_what_no_horizon_ends(process: Process) -> None:
    times = process.times_s(rng(), math.inf, 20_000)
    assert len(times) == 20_000
    assert times.tolist() == process.times_s(rng(), math.inf, 30_000)[:20_000].tolist()
    assert len(process.times_s(rng(), DAY_S, 20_000)) < 1500


def test_gaps_of_a_poisson_process_are_exponential() -> None:
    gaps = np.diff(Poisson(rate=0.5).times_s(rng(), math.inf, 20_000))
    assert stats.kstest(gaps, stats.expon(scale=2).cdf).pvalue > 0.001


def test_gaps_of_a_gamma_process_have_the_stated_spread() -> None:
    gaps = np.diff(Bursty(rate=0.5, cv=2.5).times_s(rng(), math.inf, 400_000))
    assert gaps.std() / gaps.mean() == pytest.approx(2.5, rel=0.02)


def test_diurnal_arrivals_follow_the_hour_of_the_day_and_the_weekend() -> None:
    """Given their number, arrivals of a Poisson process of varying rate are draws from that rate."""
    process = Diurnal(rate=0.05, amplitude=0.7, peak_hour=14, weekend_factor=0.5)
    times = process.times_s(rng(), 20 * WEEK_S, None) % WEEK_S
    edges = np.arange(0, WEEK_S + 1, 6 * HOUR_S)
    counts, _ = np.histogram(times, edges)
    mass = [
        integrate.quad(lambda t: process.rate_at(np.array(t)), low, high)[0] for low, high in pairwise(edges)
    ]
    assert math.fsum(mass) == pytest.approx(0.05 * WEEK_S)
    expected = np.array(mass) / math.fsum(mass) * len(times)
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_the_peak_of_a_day_is_at_its_hour() -> None:
    process = Diurnal(rate=1.0, amplitude=0.5, peak_hour=15)
    rates = process.rate_at(np.array([3.0, 9.0, 15.0]) * HOUR_S)
    assert rates.tolist() == pytest.approx([0.5, 1.0, 1.5])


def test_no_job_comes_at_a_weekend_of_factor_zero() -> None:
    times = Diurnal(rate=0.01, weekend_factor=0.0).times_s(rng(), 10 * WEEK_S, None)
    assert len(times) > 50_000
    assert (times % WEEK_S < 5 * DAY_S).all()


def test_a_batch_comes_whole_and_on_time() -> None:
    times = Batch(every=HOUR_S, size=3, first=60.0).times_s(rng(), 2 * HOUR_S, None)
    assert times.tolist() == [60.0, 60.0, 60.0, 3660.0, 3660.0, 3660.0]


def test_given_times_are_replayed_up_to_the_end() -> None:
    process = Recorded(times=(0.0, 5.0, 5.0, 90.0))
    assert process.times_s(rng(), 90.0, None).tolist() == [0.0, 5.0, 5.0]
    assert process.times_s(rng(), math.inf, 2).tolist() == [0.0, 5.0]


def test_more_jobs_than_can_be_held_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(PlanError, match=r"about 6\.05e\+08 jobs would be submitted"):
        Poisson(rate=1000.0).times_s(rng(), WEEK_S, None)


def test_open_hours_are_walked_one_after_the_other() -> None:
    # Nine hours a day, Monday to Friday: the 46th open hour is the first of the second Monday.
    on_the_clock = OFFICE.on_the_clock(np.array([0.0, 8.5, 9.0, 44.0, 45.0]) * HOUR_S) / HOUR_S
    assert on_the_clock.tolist() == [9.0, 17.5, 33.0, 4 * 24 + 17.0, 7 * 24 + 9.0]


@pytest.mark.parametrize("hours", [OFFICE, NIGHT, Hours(opens=0, closes=24), Hours(opens=7.5, closes=7.5)])
def test_the_clock_and_the_open_hours_are_inverse(hours: Hours) -> None:
    open_s = np.random.default_rng(4).uniform(0, 5 * len(hours.days) * hours.open_s, 500)
    back = [hours.open_before_s(at) for at in hours.on_the_clock(open_s)]
    assert back == pytest.approx(open_s, abs=1e-6)


def test_a_night_that_begins_on_sunday_ends_on_monday() -> None:
    assert NIGHT.open_s == 8 * HOUR_S
    into_week = NIGHT.on_the_clock(np.array([8.0, 15.9]) * HOUR_S) - WEEK_S
    assert into_week / HOUR_S == pytest.approx([-2.0, 5.9])
    assert NIGHT.open_before_s(WEEK_S + 3 * HOUR_S) == 13 * HOUR_S


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "poisson", "rate": "0 per h"}, "greater than 0"),
        ({"kind": "poisson", "rate": 12}, "12 has no unit"),
        ({"kind": "diurnal", "rate": "1 per h", "amplitude": 1.5}, "less than or equal to 1"),
        ({"kind": "times", "times": ["2 s", "1 s"]}, "times must not go back"),
        ({"kind": "batch", "every": "1 h", "size": 0}, "greater than or equal to 1"),
    ],
)
def test_a_process_that_cannot_be_is_refused_with_the_reason(wrong: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter[object](AnyProcess).validate_python(wrong, context=FROM_TEXT)


def test_a_day_is_opened_once() -> None:
    with pytest.raises(ValidationError, match="a day is listed twice"):
        Hours(opens=9, closes=18, days=("mon", "mon"))
