"""The answer is in plain sentences, exact where the case is small enough to know it by heart."""

from dataclasses import replace

import polars as pl
import pytest

from sim.reports.answer import sentences
from sim.reports.objective import objective_text, told
from sim.results import combine
from tests.unit.report_samples import (
    HOUR,
    arrivals,
    bare,
    jobs_of,
    rejecting,
    sample,
    two_jobs_and_a_preemption,
    two_jobs_on_one_node,
    with_metric,
)


def test_a_run_in_which_nobody_waits_says_that_the_fleet_was_big_enough() -> None:
    results = bare(sample(jobs_of((0.0, HOUR, 8), (2 * HOUR, HOUR, 4)), nodes=1, horizon_s=4 * HOUR))
    results = with_metric(results, "offered_load", value=0.5)
    assert sentences(results) == [
        "The fleet was big enough: not one of 2 jobs waited.",
        "Over 4 h, 38 % of the GPU time of 1 node with 8 GPUs was allocated to jobs.",
        "62 % of the GPU time (20 GPU h) stood idle, 20 % of that on nodes that were partly in use.",
    ]


def test_a_run_in_which_half_wait_says_how_long_and_why() -> None:
    results = with_metric(two_jobs_on_one_node(), "offered_load", value=0.5)
    assert sentences(results) == [
        (
            "The fleet was big enough on average but not at every moment: jobs asked for 50 % of its GPU "
            "time, and 50 % of 2 jobs had to wait."
        ),
        "Over 4 h, 50 % of the GPU time of 1 node with 8 GPUs was allocated to jobs.",
        "Half of the jobs waited 30 min or less, 95 % waited 57 min or less; the mean wait is 30 min.",
        "All of the waiting was because too few GPUs were free.",
        "50 % of the GPU time (16 GPU h) stood idle.",
        "GPUs are what binds: try a larger fleet, or move work to the quiet hours.",
    ]


def test_an_overloaded_fleet_is_said_to_grow_its_queue_without_bound() -> None:
    said = sentences(with_metric(two_jobs_on_one_node(), "offered_load", value=1.34))
    assert said[0] == (
        "The fleet is too small for this work: over the 0 s in which jobs arrive, they ask for 134 % of "
        "the GPU time it has, so the queue grows without bound for as long as they keep coming."
    )
    assert said[-1].startswith("Add GPUs or admit less work first")


def test_a_run_in_which_nothing_finishes_is_not_judged() -> None:
    results = bare(sample(jobs_of((0.0, 9 * HOUR, 8), (0.0, HOUR, 8)), nodes=1, horizon_s=HOUR))
    said = sentences(with_metric(results, "offered_load", value=0.9))
    assert said[:2] == [
        "No job finished in the 1 h of the run: it is too short to judge the fleet by.",
        "When the run ended, 1 job (50 %) was still in the queue.",
    ]
    assert (
        "2 jobs had not finished when the run ended (1 running and 1 queued), so waits are lower bounds."
        in said
    )


def test_a_run_that_rejects_every_job_says_so_and_why() -> None:
    assert sentences(rejecting(two_jobs_on_one_node())) == [
        "The fleet cannot do this work: every one of 2 jobs was rejected, because none could ever start.",
        "2 jobs were rejected: wider than any partition (2).",
    ]


def test_a_run_without_jobs_says_that_nothing_can_be_said() -> None:
    results = two_jobs_on_one_node()
    empty = replace(results, tables={name: table.clear() for name, table in results.tables.items()})
    assert sentences(empty) == [
        "No job was submitted while the run was measured, so nothing can be said about the fleet."
    ]


def test_rows_of_the_workload_that_were_left_out_are_counted_by_reason() -> None:
    expected = (
        "14 rows of the workload were left out before the run: needs no GPU (12) and malformed line (2)."
    )
    assert expected in sentences(sample())


def test_an_interval_over_replications_is_told_with_the_value() -> None:
    said = sentences(with_metric(sample(), "occupancy", interval=[0.61, 0.67]))
    assert "64 % (95 % interval 61 % to 67 %) of the GPU time of 24 nodes with 192 GPUs" in said[1]


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        (True, "The objective is met: 95 % of vision's jobs waited 2 h or less; wanted: at most 3 h."),
        (False, "The objective is missed: 95 % of vision's jobs waited 2 h or less; wanted: at most 1 h."),
    ],
)
def test_an_objective_is_told_with_what_was_reached(met: bool, expected: str) -> None:  # noqa: FBT001 - the case
    results = two_jobs_on_one_node()
    objective = {
        "metric": "wait_p95_s",
        "tenant": "vision",
        "at_most": 3 * HOUR if met else HOUR,
        "at_least": None,
        "value": 2 * HOUR,
        "unit": "s",
        "met": met,
    }
    assert sentences(replace(results, summary=results.summary | {"objectives": [objective]}))[1] == expected


