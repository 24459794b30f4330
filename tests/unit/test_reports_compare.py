"""Runs side by side."""

import io
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from sim.errors import PlanError
from sim.reports import compare
from tests.unit.report_samples import (
    HOUR,
    arrivals,
    jobs_of,
    sample,
    two_jobs_on_one_node,
    with_metric,
)
from tests.unit.test_reports_html import parsed


def test_the_run_with_the_shortest_completion_time_is_named_first() -> None:
    jobs = jobs_of((0.0, HOUR, 8), (0.0, HOUR, 8))
    one, two = (sample(jobs, nodes=nodes, horizon_s=4 * HOUR) for nodes in (1, 2))
    made = compare.compare({"one node": one, "two nodes": two})
    assert made.ranking == ("two nodes", "one node")
    assert compare.sentences(made) == [
        "two nodes has the shortest mean completion time, 1 h, before one node (1 h 30 min).",
        (
            "With two nodes instead of one node, 50 % of the 2 jobs that ended in both completed sooner and "
            "0 % later; the mean job 30 min sooner, of too few jobs for an interval."
        ),
    ]


def test_paired_differences_carry_an_interval_that_holds_the_mean() -> None:
    made = compare.compare({"24": sample(nodes=24), "28": sample(nodes=28)})
    (paired,) = made.paired
    assert paired.interval is not None
    assert paired.interval.low < paired.interval.mean < paired.interval.high
    assert paired.better > paired.worse


def test_a_run_beside_itself_is_the_same() -> None:
    made = compare.compare({"first": sample(), "second": sample()})
    said = compare.sentences(made)
    assert said[0] == "All runs have the same mean completion time, 4 h."
    assert said[1].endswith("each of the 463 jobs that ended in both completed at the same time.")


def test_jobs_that_did_not_finish_are_said_to_be_missing_from_the_mean() -> None:
    said = compare.sentences(compare.compare({"24": sample(nodes=24), "28": sample(nodes=28)}))
    assert said[-1] == (
        "Jobs not finished when their run ended (31 in 24 and 23 in 28) have no completion time "
        "and are not in it."
    )


def test_a_run_that_did_less_work_is_not_praised_for_its_short_times() -> None:
    """Three runs of the same jobs; in one of them half of the work was cut off at time limits."""
    whole = two_jobs_on_one_node()
    slower = with_metric(whole, "jct_mean_s", value=2 * HOUR)
    cut = with_metric(with_metric(whole, "goodput_gpu_h", value=8.0), "jct_mean_s", value=60.0)
    cut = with_metric(cut, "jobs_timed_out", value=1.0)
    made = compare.compare({"slower": slower, "cut": cut, "whole": whole})
    assert made.ranking == ("whole", "slower")
    assert made.less_work == ("cut",)
    assert compare.sentences(made)[:2] == [
        "whole has the shortest mean completion time, 1 h 30 min, before slower (2 h).",
        (
            "cut did 50 % less work than slower (8 GPU h and not 16 GPU h; 1 job stopped at a time limit, "
            "not 0), so its times are not ranked."
        ),
    ]


def test_when_one_run_did_most_of_the_work_none_is_ranked() -> None:
    whole = two_jobs_on_one_node()
    cut = with_metric(whole, "goodput_gpu_h", value=15.0)
    made = compare.compare({"cut": cut, "whole": whole})
    assert compare.sentences(made)[:2] == [
        "whole did the most work, so no run is ranked beside it.",
        "cut did 6.2 % less work than whole (15 GPU h and not 16 GPU h), so its times are not ranked.",
    ]


def test_runs_within_one_percent_of_the_most_work_are_ranked() -> None:
    whole = two_jobs_on_one_node()
    nearly = with_metric(with_metric(whole, "goodput_gpu_h", value=15.9), "jct_mean_s", value=HOUR)
    made = compare.compare({"whole": whole, "nearly": nearly})
    assert (made.ranking, made.less_work) == (("nearly", "whole"), ())


def test_runs_of_different_arrivals_are_not_paired_and_it_is_said() -> None:
    made = compare.compare({"monday": sample(), "tuesday": sample(arrivals(500, seed=9))})
    assert made.paired == ()
    assert compare.sentences(made)[-1].startswith("tuesday was given other jobs than monday")


def test_one_run_alone_cannot_be_compared() -> None:
    with pytest.raises(PlanError, match="at least two runs"):
        compare.compare({"only": sample()})


def test_runs_without_a_common_metric_are_refused() -> None:
    first = two_jobs_on_one_node()
    second = replace(first, summary=first.summary | {"metrics": []})
    with pytest.raises(PlanError, match="first and second have no metric in common"):
        compare.compare({"first": first, "second": second})


def test_runs_in_which_nothing_ended_cannot_be_ranked() -> None:
    first = two_jobs_on_one_node()
    metrics = [row for row in first.summary["metrics"] if row["name"] == "occupancy"]
    jobs = first.tables["jobs"].with_columns(pl.lit(None, dtype=pl.Float64).alias("jct_s"))
    empty = replace(first, summary=first.summary | {"metrics": metrics}, tables=first.tables | {"jobs": jobs})
    said = compare.sentences(compare.compare({"a": empty, "b": empty}))
    assert said == [
        "No run has completed a job, so the runs cannot be ranked.",
        "With b instead of a, no job ended in both runs, so nothing can be paired.",
    ]


def test_the_comparison_prints_without_colour_and_makes_a_page() -> None:
    made = compare.compare({"<b>24</b>": sample(nodes=24), "28": sample(nodes=28)})
    out, page = io.StringIO(), io.StringIO()
    compare.render(made, Console(file=out, width=120))
    compare.render_html(made, page)
    assert "mean wait" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "b" not in {tag for tag, _ in parsed(page.getvalue()).tags}


def test_a_comparison_of_other_arrivals_has_no_table_of_the_same_jobs() -> None:
    page = io.StringIO()
    compare.render_html(compare.compare({"a": sample(), "b": sample(arrivals(500, seed=9))}), page)
    assert "The same jobs" not in page.getvalue()


def test_a_metric_that_one_run_lacks_is_left_open() -> None:
    first = sample()
    second = replace(
        first,
        summary=first.summary
        | {"metrics": [row for row in first.summary["metrics"] if row["name"] != "occupancy"]},
    )
    third = sample(nodes=28)
    page = io.StringIO()
    compare.render_html(compare.compare({"a": first, "b": second, "c": third}), page)
    assert "<span>-</span>" in page.getvalue()
