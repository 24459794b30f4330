"""From a log to tables and a summary; replications, objectives, and what no log may say."""

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from sim import statistics
from sim.log import Log
from sim.results import combine
from tests.unit.hand_made_runs import (
    CENSORED,
    EVENTFUL_JOBS,
    PLAIN_JOBS,
    PREEMPTED,
    eventful,
    eventful_log,
    nodes,
    plain,
    plain_log,
    results,
    run,
    scenario,
    wait,
)

FIRST_COLUMNS = [
    "job_id", "tenant", "kind", "gpus", "submit_s", "start_s", "end_s", "wait_s", "run_s", "preemptions",
    "restarts", "nodes", "status",
]  # fmt: skip


def test_the_jobs_table_has_the_columns_that_users_rely_on_first() -> None:
    assert plain().tables["jobs"].columns[: len(FIRST_COLUMNS)] == FIRST_COLUMNS


def test_each_job_is_told_as_it_went() -> None:
    told = eventful().tables["jobs"].select(FIRST_COLUMNS[:1] + FIRST_COLUMNS[5:])
    assert told.rows() == [
        ("long", 0.0, 135.0, 20.0, 115.0, 1, 1, "n0", "done"),
        ("urgent", 40.0, 60.0, 0.0, 20.0, 0, 0, "n0", "done"),
        ("wide", 135.0, None, 85.0, 65.0, 0, 0, "n0 n1", "running"),
        ("late", None, None, 140.0, 0.0, 0, 0, "", "queued"),
        ("huge", None, None, 0.0, 0.0, 0, 0, "", "rejected"),
        ("instant", 80.0, 80.0, 0.0, 0.0, 0, 0, "n1", "done"),
    ]


def test_each_job_says_why_it_waited_and_what_it_lost() -> None:
    jobs = eventful().tables["jobs"]
    why = jobs.select("wait_capacity_s", "wait_order_s", "wait_preemption_s", "lost_s", "restart_s", "reason")
    assert why.row(0) == (0.0, 0.0, 20.0, 10.0, 5.0, None)
    assert why.row(3) == (65.0, 75.0, 0.0, 0.0, 0.0, None)
    assert why.row(4)[-1] == "64 GPUs, the fleet has 8"
    assert jobs["jct_s"].to_list() == [135.0, 20.0, None, None, None, 0.0]


def test_runs_are_numbered_in_order_of_time() -> None:
    runs = eventful().tables["runs"]
    assert runs.filter(pl.col("job_id") == "long").select("run", "start_s", "outcome").rows() == [
        (0, 0.0, "preempted"),
        (1, 60.0, "done"),
    ]


def test_placements_name_the_nodes_of_each_run() -> None:
    placements = eventful().tables["placements"]
    assert placements.filter(pl.col("job_id") == "wide").rows() == [
        ("wide", 0, "n0", 1, 4),
        ("wide", 0, "n1", 1, 4),
    ]


def test_the_timeline_is_a_step_function_from_nought_to_the_end() -> None:
    """The last row closes it: who still runs or waits at the end is still there."""
    assert eventful().tables["timeline"].rows() == [
        (0.0, 4, 1, 0, 0, None),
        (40.0, 4, 1, 1, 4, None),
        (50.0, 4, 1, 2, 12, None),
        (60.0, 4, 1, 2, 10, None),
        (135.0, 8, 1, 1, 2, None),
        (200.0, 8, 1, 1, 2, None),
    ]


def test_the_order_of_the_log_does_not_matter() -> None:
    shuffled = eventful_log()
    shuffled.runs.reverse()
    shuffled.waits.reverse()
    found, expected = results(shuffled, **EVENTFUL_JOBS), eventful()
    assert all(found.tables[name].equals(table) for name, table in expected.tables.items())
    assert found.summary == expected.summary