def test_waiting_for_other_reasons_than_size_does_not_ask_for_more_gpus() -> None:
    results = with_metric(two_jobs_on_one_node(), "offered_load", value=0.5)
    results = with_metric(
        with_metric(results, "cause_capacity_share", value=0.0), "cause_quota_share", value=1.0
    )
    said = sentences(results)
    assert said[0] == (
        "The fleet had GPUs enough (jobs asked for 50 % of its GPU time), yet 50 % of 2 jobs had to wait, "
        "and mostly not for want of GPUs."
    )
    assert said[-1] == "Quotas are what binds, not size: compare the run with borrowing allowed."


def test_what_preemption_and_time_limits_cost_is_told() -> None:
    said = sentences(two_jobs_and_a_preemption())
    assert said[1] == (
        "Over 3 h, 100 % of the GPU time of 1 node with 8 GPUs was allocated to jobs; "
        "77 % went into work that was kept."
    )
    assert said[3:-1] == [
        "All of the waiting was because the job had lost its GPUs and had to queue again.",
        "No GPU time stood idle.",
        (
            "On top of that, 1.33 GPU h of work was lost to preemption, 4 GPU h was spent on jobs that were "
            "stopped at their time limit and 0.133 GPU h went into restarts."
        ),
        "1 job had not finished when the run ended (1 running).",
        "1 job reached the time limit stated for it and stopped there.",
        "1 promised start had to move because a running job outlived its estimate.",
    ]


def test_a_fleet_in_which_hardly_anybody_waits_is_said_to_be_big_enough_nearly_all_the_time() -> None:
    """Twenty-one jobs an hour apart, of which the last two come at once."""
    jobs = jobs_of(*((HOUR * place, 60.0, 8) for place in range(20)), (19 * HOUR, 60.0, 8))
    said = sentences(sample(jobs, nodes=1, horizon_s=24 * HOUR))
    assert said[0] == "The fleet was big enough nearly all the time: only 4.8 % of 21 jobs had to wait."
    assert said[2] == "95 % of jobs started at once, the longest wait was 1 min, and the mean wait is 2.9 s."
    assert "binds" not in said[-1]


def test_several_objectives_are_counted() -> None:
    scenario = sample(
        objectives=[{"metric": "occupancy", "at_least": 0.5}, {"metric": "occupancy", "at_least": 0.6}]
    )
    assert "All 2 objectives are met." in sentences(scenario)
    missing = sample(
        objectives=[{"metric": "occupancy", "at_least": 0.5}, {"metric": "occupancy", "at_least": 0.9}]
    )
    assert (
        "1 of 2 objectives is missed: 64 % of the GPU time was allocated to jobs; wanted: at least 90 %."
    ) in sentences(missing)


def test_what_is_counted_in_one_replication_is_said_to_be_of_the_first() -> None:
    said = sentences(combine([sample(), sample(arrivals(500, seed=8))]))
    assert "of 494 jobs of the first replication had to wait" in said[0]
    assert any(sentence.startswith("31 jobs of the first replication had not finished") for sentence in said)


def test_an_interval_never_reaches_below_nothing_or_above_all() -> None:
    said = sentences(with_metric(sample(), "occupancy", interval=[0.2, 1.1]))
    assert "64 % (95 % interval 20 % to 100 %)" in said[1]
    said = sentences(with_metric(sample(), "wait_mean_s", interval=[-600.0, 4500.0]))
    assert any("(95 % interval 0 s to 1 h 15 min)" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("metric", "tenant", "value", "unit", "expected"),
    [
        ("wait_p95_s", "vision", HOUR, "s", "95 % of vision's jobs waited 1 h or less"),
        ("jct_p50_s", None, HOUR, "s", "50 % of all jobs completed within 1 h"),
        ("wait_mean_s", None, HOUR, "s", "on average all jobs waited 1 h"),
        (
            "jct_mean_s",
            "vision",
            HOUR,
            "s",
            "on average vision's jobs took 1 h from submission to completion",
        ),
        ("occupancy", None, 0.6, "fraction", "60 % of the GPU time was allocated to jobs"),
        ("utilisation", None, 0.6, "fraction", "60 % of the GPU time went into work that was kept"),
        ("jain_fairness", None, 0.9, "1", "jain_fairness is 0.9"),
        ("wait_p95_s", "vision", None, "s", "wait_p95_s of vision has no value"),
    ],
)
def test_what_an_objective_reached_is_said_in_words(
    metric: str, tenant: str | None, value: float | None, unit: str, expected: str
) -> None:
    objective = {
        "metric": metric,
        "tenant": tenant,
        "at_most": 1.0,
        "value": value,
        "unit": unit,
        "met": True,
    }
    assert objective_text(objective).partition(";")[0] == expected


