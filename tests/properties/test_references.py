"""Job by job the simulator equals schedulers written a second time, on many small workloads with ties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import references
from tests.support.playing import jobs, nodes, play, stays
from tests.support.references import Case

GPUS = 8
Rows = list[tuple[float, float, int]]
many = settings(max_examples=120)


def rows(shortest_s: int = 1) -> st.SearchStrategy[Rows]:
    """Up to thirty jobs of whole seconds, so close together that most of them tie or wait."""
    job = st.tuples(
        st.integers(0, 40).map(float),
        st.integers(shortest_s, 20).map(float),
        st.sampled_from((1, 1, 1, 2, 2, 3, 4, 5, 8)),
    )
    return st.lists(job, min_size=1, max_size=30).map(lambda found: sorted(found, key=lambda row: row[0]))


def simulated(rows: Rows, pools: tuple[dict[str, Any], ...] = (nodes(1, GPUS),), **told: Any) -> list[Any]:
    """First start, last end and preemptions of each job."""
    columns = {"priority": told.pop("priority")} if "priority" in told else {}
    log = play(jobs(*rows, **columns), *pools, **told)
    found = []
    for job in range(len(rows)):
        held = stays(log, job)
        found.append((held[0][0], held[-1][1], len(held) - 1))
    return found


def results(cases: list[Case]) -> list[tuple[float, float, int]]:
    return [case.result() for case in cases]


@pytest.mark.parametrize("blocking", ["strict", "greedy"])
@pytest.mark.parametrize("order", ["fifo", "sjf"])
@many
@given(rows=rows())
def test_orders_without_preemption_equal_a_second_implementation(
    order: str, blocking: str, rows: Rows
) -> None:
    cases = references.cases(rows)
    key = {"fifo": lambda _: 0.0, "sjf": lambda job: job.duration_s}[order]
    references.in_order(cases, GPUS, key, greedy=blocking == "greedy")
    assert simulated(rows, order=order, blocking=blocking) == results(cases)


@pytest.mark.parametrize(
    ("pools", "placement"),
    [((nodes(1, GPUS),), "consolidate"), ((nodes(1, GPUS),), "scatter"), ((nodes(4, 2),), "scatter")],
)
@pytest.mark.parametrize("order", ["srtf", "srsf"])
@many
@given(rows=rows())
@example(rows=[(0, 1, 3), (1, 18, 3), (4, 9, 1), (4, 18, 1), (5, 9, 1), (5, 9, 3), (5, 3, 4)])
def test_the_least_left_first_equals_sorting_all_jobs_at_each_event(
    order: str, pools: tuple[dict[str, Any], ...], placement: str, rows: Rows
) -> None:
    cases = references.cases(rows)
    rank = {"srtf": lambda job: (job.left_s,), "srsf": lambda job: (job.left_s * job.gpus,)}[order]
    references.by_rank(cases, GPUS, rank, greedy=True)
    assert simulated(rows, pools, order=order, placement=placement) == results(cases)


@many
@given(rows=rows(), seed=st.randoms(use_true_random=False))
def test_priority_with_free_preemption_equals_sorting_all_jobs_at_each_event(rows: Rows, seed: Any) -> None:
    priorities = [seed.randint(0, 3) for _ in rows]
    cases = references.cases(rows, priorities)
    references.by_rank(cases, GPUS, lambda job: (-job.priority, not job.runs), greedy=True)
    assert simulated(rows, order="priority", preemption={}, priority=priorities) == results(cases)


@pytest.mark.parametrize(
    ("step_s", "thresholds"),
    [(1.0, (16.0, 48.0)), (1.0, (8.0, 24.0)), (0.5, (8.0, 24.0)), (0.25, (3.0, 7.0))],
)
@many
@given(rows=rows())
@example(rows=[(7, 9, 2), (7, 15, 2), (11, 16, 1), (13, 3, 4)])
@example(rows=[(0, 4, 2), (0, 9, 2), (0, 20, 1), (1, 10, 2), (1, 13, 2), (1, 20, 4), (6, 17, 2)])
def test_las_equals_lists_of_levels_with_exact_sinking(
    step_s: float, thresholds: tuple[float, ...], rows: Rows
) -> None:
    rows = [(step_s * at, step_s * lasts, {3: 2, 5: 4}.get(gpus, gpus)) for at, lasts, gpus in rows]
    cases = references.cases(rows)
    references.las(cases, GPUS, thresholds)
    assert simulated(rows, order={"kind": "las", "thresholds": thresholds}) == results(cases)


@pytest.mark.parametrize("pools", [(nodes(1, GPUS),), (nodes(4, 2),)], ids=["one node", "scattered"])
@pytest.mark.parametrize("order", ["fifo", "sjf"])
@many
@given(rows=rows())
def test_easy_equals_releasing_the_ends_one_by_one(
    order: str, pools: tuple[dict[str, Any], ...], rows: Rows
) -> None:
    cases = references.cases(rows)
    key = {"fifo": lambda _: 0.0, "sjf": lambda job: job.duration_s}[order]
    promised = references.easy(cases, GPUS, key)
    assert simulated(rows, pools, order=order, blocking="easy", placement="scatter") == results(cases)
    assert all(cases[row].start_s <= start_s for row, start_s in promised.items())


@many
@given(rows=rows())
def test_conservative_equals_planning_each_job_as_it_comes(rows: Rows) -> None:
    cases = references.cases(rows)
    references.conservative(cases, GPUS)
    assert simulated(rows, blocking="conservative") == results(cases)