def test_each_virtual_cluster_has_a_timeline_of_its_own() -> None:
    """Ann owns node n0 by name, Bob node n1 by declaration; Bob's second job waits for his first."""
    log = Log(
        runs=[
            run(0, 0.0, 10.0, ((0, 4),)),
            run(1, 0.0, 20.0, ((1, 4),)),
            run(2, 20.0, 30.0, ((1, 2),), outcome=CENSORED),
        ],
        waits=[wait(2, 5.0, 20.0)],
        end_s=30.0,
    )
    fleet = nodes(virtual_clusters=["ann", "lab"])
    pools = [
        {"name": "p0", "gpus_per_node": 4, "nodes": 1, "virtual_cluster": "ann"},
        {"name": "p1", "gpus_per_node": 4, "nodes": 1, "virtual_cluster": "lab"},
    ]
    wanted = scenario(fleet={"pools": pools}, tenants=[{"name": "bob", "virtual_cluster": "lab"}])
    found = results(
        log, fleet, wanted, submit_s=[0.0, 0.0, 5.0], duration_s=[10.0, 20.0, 60.0], gpus=[4, 4, 2],
        tenant=["ann", "bob", "bob"],
    )  # fmt: skip
    timeline = found.tables["timeline"]
    assert timeline.filter(pl.col("virtual_cluster") == "ann").rows() == [
        (0.0, 4, 1, 0, 0, "ann"),
        (10.0, 0, 0, 0, 0, "ann"),
        (30.0, 0, 0, 0, 0, "ann"),
    ]
    assert timeline.filter(pl.col("virtual_cluster") == "lab").rows() == [
        (0.0, 4, 1, 0, 0, "lab"),
        (5.0, 4, 1, 1, 2, "lab"),
        (20.0, 2, 1, 0, 0, "lab"),
        (30.0, 2, 1, 0, 0, "lab"),
    ]
    assert timeline.filter(pl.col("virtual_cluster").is_null())["gpus_allocated"].to_list() == [8, 8, 4, 2, 2]


def test_jobs_of_after_the_end_are_left_out_and_counted() -> None:
    log = Log(runs=[run(0, 0.0, 50.0, ((0, 1),), outcome=CENSORED)], end_s=50.0)
    found = results(log, submit_s=[0.0, 50.0, 90.0], duration_s=[99.0, 9.0, 9.0], gpus=[1, 1, 1])
    assert found.tables["jobs"]["job_id"].to_list() == ["0"]
    assert found.summary["counts"]["jobs_after_the_end"] == 2
    assert found.notes == ("2 jobs would have been submitted after the end of the run.",)
    assert found.metric("jobs") == 1.0


def test_everything_is_counted_before_the_warm_up_is_left_out() -> None:
    counts = eventful(warm_up="50 s").summary["counts"]
    assert counts["jobs"] == 6
    assert counts["jobs_in_warm_up"] == 2
    assert [counts[f"jobs_{status}"] for status in ("done", "running", "queued", "rejected")] == [3, 1, 1, 1]
    assert counts["gpus"] == 8


def test_the_summary_says_what_was_measured() -> None:
    summary = eventful(warm_up="50 s", seed=7).summary
    assert summary["scenario"] == "hand made"
    assert summary["seeds"] == [7]
    assert summary["window"] == {"from_s": 50.0, "until_s": 200.0}


def test_a_metric_that_does_not_exist_is_not_none() -> None:
    with pytest.raises(KeyError, match="wait_mean_s"):
        plain().metric("wait_mean_s", tenant="nobody")


# what no log may say


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            {"waits": [wait(1, 10.0, 100.0, 80.0, 0.0, 0.0, 0.0, 0.0), wait(2, 20.0, 100.0)]},
            "causes of wait: 80",
        ),
        ({"waits": [wait(1, 10.0, 100.0)]}, "lives of jobs: 30.0 instead of 110.0 in row 2, 1 in all"),
        (
            {"runs": [run(0, 0.0, 100.0, ((0, 4),)), *plain_log().runs[1:]]},
            "GPUs of a gang: 4.0 instead of 8",
        ),
        ({"runs": [run(0, 0.0, 90.0, ((0, 4), (1, 4))), *plain_log().runs[1:]]}, "work of done jobs: 90.0"),
        (
            {"runs": [*plain_log().runs[:2], (1, 100.0, 150.0, 0, 50.0, 9.0, 0.0, ((0, 4),), 0.0, 0.0)]},
            "uses of a stay: 59",
        ),
        ({"runs": plain_log().runs[:2]}, "lives of jobs"),
    ],
    ids=["cause missing", "wait missing", "gang split", "work missing", "time used twice", "job lost"],
)
def test_a_log_that_contradicts_itself_stops_the_run(broken: dict[str, Any], told: str) -> None:
    log = plain_log()
    for name, rows in broken.items():
        setattr(log, name, rows)
    with pytest.raises(AssertionError, match=told):
        results(log, **PLAIN_JOBS)


def test_sums_of_late_times_may_be_off_by_their_rounding() -> None:
    """A hundred preemptions at clock readings of a year, each rounded to the clock's last bit."""
    times = 3e7 + np.cumsum(np.full(101, 0.1))
    runs = [run(0, a, b, ((0, 1),), outcome=PREEMPTED) for a, b in pairwise(times.tolist())]
    runs.append((0, float(times[-1]), float(times[-1]) + 0.1, 0, 0.1, 0.0, 0.0, ((0, 1),), 0.0, 0.0))
    found = results(Log(runs=runs, end_s=runs[-1][2]), submit_s=[times[0]], duration_s=[10.1], gpus=[1])
    assert found.metric("preemptions") == 100.0


