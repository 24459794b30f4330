"""Who may pass whom, worked out by hand, with quotas, promises and wrong estimates. Time is in seconds."""

from __future__ import annotations

import pytest

from sim.log import Outcome
from tests.support.playing import causes, jobs, nodes, play, scenario, spans, stays, told, watch_promises

ONE = nodes(1, 4)
BACKFILL = jobs((0, 10, 3), (1, 10, 4), (2, 8, 1), (3, 8, 1), (4, 30, 4))


def test_easy_lets_a_job_pass_that_ends_before_the_promised_start() -> None:
    log = play(BACKFILL, ONE, blocking="easy")
    assert told(log) == [(0, 10), (10, 20), (2, 10), (20, 28), (28, 58)]


def test_easy_lets_a_long_job_pass_on_gpus_that_the_promise_leaves_over() -> None:
    table = jobs((0, 10, 3), (1, 10, 3), (2, 50, 1))
    assert told(play(table, ONE, blocking="easy")) == [(0, 10), (10, 20), (2, 52)]


def test_easy_promises_the_first_only_where_conservative_promises_everybody() -> None:
    # At 3 the long narrow job 3 may delay job 2 under easy, whose promise is job 1's alone.
    table = jobs((0, 10, 3), (1, 10, 3), (2, 5, 4), (3, 30, 1))
    assert told(play(table, ONE, blocking="easy")) == [(0, 10), (10, 20), (33, 38), (3, 33)]
    assert told(play(table, ONE, blocking="conservative")) == [(0, 10), (10, 20), (20, 25), (25, 55)]


def test_a_promise_names_nodes() -> None:
    # Two nodes of four. Job 1 is promised node 0 at 10; a long job may have the free GPUs of node 1.
    table = jobs((0, 10, 4), (0, 99, 2), (1, 5, 4), (2, 50, 2), (3, 50, 2))
    log = play(table, nodes(2, 4), blocking="easy")
    assert told(log) == [(0, 10), (0, 99), (10, 15), (2, 52), (15, 65)]


@pytest.mark.parametrize("blocking", ["easy", "conservative"])
def test_a_promise_that_an_overrun_breaks_is_logged_with_who_broke_it(blocking: str) -> None:
    table = jobs((0, 20, 4), (1, 5, 4), (12, 1, 4), estimate_s=[10, 5, 1])
    log = play(table, ONE, blocking=blocking, estimates={"from": "user"})
    assert [start_s for start_s, _ in told(log)] == [0, 20, 25]
    assert log.moved_reservations
    assert {(moved[1], moved[4]) for moved in log.moved_reservations} <= {(1, 0), (2, 0)}
    assert log.moved_reservations[0][1:3] == (1, 10)
    assert max(moved[3] for moved in log.moved_reservations if moved[1] == 1) >= 20


@pytest.mark.parametrize("blocking", ["easy", "conservative"])
def test_a_promise_is_kept_when_who_overruns_is_killed(blocking: str) -> None:
    table = jobs((0, 20, 4), (1, 5, 4), estimate_s=[10, 5])
    log = play(table, ONE, blocking=blocking, estimates={"from": "user", "on_overrun": "kill"})
    assert spans(log) == {0: (0, 10, 0), 1: (10, 15, 0)}
    assert log.runs[0][3:7] == (Outcome.TIMED_OUT, 0, 10, 0)
    assert not log.moved_reservations


@pytest.mark.parametrize("blocking", ["easy", "conservative"])
def test_a_promise_moves_forward_when_a_job_ends_early(blocking: str) -> None:
    table = jobs((0, 10, 4), (1, 5, 4))
    log, promised_s = watch_promises(scenario([ONE], blocking=blocking, estimates={"factor": 2.0}), table)
    assert promised_s[1] == 20
    assert told(log) == [(0, 10), (10, 15)]
    assert not log.moved_reservations


def test_under_sjf_the_promised_job_keeps_its_promise_when_a_shorter_one_comes() -> None:
    table = jobs((0, 4, 1), (1, 4, 4), (4, 1, 4))
    assert told(play(table, ONE, order="sjf", blocking="easy")) == [(0, 4), (4, 8), (8, 9)]
    assert told(play(table, ONE, order="sjf", blocking="strict")) == [(0, 4), (5, 9), (4, 5)]


def test_conservative_serves_several_jobs_of_no_duration_at_one_moment() -> None:
    table = jobs((0, 0, 4), (0, 0, 4), (0, 3, 4), (1, 0, 4))
    assert told(play(table, ONE, blocking="conservative")) == [(0, 0), (0, 0), (0, 3), (3, 3)]


def test_conservative_takes_the_pool_that_is_free_first() -> None:
    table = jobs((0, 10, 4), (0, 6, 4), (1, 5, 4))
    log = play(table, ONE, ONE | {"name": "other"}, blocking="conservative")
    assert told(log) == [(0, 10), (0, 6), (6, 11)]


QUOTAS = [{"name": "a", "quota": 2}, {"name": "b", "quota": 2}]


@pytest.mark.parametrize("blocking", ["strict", "greedy", "easy"])
def test_a_tenant_at_its_quota_waits_and_holds_up_nobody_else(blocking: str) -> None:
    table = jobs((0, 10, 2), (1, 10, 2), (2, 10, 2), tenant=["a", "a", "b"])
    log = play(table, ONE, blocking=blocking, tenants=QUOTAS)
    assert told(log) == [(0, 10), (10, 20), (2, 12)]
    assert causes(log, 1) == {"quota": 9}


