"""Why one job waited, from the tables alone."""

import io
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from sim.errors import PlanError
from sim.reports import explain
from tests.unit.report_samples import (
    HOUR,
    jobs_of,
    rejecting,
    sample,
    two_jobs_and_a_preemption,
    two_jobs_on_one_node,
)


def test_the_causes_and_the_stays_of_every_job_add_up_to_its_wait() -> None:
    results = sample()
    waited = results.tables["jobs"].filter(pl.col("wait_s") > 0.0)["job_id"].to_list()
    for job_id in waited:
        made = explain.explain(results, job_id)
        assert sum(made.causes.values()) == pytest.approx(made.wait_s)
        assert sum(stay.to_s - stay.from_s for stay in made.stays) == pytest.approx(made.wait_s)
        for stay in made.stays:
            assert sum(stay.causes.values()) == pytest.approx(stay.to_s - stay.from_s)
            assert 0 <= stay.free_gpus_mean <= stay.free_gpus_most <= 192


def test_a_job_that_waits_for_another_is_explained_in_sentences() -> None:
    made = explain.explain(two_jobs_on_one_node(), "job-1")
    assert explain.sentences(made) == [
        "Job job-1 of vision asked for 8 GPUs at 0 s and waited 1 h.",
        "1 h of that (100 %): too few GPUs free.",
        (
            "Of the 8 GPUs of the fleet, 0 were free when it joined the queue, 0 on average until it left, "
            "and 0 at most; it needed 8."
        ),
        "No other job started there while it waited.",
        "Meanwhile vision held 100 % of the GPU time there.",
        "It ended at 2 h (done).",
    ]


def test_a_job_that_started_at_once_needs_no_explanation() -> None:
    assert explain.sentences(explain.explain(two_jobs_on_one_node(), "job-0")) == [
        "Job job-0 of vision asked for 8 GPUs at 0 s and started at once.",
        "It ended at 1 h (done).",
    ]


def test_a_later_job_that_starts_first_overtakes() -> None:
    jobs = jobs_of((0.0, HOUR, 4), (60.0, HOUR, 8), (120.0, 600.0, 2), (180.0, 600.0, 2))
    made = explain.explain(sample(jobs, nodes=1, horizon_s=4 * HOUR), "job-1")
    assert (made.started_meanwhile, made.overtook) == (2, 2)
    assert made.stays[0].free_gpus_at_start == 4
    assert [(holding.name, holding.gpu_s) for holding in made.jobs_meanwhile] == [
        ("job-0", 4 * (HOUR - 60.0)),
        ("job-2", 1200.0),
        ("job-3", 1200.0),
    ]


def test_a_job_still_queued_at_the_end_says_so() -> None:
    made = explain.explain(
        sample(jobs_of((0.0, 9 * HOUR, 8), (0.0, HOUR, 8)), nodes=1, horizon_s=HOUR), "job-1"
    )
    said = explain.sentences(made)
    assert said[0].endswith("and waited 1 h, and it had not started when the run ended.")
    assert said[-1] == "It was queued when the run ended."


def test_a_rejected_job_is_explained_by_its_reason() -> None:
    made = explain.explain(rejecting(two_jobs_on_one_node()), "job-0")
    assert explain.sentences(made) == [
        "Job job-0 of vision asked for 8 GPUs at 0 s and was rejected: wider than any partition."
    ]


def test_an_unknown_job_is_refused_with_the_nearest_ids() -> None:
    with pytest.raises(
        PlanError, match=r'^no job "job-12x" in this run of 494 jobs; the nearest are .*job-12'
    ):
        explain.explain(sample(), "job-12x")


def test_an_unknown_job_unlike_any_other_is_told_how_ids_look() -> None:
    told = 'in this run of 2 jobs; ids look like "job-0", and jobs.csv of the run lists them$'
    with pytest.raises(PlanError, match=told):
        explain.explain(two_jobs_on_one_node(), "4711")


def test_one_free_gpu_is_told_in_the_singular() -> None:
    jobs = jobs_of((0.0, HOUR, 7), (60.0, HOUR, 8))
    said = explain.sentences(explain.explain(sample(jobs, nodes=1, horizon_s=4 * HOUR), "job-1"))
    assert any(text.startswith("Of the 8 GPUs of the fleet, 1 was free when it joined") for text in said)


def test_a_job_may_only_run_in_the_virtual_cluster_of_its_tenant() -> None:
    results = sample(jobs_of((0.0, HOUR, 8), (0.0, HOUR, 8)), nodes=4, horizon_s=4 * HOUR)
    clusters = pl.Series("virtual_cluster", ["vision", "vision", None, None])
    results = replace(
        results, tables=results.tables | {"nodes": results.tables["nodes"].with_columns(clusters)}
    )
    made = explain.explain(results, "job-0")
    assert (made.partition, made.partition_gpus) == ("virtual cluster vision", 16)


def test_a_job_that_asks_for_a_kind_of_gpu_is_compared_with_that_kind_only() -> None:
    results = two_jobs_on_one_node()
    jobs = results.tables["jobs"].with_columns(pl.lit("l4").alias("gpu_kind"))
    made = explain.explain(replace(results, tables=results.tables | {"jobs": jobs}), "job-1")
    assert (made.partition, made.partition_gpus) == ("no partition", 0)


def test_the_explanation_fits_a_pipe() -> None:
    results = sample()
    longest = results.tables["jobs"].sort("wait_s", descending=True)["job_id"][0]
    out = io.StringIO()
    explain.render(explain.explain(results, longest), Console(file=out, width=80))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "In the queue" in text


def test_a_preempted_job_is_explained_with_its_stays_on_the_gpus() -> None:
    made = explain.explain(two_jobs_and_a_preemption(), "job-0")
    assert explain.sentences(made) == [
        "Job job-0 of vision asked for 8 GPUs at 0 s and waited 30 min.",
        "30 min of that (100 %): requeued after a preemption or a failure.",
        (
            "Of the 8 GPUs of the fleet, 0 were free when it joined the queue, 0 on average until it left, "
            "and 0 at most; it needed 8."
        ),
        "1 other job started there while it waited; submitted later, it overtook this one.",
        "Meanwhile vision held 100 % of the GPU time there.",
        "It was preempted once.",
        "It was running when the run ended.",
    ]
    assert [(run.outcome, run.lost_s, run.restart_s) for run in made.runs] == [
        ("preempted", 600.0, 0.0),
        ("censored", 0.0, 60.0),
    ]
    out = io.StringIO()
    explain.render(made, Console(file=out, width=100))
    assert "On the GPUs" in out.getvalue()


def test_a_job_of_many_nodes_names_the_first_and_counts_the_others() -> None:
    results = sample(jobs_of((0.0, HOUR, 48)), nodes=6, horizon_s=4 * HOUR)
    out = io.StringIO()
    explain.render(explain.explain(results, "job-0"), Console(file=out, width=200))
    assert "pool-a-0003 and 2 more" in out.getvalue()
