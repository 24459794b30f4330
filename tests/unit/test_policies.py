"""Orders, worked out by hand: every start, end and preemption of a few jobs. Time is in seconds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sim.log import Outcome
from sim.policies import POLICIES
from tests.support.playing import causes, jobs, nodes, play, spans, stays, told

ONE = nodes(1, 4)
MIX = jobs((0, 10, 3), (1, 5, 2), (2, 4, 1), (3, 6, 1), (4, 2, 4), (5, 1, 1))


def test_fifo_strict_lets_nobody_pass() -> None:
    log = play(MIX, ONE, order="fifo", blocking="strict")
    assert told(log) == [(0, 10), (10, 15), (10, 14), (10, 16), (16, 18), (18, 19)]


def test_fifo_greedy_lets_whoever_fits_pass() -> None:
    log = play(MIX, ONE, order="fifo", blocking="greedy")
    assert told(log) == [(0, 10), (10, 15), (2, 6), (6, 12), (15, 17), (10, 11)]


def test_sjf_strict_serves_the_shortest_that_waits_and_holds_everybody_behind_it() -> None:
    log = play(MIX, ONE, order="sjf", blocking="strict")
    assert told(log) == [(0, 10), (12, 17), (2, 6), (12, 18), (10, 12), (6, 7)]


def test_sjf_breaks_ties_by_arrival() -> None:
    log = play(jobs((0, 5, 4), (1, 3, 4), (2, 3, 4), (3, 3, 4)), ONE, order="sjf")
    assert told(log) == [(0, 5), (5, 8), (8, 11), (11, 14)]


def test_srtf_takes_gpus_from_whoever_has_more_left() -> None:
    log = play(jobs((0, 10, 4), (2, 3, 4), (3, 1, 4), (4, 9, 4)), ONE, order="srtf")
    assert spans(log) == {0: (0, 14, 1), 1: (2, 6, 1), 2: (3, 4, 0), 3: (14, 23, 0)}
    assert stays(log, 1) == [(2, 3), (4, 6)]


def test_srtf_leaves_a_running_job_that_has_as_much_left() -> None:
    assert spans(play(jobs((0, 10, 4), (4, 6, 4)), ONE, order="srtf"))[0] == (0, 10, 0)


def test_srsf_prefers_narrow_jobs_where_srtf_prefers_short_ones() -> None:
    table = jobs((0, 6, 4), (1, 8, 1), (1, 4, 4))
    assert spans(play(table, ONE, order="srtf")) == {0: (0, 10, 1), 1: (10, 18, 0), 2: (1, 5, 0)}
    assert spans(play(table, ONE, order="srsf")) == {0: (0, 18, 1), 1: (1, 9, 0), 2: (9, 13, 0)}


def test_las_serves_the_jobs_that_have_had_the_least() -> None:
    order = {"kind": "las", "thresholds": (8.0, 20.0)}
    log = play(jobs((0, 10, 4), (1, 3, 4), (6, 1, 4)), ONE, order=order)
    # Job 0 sinks at 2 (4 GPUs x 2 s). Job 1 sinks at 4, to the tail of the level where job 0 waits. Job 2 is
    # new at 6. At 7 job 0, displaced last, goes on until it sinks again at 8, where job 1 has its turn.
    assert stays(log, 0) == [(0, 2), (4, 6), (7, 8), (9, 14)]
    assert stays(log, 1) == [(2, 4), (8, 9)]
    assert stays(log, 2) == [(6, 7)]


def test_las_sinks_at_the_exact_moment() -> None:
    order = {"kind": "las", "thresholds": (10.0,)}
    log = play(jobs((0, 9, 3), (1, 1, 3)), ONE, order=order)
    assert stays(log, 0) == [(0, 10 / 3), (10 / 3 + 1, 10)]


def test_priority_without_preemption_only_orders_the_queue() -> None:
    table = jobs((0, 5, 4), (1, 5, 4), (2, 5, 4), (3, 5, 4), priority=[0, 0, 2, 1])
    assert told(play(table, ONE, order="priority")) == [(0, 5), (15, 20), (5, 10), (10, 15)]


def test_priority_with_preemption_displaces_the_lowest_and_among_equals_the_latest() -> None:
    table = jobs((0, 5, 2), (0, 5, 1), (0, 5, 1), (2, 2, 1), (2, 9, 4), priority=[0, 1, 0, 3, 1])
    log = play(table, ONE, order="priority", preemption={})
    # Job 3 needs one GPU: of the jobs of priority 0 the latest, job 2, goes. Job 4 needs all GPUs and may not
    # take that of job 1, so it waits for its end and then displaces job 2 again.
    assert spans(log)[3] == (2, 4, 0)
    assert stays(log, 2) == [(0, 2), (4, 5), (14, 16)]
    assert spans(log)[1] == (0, 5, 0)
    assert spans(log)[4] == (5, 14, 0)
    assert stays(log, 0) == [(0, 5)]


def test_fair_share_serves_the_tenant_that_holds_least() -> None:
    table = jobs(*[(0, 10, 1)] * 6, tenant=["a", "a", "a", "a", "b", "b"])
    assert told(play(table, ONE, order="fair_share")) == [
        (0, 10),
        (0, 10),
        (10, 20),
        (10, 20),
        (0, 10),
        (0, 10),
    ]


def test_fair_share_goes_by_weight() -> None:
    table = jobs(*[(0, 10, 1)] * 8, tenant=["a"] * 4 + ["b"] * 4)
    tenants = [{"name": "a", "weight": 1.0}, {"name": "b", "weight": 3.0}]
    log = play(table, ONE, order="fair_share", tenants=tenants)
    first = [row for row, (start_s, _, _) in spans(log).items() if start_s == 0]
    assert first == [0, 4, 5, 6]


def test_drf_counts_the_resource_of_which_a_tenant_has_the_largest_share() -> None:
    # On 8 GPUs and 16 cores, a job of a takes 1 GPU and 1 core, one of b 1 GPU and 4 cores.
    table = jobs(*[(0, 10, 1)] * 10, tenant=["a"] * 6 + ["b"] * 4, cpus=[1.0] * 6 + [4.0] * 4)
    pool = nodes(1, 8, cpus_per_node=16.0)
    order = {"kind": "fair_share", "resources": ("gpu", "cpu", "memory")}
    started = [row for row, (start_s, _, _) in spans(play(table, pool, order=order)).items() if start_s == 0]
    assert started == [0, 1, 2, 3, 4, 5, 6, 7]
    plain = play(table, pool, order="fair_share")
    assert [row for row, (at_s, _, _) in spans(plain).items() if at_s == 0] == [0, 1, 2, 3, 6, 7, 8]


@pytest.mark.parametrize("order", sorted(POLICIES))
def test_a_job_of_no_duration_ends_as_it_starts_under_every_order(order: str) -> None:
    log = play(jobs((0, 0, 4), (0, 0, 4), (0, 2, 4), (1, 0, 4)), ONE, order=order)
    found = spans(log)
    assert all(found[row][0] == found[row][1] for row in (0, 1, 3))
    assert found[0][0] == found[1][0] == 0


def test_lost_work_is_what_came_after_the_last_checkpoint_and_restarting_holds_the_gpus() -> None:
    cost = {"checkpoint_every": 3.0, "restart": 1.0, "restart_per_gpu": 0.5}
    log = play(jobs((0, 10, 4), (5, 2, 4)), ONE, order="srtf", preemption=cost)
    # Job 0 has worked 5 s and saved 3. It restarts at 7, loads for 1 + 4 x 0.5 s, and has 7 s of work left.
    runs = [run[1:7] for run in log.runs if run[0] == 0]
    assert runs == [(0, 5, Outcome.PREEMPTED, 3, 2, 0), (7, 17, Outcome.DONE, 7, 0, 3)]
    assert causes(log, 0) == {"preemption": 2}


def test_a_job_displaced_while_it_loads_has_worked_nothing() -> None:
    cost = {"restart": 4.0}
    log = play(jobs((0, 10, 4), (5, 2, 4), (9, 1, 4)), ONE, order="srtf", preemption=cost)
    runs = [run[1:7] for run in log.runs if run[0] == 0]
    assert runs == [
        (0, 5, Outcome.PREEMPTED, 5, 0, 0),
        (7, 9, Outcome.PREEMPTED, 0, 0, 2),
        (10, 19, Outcome.DONE, 5, 0, 4),
    ]


@pytest.mark.parametrize("thresholds", [(), (0.0,), (5.0, 5.0), (9.0, 3.0)])
def test_thresholds_must_ascend_from_above_zero(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        POLICIES["las"](thresholds=thresholds)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"order": "srtf", "preemption": "none"}, "preempts by definition"),
        ({"order": "fifo", "preemption": {}}, "never preempts"),
        ({"order": "srtf", "blocking": "easy"}, "promises start times"),
        ({"order": "priority", "preemption": {}, "blocking": "conservative"}, "promises start times"),
        ({"blocking": "easy", "reclaim": True}, "reclaim would break"),
        ({"order": "las", "reclaim": True}, "use it or reclaim"),
        ({"order": "fair_share", "blocking": "conservative"}, "changes with every start"),
        ({"blocking": "easy", "placement": "topology_aware"}, "patience"),
    ],
)
def test_a_combination_without_a_meaning_is_refused_with_the_reason(
    told: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        play(jobs((0, 1, 1)), ONE, **told)
