"""The clock: what happens at one moment, what the horizon cuts off, where jobs go, what is told meanwhile."""

from __future__ import annotations

import gc
import math

import polars as pl
import pytest

from sim import arrivals, staging
from sim.errors import PlanError
from sim.log import RUN_COLUMNS, Log, Outcome, columns
from tests.support.playing import jobs, nodes, play, scenario, spans, told

ONE = nodes(1, 4)


def test_what_ends_at_a_moment_is_free_for_what_comes_at_it() -> None:
    assert told(play(jobs((0, 5, 4), (5, 5, 4)), ONE)) == [(0, 5), (5, 10)]


def test_jobs_of_one_moment_are_served_in_order_of_the_file() -> None:
    assert told(play(jobs((0, 3, 4), (0, 2, 4), (0, 1, 4)), ONE)) == [(0, 3), (3, 5), (5, 6)]


def test_the_horizon_leaves_jobs_running_and_queued() -> None:
    log = play(jobs((0, 10, 4), (1, 10, 4), (30, 1, 1)), ONE, horizon=15.0)
    assert [run[:4] for run in log.runs] == [(0, 0, 10, Outcome.DONE), (1, 10, 15, Outcome.CENSORED)]
    assert log.end_s == 15
    log = play(jobs((0, 20, 4), (1, 10, 4), (2, 10, 4)), ONE, horizon=15.0)
    assert [wait[:3] + wait[8:] for wait in log.waits] == [(1, 1, 15, 1), (2, 2, 15, 1)]


def test_what_ends_exactly_at_the_horizon_is_done_and_nothing_starts_then() -> None:
    log = play(jobs((0, 15, 3), (1, 20, 1), (2, 5, 3), (5, 10, 1)), nodes(1, 5), horizon=15.0)
    assert sorted(run[:4] for run in log.runs) == [
        (0, 0, 15, Outcome.DONE),
        (1, 1, 15, Outcome.CENSORED),
        (3, 5, 15, Outcome.DONE),
    ]
    assert [wait[:3] + wait[8:] for wait in log.waits] == [(2, 2, 15, 1)]
    late = play(jobs((0.1, 0.2, 4)), ONE, horizon=math.nextafter(0.1 + 0.2, 0.0))
    assert late.runs[0][3] == Outcome.CENSORED


def test_a_limit_reached_exactly_at_the_horizon_ends_the_job() -> None:
    limits = {"estimates": {"from": "user", "on_overrun": "kill"}}
    log = play(jobs((0, 20, 4), estimate_s=[15.0]), ONE, horizon=15.0, **limits)
    assert log.runs[0][1:4] == (0, 15, Outcome.TIMED_OUT)


@pytest.mark.parametrize("blocking", ["strict", "greedy", "easy", "conservative"])
def test_who_still_waits_at_the_horizon_is_told_under_every_blocking_rule(blocking: str) -> None:
    log = play(jobs((0, 20, 4), (1, 10, 4), (2, 10, 2)), ONE, horizon=15.0, blocking=blocking)
    assert [wait[0] for wait in log.waits if wait[8]] == [1, 2]


def test_a_preempted_job_that_waits_at_the_horizon_has_lost_nothing_that_it_saved() -> None:
    log = play(jobs((0, 20, 4), (5, 11, 4)), ONE, horizon=15.0, order="srtf")
    assert [run[:4] for run in log.runs] == [(0, 0, 5, Outcome.PREEMPTED), (1, 5, 15, Outcome.CENSORED)]
    assert log.waits == [(0, 5, 15, 0, 0, 0, 0, 10, 1)]


def test_times_that_floats_cannot_tell_exactly_still_add_up() -> None:
    log = play(jobs((0.1, 0.2, 4), (0.1, 0.7, 4), (0.3, 1e-9, 4)), ONE)
    ends = spans(log)
    assert ends[0][1] == 0.1 + 0.2 == ends[1][0]
    assert ends[1][1] == 0.1 + 0.2 + 0.7 == ends[2][0]