def judged(*, met: bool, confident: bool | None) -> dict[str, object]:
    """An occupancy wanted to be at least half, with its interval over replications."""
    return {
        "metric": "occupancy",
        "tenant": None,
        "at_least": 0.5,
        "value": 0.6,
        "unit": "fraction",
        "interval": [0.4, 0.8],
        "met": met,
        "confident": confident,
    }


def test_replications_tell_how_sure_an_objective_is() -> None:
    sure, unsure = judged(met=True, confident=True), judged(met=True, confident=None)
    missed = judged(met=False, confident=False)
    assert objective_text(sure).endswith("; wanted: at least 50 %; met with 95 % confidence")
    assert objective_text(unsure).endswith(
        "; wanted: at least 50 %; the interval lies on both sides of the bound"
    )
    assert objective_text(missed).endswith("; missed with 95 % confidence")
    assert told([sure, sure]) == ["All 2 objectives are met, with 95 % confidence."]
    assert told([sure, unsure]) == [
        "All 2 objectives are met, but for 1 of them the interval lies on both sides of the bound."
    ]
    assert told([missed, sure, missed])[:2] == [
        "2 of 3 objectives are missed.",
        f"Missed: {objective_text(missed)}.",
    ]


def test_one_job_alone_is_told_in_the_singular() -> None:
    alone = bare(sample(jobs_of((0.0, HOUR, 8)), nodes=1, horizon_s=4 * HOUR))
    assert sentences(alone)[0] == "The fleet was big enough: the one job did not wait."
    assert sentences(rejecting(alone)) == [
        "The fleet cannot do this work: the one job was rejected, because it could never start.",
        "1 job was rejected: wider than any partition (1).",
    ]


def test_every_count_of_jobs_and_rows_is_of_the_first_replication() -> None:
    """One of a kind: rejected, stopped at a limit, left out."""
    first = sample()
    place = pl.int_range(pl.len())
    status = (
        pl.when(place == 0)
        .then(pl.lit("rejected"))
        .when(place == 1)
        .then(pl.lit("timed_out"))
        .otherwise("status")
        .alias("status")
    )
    jobs = first.tables["jobs"].with_columns(status, pl.lit("too wide").alias("reason"))
    first = replace(first, tables={**first.tables, "jobs": jobs})
    said = sentences(combine([first, sample(arrivals(500, seed=8))]))
    assert "1 job of the first replication was rejected: too wide (1)." in said
    assert "1 job of the first replication reached the time limit stated for it and stopped there." in said
    assert any(text.startswith("14 rows of the first replication's workload were left out") for text in said)
    none = replace(first, tables={name: table.clear() for name, table in first.tables.items()})
    assert sentences(combine([none, none]))[0].startswith(
        "No job was submitted while the first replication was"
    )


def test_the_end_of_the_last_job_is_that_of_the_first_replication() -> None:
    said = sentences(combine([sample(), sample(arrivals(500, seed=8))]))
    assert any(
        text.startswith("Until the last job ended, after 4 d in the first replication, ") for text in said
    )
    stated = sentences(
        combine([sample(horizon=4 * 86400.0), sample(arrivals(500, seed=8), horizon=4 * 86400.0)])
    )
    assert any(text.startswith("Over 4 d, ") for text in stated)


def passed_over(**scheduler: object) -> list[str]:
    """What is said of wide jobs that wait half an hour while narrow ones wait 3 min."""
    results = sample(scheduler={"order": {"kind": "fifo"}, **scheduler})
    waits = {"1 GPU": 180.0, "9-16 GPUs": 1800.0}
    metrics = [
        row | {"value": waits.get(row["size_class"], 300.0)}
        if row["name"] == "wait_mean_s" and row["size_class"]
        else row
        for row in results.summary["metrics"]
    ]
    said = sentences(replace(results, summary=results.summary | {"metrics": metrics}))
    return [sentence for sentence in said if "pass wide ones" in sentence]


def test_wide_jobs_that_wait_far_longer_under_greedy_are_said_to_be_passed() -> None:
    assert passed_over() == [
        (
            "Jobs of 9-16 GPUs waited 10 times as long as jobs of 1 GPU: under `blocking: greedy` narrow "
            "jobs pass wide ones that do not fit yet; `blocking: easy` would promise the first of them a "
            "start."
        )
    ]
    assert passed_over(blocking={"kind": "easy"}) == []


def test_a_promised_start_is_not_advised_where_preemption_would_break_it() -> None:
    (said,) = passed_over(order={"kind": "las"})
    assert said.endswith("that do not fit yet.")
