"""Queues whose means are known in closed form, simulated from scenarios with synthetic workloads.

Each mean of independent replications must hold the known value in its 99 % interval. The seeds are fixed, so
a test that passes keeps passing. The first jobs of each replication are left out: the fleet starts empty.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from sim import experiment, staging, workloads
from sim.scenario import Scenario
from sim.statistics import Interval, t_interval
from tests.support import references

SERVICE_S = 100.0
REPLICATIONS = 10
JOBS = 10_000
WARM_UP = 2_000
FAST_S = 1e-6 * SERVICE_S
"""Means below this are not told from zero by so few jobs."""


def queue(servers: int, *streams: dict[str, Any], horizon: float | None = None, **scheduler: Any) -> Scenario:
    """One node of so many GPUs, and jobs of one GPU each."""
    return Scenario.model_validate(
        {
            "name": "queue",
            "horizon": horizon,
            "warm_up": 0.0 if horizon is None else horizon / 10,
            "fleet": {"pools": [{"name": "servers", "nodes": 1, "gpus_per_node": servers}]},
            "scheduler": {"order": "fifo", "blocking": "strict", "placement": "consolidate"} | scheduler,
            "workloads": [{"kind": "synthetic", "gpus": 1} | stream for stream in streams],
        }
    )


def poisson(rate_per_s: float, duration: dict[str, Any], jobs: int = JOBS, **told: Any) -> dict[str, Any]:
    return {"arrivals": {"kind": "poisson", "rate": rate_per_s}, "duration": duration, "count": jobs} | told


def exponential(mean_s: float = SERVICE_S) -> dict[str, Any]:
    return {"kind": "exponential", "mean": mean_s}


def played(scenario: Scenario, seed: int) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The jobs, the wait of each and the time that each was there."""
    jobs = workloads.generate(scenario.workloads, seed, scenario.horizon, Path()).jobs
    log = staging.simulate(scenario, jobs)
    waits_s, ends_s = np.zeros(jobs.height), np.zeros(jobs.height)
    for wait in log.waits:
        waits_s[wait[0]] += wait[2] - wait[1]
    for run in log.runs:
        ends_s[run[0]] = max(ends_s[run[0]], run[2])
    return jobs, waits_s, ends_s - jobs["submit_s"].to_numpy()