def test_nothing_happens_without_jobs() -> None:
    log = play(arrivals.EMPTY, ONE)
    assert (log.runs, log.waits, log.end_s) == ([], [], 0.0)
    assert play(arrivals.EMPTY, ONE, horizon=7.0).end_s == 7.0


def test_progress_is_told_a_few_hundred_times_and_ends_with_all_jobs() -> None:
    heard: list[int] = []
    table = jobs(*[(row, 1, 1) for row in range(1000)])
    staging.simulate(scenario([ONE]), table, heard.append)
    assert heard == sorted(heard)
    assert 100 < len(heard) <= 202
    assert heard[-1] > 990


def test_the_collector_is_left_as_it_was_found() -> None:
    for switch in (gc.disable, gc.enable):
        switch()
        before = gc.isenabled()
        play(jobs((0, 1, 1)), ONE)
        assert gc.isenabled() == before


def test_virtual_clusters_are_walls() -> None:
    red = nodes(1, 4) | {"name": "r", "virtual_cluster": "red"}
    blue = nodes(1, 4) | {"name": "b", "virtual_cluster": "blue"}
    table = jobs((0, 5, 4), (0, 5, 4), (0, 5, 4), (0, 5, 1), tenant=["red", "red", "team", "nobody"])
    tenants = [{"name": "team", "virtual_cluster": "blue"}]
    log = play(table, red, blue, tenants=tenants)
    assert told(log) == [(0, 5), (5, 10), (0, 5)]
    assert [run[7][0][0] for run in sorted(log.runs)] == [0, 0, 1]
    assert log.rejections == [(3, "tenant nobody has no virtual cluster")]


def test_a_job_above_its_tenants_limit_is_rejected() -> None:
    log = play(jobs((0, 5, 3), tenant="a"), ONE, tenants=[{"name": "a", "quota": 1, "borrow": 1}])
    assert log.rejections == [(0, "asks for more GPUs than tenant a may ever hold")]


def test_a_job_that_needs_more_cores_than_a_node_has_is_rejected() -> None:
    log = play(jobs((0, 5, 2), cpus=20.0), nodes(1, 4, cpus_per_node=8.0))
    assert "cores or memory" in log.rejections[0][1]


def test_conservative_refuses_jobs_that_state_cores_where_nodes_limit_them() -> None:
    with pytest.raises(PlanError, match="plans GPUs only"):
        play(jobs((0, 5, 2), cpus=2.0), nodes(1, 4, cpus_per_node=8.0), blocking="conservative")


def test_estimates_are_exact_or_the_users_times_a_factor() -> None:
    table = jobs((0, 5, 1), (0, 8, 1), estimate_s=[20.0, None])
    for source, factor, expected in (("exact", 1.0, [5, 8]), ("user", 1.0, [20, 8]), ("user", 0.5, [10, 4])):
        spec = scenario([ONE], estimates={"from": source, "factor": factor}).scheduler.estimates
        assert staging.estimates_s(table, spec).tolist() == expected


def test_sjf_goes_by_what_users_say() -> None:
    table = jobs((0, 1, 4), (0, 5, 4), (0, 2, 4), estimate_s=[1, 6, 60])
    assert told(play(table, ONE, order="sjf", estimates={"from": "user"})) == [(0, 1), (1, 6), (6, 8)]


def test_nodes_are_named_by_pool_and_rack() -> None:
    table = staging.nodes(scenario([nodes(11, 4, nodes_per_rack=4), nodes(1, 8) | {"name": "big"}]))
    assert table["node"].to_list()[9:] == ["pool-09", "pool-10", "big-0"]
    assert table["rack"].to_list()[3:5] == ["pool-rack-0", "pool-rack-1"]
    assert table["gpus"].sum() == 52
    assert table.schema["virtual_cluster"] == pl.String


def test_a_log_is_read_by_columns() -> None:
    log = Log()
    assert columns(RUN_COLUMNS, log.runs) == {name: [] for name in RUN_COLUMNS}
    log = play(jobs((0, 5, 4)), ONE)
    assert columns(RUN_COLUMNS, log.runs)["end_s"] == [5.0]
    assert math.isfinite(log.end_s)