# objectives


def test_an_objective_says_what_was_wanted_what_was_got_and_whether_it_is_met() -> None:
    bounds = [
        {"metric": "wait_p95_s", "at_most": "1 min"},
        {"metric": "occupancy", "at_least": "50 %"},
        {"metric": "wait_mean_s", "tenant": "bob", "at_most": "90 s"},
    ]
    found = plain(objectives=bounds, tenants=[{"name": "bob"}])
    late, busy, bobs = found.summary["objectives"]
    assert late == {
        "metric": "wait_p95_s", "tenant": None, "at_most": 60.0, "at_least": None, "value": 89.0, "unit": "s",
        "interval": None, "met": False, "confident": None,
    }  # fmt: skip
    assert (busy["value"], busy["met"]) == (pytest.approx(1060 / 1200), True)
    assert (bobs["value"], bobs["met"]) == (90.0, True)
    assert not found.objectives_met


def test_an_objective_on_a_metric_without_a_value_is_missed() -> None:
    wanted = scenario(objectives=[{"metric": "jct_mean_s", "at_most": "1 h"}])
    found = results(Log(end_s=10.0), wanted=wanted, submit_s=[], duration_s=[], gpus=[])
    assert found.summary["objectives"][0]["met"] is False
    assert found.summary["objectives"][0]["value"] is None


def test_a_run_without_objectives_meets_them() -> None:
    assert plain().objectives_met


# replications


def replication(third_wait_s: float, **changes: Any) -> Any:
    """The plain run with another start of its third job, so that replications differ."""
    log = plain_log()
    log.runs[1] = run(2, 20.0 + third_wait_s, 50.0 + third_wait_s, ((1, 2),))
    log.waits[1] = wait(2, 20.0, 20.0 + third_wait_s)
    return results(log, wanted=scenario(**changes), **PLAIN_JOBS)


def test_replications_give_means_with_students_intervals() -> None:
    combined = combine([replication(80.0), replication(86.0), replication(98.0)])
    row = next(row for row in combined.summary["metrics"] if row["name"] == "wait_mean_s")
    expected = statistics.t_interval([170 / 3, 176 / 3, 188 / 3])
    assert row["value"] == pytest.approx(178 / 3)
    assert row["interval"] == pytest.approx([expected.low, expected.high])
    assert combined.seeds == (0, 0, 0)
    assert combined.summary["counts"]["replications"] == 3
    assert "3 replications" in combined.notes[-1]


def test_replications_keep_every_metric_of_each_and_the_tables_of_the_first() -> None:
    first = replication(80.0)
    combined = combine([first, replication(86.0)])
    waits = combined.tables["replications"].filter(
        (pl.col("name") == "wait_mean_s") & pl.col("tenant").is_null() & pl.col("size_class").is_null()
    )
    assert waits["value"].to_list() == pytest.approx([170 / 3, 176 / 3])
    assert waits["replication"].to_list() == [0, 1]
    assert combined.tables["jobs"].equals(first.tables["jobs"])


def test_one_replication_is_itself() -> None:
    alone = plain()
    assert combine([alone]) is alone


def test_a_tenant_of_one_replication_only_has_no_interval_and_its_place_by_name() -> None:
    """Bob is missing from the second; tenants stay in order of their names, size classes behind them."""
    other = results(plain_log(), **{**PLAIN_JOBS, "tenant": ["ann", "zoe", "ann"]})
    combined = combine([plain(), other])
    rows = [row for row in combined.summary["metrics"] if row["name"] == "wait_mean_s"]
    assert [row["tenant"] for row in rows] == [None, "ann", "bob", "zoe", None, None]
    assert (rows[2]["value"], rows[2]["interval"]) == (90.0, None)
    assert [row["size_class"] for row in rows[4:]] == ["2-4 GPUs", "5-8 GPUs"]


@pytest.mark.parametrize(
    ("bound", "met", "confident"), [("1 h", True, True), ("1 s", False, False), ("60 s", True, None)]
)
def test_an_objective_with_an_interval_is_met_with_confidence_or_not(
    bound: str,
    met: bool,  # noqa: FBT001 - an expected answer
    confident: bool | None,  # noqa: FBT001 - an expected answer
) -> None:
    wanted = [{"metric": "wait_mean_s", "at_most": bound}]
    combined = combine([replication(wait_s, objectives=wanted) for wait_s in (80.0, 86.0, 98.0)])
    judged = combined.summary["objectives"][0]
    assert (judged["met"], judged["confident"]) == (met, confident)