def steady(times_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return times_s[WARM_UP:-WARM_UP]


def mean_wait(scenario: Scenario, first_seed: int = 0) -> Interval:
    seeds = range(first_seed, first_seed + REPLICATIONS)
    return t_interval([steady(played(scenario, seed)[1]).mean() for seed in seeds], 0.99)


def mean_stay(scenario: Scenario, first_seed: int = 0) -> Interval:
    seeds = range(first_seed, first_seed + REPLICATIONS)
    return t_interval([steady(played(scenario, seed)[2]).mean() for seed in seeds], 0.99)


def erlang_c_wait_s(rate_per_s: float, mean_s: float, servers: int) -> float:
    """Mean wait of an M/M/c queue (Erlang 1917)."""
    load = rate_per_s * mean_s
    terms = [math.exp(n * math.log(load) - gammaln(n + 1)) for n in range(servers)]
    last = math.exp(servers * math.log(load) - gammaln(servers + 1)) / (1 - load / servers)
    return last / (sum(terms) + last) * mean_s / (servers - load)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("servers", [1, 4, 16, 64])
def test_the_mean_wait_of_an_m_m_c_queue_is_erlangs(servers: int, load: float) -> None:
    rate = load * servers / SERVICE_S
    found = mean_wait(queue(servers, poisson(rate, exponential())))
    expected = erlang_c_wait_s(rate, SERVICE_S, servers)
    assert found.low - FAST_S <= expected <= found.high + FAST_S


@pytest.mark.parametrize("servers", [1, 5])
def test_every_wait_of_a_g_g_c_queue_is_that_of_the_recursion_of_kiefer_and_wolfowitz(servers: int) -> None:
    arrivals = {"kind": "gamma", "rate": 0.9 * servers / SERVICE_S, "cv": 2.0}
    stream = {
        "arrivals": arrivals,
        "duration": {"kind": "lognormal", "median": 60.0, "sigma": 1.0},
        "count": 3000,
    }
    jobs, waits_s, _ = played(queue(servers, stream), seed=5)
    expected = references.multi_server(jobs["submit_s"].to_list(), jobs["duration_s"].to_list(), servers)
    assert waits_s == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_equal_service_halves_the_wait_of_one_server(load: float) -> None:
    rate = load / SERVICE_S
    expected = load * SERVICE_S / (2 * (1 - load))
    assert expected in mean_wait(queue(1, poisson(rate, {"kind": "fixed", "value": SERVICE_S})))


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_the_mean_wait_of_an_m_g_1_queue_is_that_of_pollaczek_and_khinchine(sigma: float) -> None:
    load, median_s = 0.7, SERVICE_S
    mean_s, square_s2 = median_s * math.exp(sigma**2 / 2), median_s**2 * math.exp(2 * sigma**2)
    rate = load / mean_s
    told = {"kind": "lognormal", "median": median_s, "sigma": sigma}
    assert rate * square_s2 / (2 * (1 - load)) in mean_wait(queue(1, poisson(rate, told)))


RATES = (0.3 / SERVICE_S, 0.5 / SERVICE_S)
"""Jobs per second of the urgent and of the others, on one server."""
CLASSES = (
    poisson(RATES[0], exponential(), jobs=6_000, name="urgent", tenant="urgent", priority=1),
    poisson(RATES[1], exponential(), jobs=10_000, name="others", tenant="others"),
)


def by_class(scenario: Scenario, column: int) -> tuple[Interval, Interval]:
    """Mean time of the urgent jobs and of the others: of the waits (1) or of the whole stays (2)."""
    means: dict[str, list[float]] = {"urgent": [], "others": []}
    for seed in range(REPLICATIONS):
        found = played(scenario, seed)
        tenants = found[0]["tenant"].to_numpy()
        for tenant, values in means.items():
            values.append(steady(np.where(tenants == tenant, found[column], np.nan)))
    urgent, others = ([np.nanmean(value) for value in values] for values in means.values())
    return t_interval(urgent, 0.99), t_interval(others, 0.99)


def test_priority_without_preemption_waits_as_cobham_says() -> None:
    urgent, others = by_class(queue(1, *CLASSES, order="priority"), column=1)
    first, both = RATES[0] * SERVICE_S, sum(RATES) * SERVICE_S
    residual_s = both * SERVICE_S
    assert residual_s / (1 - first) in urgent
    assert residual_s / ((1 - first) * (1 - both)) in others


def test_priority_with_free_preemption_stays_as_the_preemptive_resume_queue_does() -> None:
    urgent, others = by_class(queue(1, *CLASSES, order="priority", preemption={}), column=2)
    first, both = RATES[0] * SERVICE_S, sum(RATES) * SERVICE_S
    assert SERVICE_S / (1 - first) in urgent
    assert SERVICE_S / (1 - first) + both * SERVICE_S / ((1 - first) * (1 - both)) in others


def schrage_miller_s(load: float, mean_s: float) -> float:
    """Mean stay of an M/M/1 queue that serves the least work left first (Schrage and Miller, 1966)."""
    rate = load / mean_s

    def served(size_s: float) -> float:
        return load * (1 - math.exp(-size_s / mean_s) * (1 + size_s / mean_s))

    def stay_s(size_s: float) -> float:
        scaled, tail = size_s / mean_s, math.exp(-size_s / mean_s)
        squares = mean_s**2 * (2 - tail * (scaled**2 + 2 * scaled + 2)) + size_s**2 * tail
        waiting_s = rate * squares / (2 * (1 - served(size_s)) ** 2)
        return waiting_s + quad(lambda at: 1 / (1 - served(at)), 0, size_s)[0]

    return float(quad(lambda size_s: stay_s(size_s) * math.exp(-size_s / mean_s) / mean_s, 0, 40 * mean_s)[0])


def test_least_time_left_first_stays_as_schrage_and_miller_say_and_less_than_in_order_of_arrival() -> None:
    load = 0.8
    stream = poisson(load / SERVICE_S, exponential())
    found = mean_stay(queue(1, stream, order="srtf", blocking="greedy"))
    assert schrage_miller_s(load, SERVICE_S) in found
    assert found.high < mean_stay(queue(1, stream)).low


def test_littles_law_holds_exactly_over_a_whole_run() -> None:
    scenario = queue(4, poisson(0.036, exponential(), jobs=3_000))
    found = experiment.run(scenario, Path())
    jobs = found.tables["jobs"]
    end_s = float(jobs["end_s"].max())  # type: ignore[arg-type]
    queued = found.metric("queue_length_mean")
    assert queued is not None
    assert queued * end_s == pytest.approx(jobs["wait_s"].sum(), rel=1e-9)
    assert found.metric("occupancy") == pytest.approx(jobs["run_s"].sum() / (4 * end_s), rel=1e-9)


def test_utilisation_is_the_offered_load() -> None:
    load, servers, days = 0.75, 8, 3
    stream = poisson(load * servers / SERVICE_S, exponential())
    del stream["count"]
    found = experiment.replicate(queue(servers, stream, horizon=days * 86_400.0), Path(), 8)
    low, high = next(
        row["interval"]
        for row in found.summary["metrics"]
        if row["name"] == "utilisation" and row["tenant"] is None and row["size_class"] is None
    )
    assert low <= load <= high
