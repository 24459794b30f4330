"""The terminal report reads well in a pipe."""

import io
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from sim.reports import terminal
from sim.reports.answer import sentences
from tests.unit.report_samples import arrivals, rejecting, sample, two_jobs_on_one_node


def printed(results: object, width: int) -> str:
    out = io.StringIO()
    terminal.render(results, Console(file=out, width=width))  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_pipe_and_none_has_colour(width: int) -> None:
    text = printed(sample(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text


def test_the_terminal_report_opens_with_the_answer_and_has_its_tables() -> None:
    results = sample()
    text = printed(results, 2000)
    assert text.startswith(sentences(results)[0])
    for title in ("Fleet", "Tenants", "Waits by size", "Causes of waiting", "Left out, and notes"):
        assert f"\n{title}" in text


def test_square_brackets_in_names_are_text_and_not_style() -> None:
    text = printed(sample(arrivals(50, tenants=("[bold]vision[/bold]", "speech"))), 120)
    assert "[bold]vision[/bold]" in text


def test_many_tenants_are_cut_and_counted() -> None:
    text = printed(sample(arrivals(400, tenants=tuple(f"team-{place:02d}" for place in range(30)))), 120)
    assert "and 10 more" in text


def test_an_interval_is_printed_as_plus_or_minus() -> None:
    results = sample()
    metrics = [
        row | {"interval": [row["value"] - 60.0, row["value"] + 60.0]} if row["unit"] == "s" else row
        for row in results.summary["metrics"]
    ]
    text = printed(replace(results, summary=results.summary | {"metrics": metrics}), 160)
    assert "32 min ± 1 min" in text


def test_a_pool_without_a_kind_of_gpu_is_said_not_to_state_it() -> None:
    results = two_jobs_on_one_node()
    nodes = results.tables["nodes"].with_columns(pl.lit(None, dtype=pl.String).alias("gpu"))
    text = printed(replace(results, tables={**results.tables, "nodes": nodes}), 80)
    assert "not stated" in text
    assert "None" not in text


def test_rejected_jobs_are_listed_with_their_reason() -> None:
    assert "rejected: wider than any partition" in printed(rejecting(two_jobs_on_one_node()), 80)


def test_a_missed_objective_stands_out() -> None:
    results = sample()
    objective = {
        "metric": "occupancy",
        "tenant": None,
        "at_most": None,
        "at_least": 0.9,
        "value": 0.64,
        "unit": "fraction",
        "met": False,
    }
    assert "MISSED" in printed(replace(results, summary=results.summary | {"objectives": [objective]}), 120)


def test_jobs_of_the_warm_up_are_counted_as_left_out() -> None:
    assert "submitted in the warm-up of 1 d" in printed(sample(warm_up=86400.0), 120)


def test_very_many_reasons_of_rejection_are_cut_and_counted() -> None:
    results = rejecting(sample(arrivals(100)))
    reasons = pl.format("asks for {} GPUs too many", pl.int_range(pl.len()) % 25)
    jobs = results.tables["jobs"].with_columns(reasons.alias("reason"))
    text = printed(replace(results, tables={**results.tables, "jobs": jobs}), 120)
    assert "rejected for 15 other reasons" in text