@pytest.mark.parametrize("blocking", ["strict", "greedy", "easy"])
def test_a_tenant_may_borrow_so_much_and_no_more(blocking: str) -> None:
    table = jobs(*[(0, 10, 1)] * 4, tenant="a")
    log = play(table, ONE, blocking=blocking, tenants=[{"name": "a", "quota": 2, "borrow": 1}])
    assert told(log) == [(0, 10), (0, 10), (0, 10), (10, 20)]


def test_who_is_inside_its_quota_takes_gpus_back_from_the_borrower_who_started_last() -> None:
    tenants = [{"name": "a", "quota": 2, "borrow": "unlimited"}, {"name": "b", "quota": 2}]
    table = jobs((0, 10, 2), (1, 10, 1), (2, 10, 1), (3, 4, 1), (4, 4, 1), tenant=["a"] * 3 + ["b"] * 2)
    cost = {"checkpoint_every": 1.0, "restart": 2.0}
    log = play(table, ONE, tenants=tenants, reclaim=True, preemption=cost)
    assert stays(log, 0) == [(0, 10)]
    assert stays(log, 3) == [(3, 7)]
    assert stays(log, 4) == [(4, 8)]
    # Job 2 lost its GPU at 3 after 1 s, job 1 at 4 after 3 s; each loads for 2 s before it goes on.
    assert stays(log, 2) == [(2, 3), (8, 19)]
    assert stays(log, 1) == [(1, 4), (7, 16)]


BORROWING = [{"name": "a", "quota": 2, "borrow": "unlimited"}, {"name": "b", "quota": 2}]


@pytest.mark.parametrize("order", ["fifo", "fair_share"])
def test_a_borrower_who_was_displaced_holds_up_nobody_inside_its_quota(order: str) -> None:
    """Job 0 borrows all four GPUs and loses them at 1; it then stands first in the queue and does not fit."""
    table = jobs((0, 10, 4), (1, 4, 1), (2, 4, 1), tenant=["a", "b", "b"])
    log = play(table, ONE, tenants=BORROWING, reclaim=True, blocking="strict", order=order)
    assert spans(log) == {0: (0, 15, 1), 1: (1, 5, 0), 2: (2, 6, 0)}


@pytest.mark.parametrize("blocking", ["strict", "greedy"])
@pytest.mark.parametrize("order", ["fifo", "fair_share"])
def test_freed_gpus_go_to_who_is_inside_its_quota_before_any_borrower(blocking: str, order: str) -> None:
    """At 10 a waits longer than b, but would borrow; b is inside its quota."""
    table = jobs((0, 100, 2), (0, 10, 2), (1, 5, 2), (2, 5, 2), tenant=["a", "b", "a", "b"])
    log = play(table, ONE, tenants=BORROWING, reclaim=True, blocking=blocking, order=order)
    assert told(log) == [(0, 100), (0, 10), (15, 20), (10, 15)]


def test_who_borrows_no_more_has_its_turn_among_those_inside_their_quota() -> None:
    """At 3 job 1 loses its GPUs to b; a is below its quota then, and its job 3 goes before c's loan."""
    tenants = [
        {"name": "a", "quota": 2, "borrow": "unlimited"},
        {"name": "b", "quota": 1},
        {"name": "c", "quota": 0, "borrow": "unlimited"},
    ]
    table = jobs((0, 50, 1), (0, 50, 2), (1, 5, 1), (2, 5, 1), (3, 50, 1), tenant=["a", "a", "c", "a", "b"])
    log = play(table, nodes(1, 3), tenants=tenants, reclaim=True)
    assert [spans(log)[job][0] for job in (4, 3, 2)] == [3, 3, 8]


def test_without_reclaim_the_quota_waits_for_the_borrower() -> None:
    tenants = [{"name": "a", "quota": 2, "borrow": "unlimited"}, {"name": "b", "quota": 2}]
    table = jobs((0, 10, 4), (3, 4, 2), tenant=["a", "b"])
    assert told(play(table, ONE, tenants=tenants)) == [(0, 10), (10, 14)]


def test_causes_tell_capacity_fragmentation_and_order_apart() -> None:
    # Two nodes of two. Job 3 needs a whole node: at 1 one GPU is free, from 5 to 9 one on each node.
    table = jobs((0, 5, 1), (0, 9, 1), (0, 20, 1), (1, 2, 2))
    log = play(table, nodes(2, 2), placement="spread", blocking="strict")
    assert causes(log, 3) == {"capacity": 4.0, "fragmentation": 4.0}
    log = play(
        jobs((0, 20, 1), (0, 9, 1), (1, 2, 2), (2, 3, 1)), nodes(2, 2), placement="spread", blocking="strict"
    )
    assert causes(log, 2) == {"fragmentation": 8.0}
    assert causes(log, 3) == {"order": 7.0}


def test_who_comes_to_the_head_of_a_strict_line_is_asked_even_where_nothing_was_freed() -> None:
    # Job 2 needs a whole node and gets one at 10; job 3 behind it fits on what has been free all the time.
    table = jobs((0, 10, 4), (0, 99, 3), (1, 500, 4), (2, 900, 1))
    log = play(table, nodes(2, 4), order="srtf", blocking="strict")
    assert told(log) == [(0, 10), (0, 99), (10, 510), (10, 910)]
