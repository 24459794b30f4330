"""What no run may break: levels in their bounds, waits and GPU time conserved, Little's law to the last
second."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import statistics
from sim.log import CAUSES, Log
from sim.results import Results
from sim.run_folder import files
from tests.unit.hand_made_runs import DONE, nodes, results, run

GPUS_PER_NODE = 4
some = settings(max_examples=40)
"""Each example is a whole run with all its tables."""


@dataclass(frozen=True)
class Played:
    """A finished run and the jobs it was made of."""

    results: Results
    jobs: dict[str, Any]
    gpus: int


def play(jobs: dict[str, Any], node_count: int) -> Log:
    """First come, first served, each on the node that is free first; jobs are of one node at most.

    A whole node is blocked by each job, however few of its GPUs it holds, so that fragments arise.
    """
    log = Log()
    free = [(0.0, node) for node in range(node_count)]
    for job, (submit_s, duration_s, gpus) in enumerate(
        zip(jobs["submit_s"], jobs["duration_s"], jobs["gpus"], strict=True)
    ):
        free_s, node = heapq.heappop(free)
        start_s = max(submit_s, free_s)
        end_s = start_s + duration_s
        log.runs.append((job, start_s, end_s, DONE, duration_s, 0.0, 0.0, ((node, gpus),), 0.0, 0.0))
        if start_s > submit_s:
            split = np.random.default_rng(job).dirichlet(np.ones(len(CAUSES))) * (start_s - submit_s)
            split[-1] = start_s - submit_s - split[:-1].sum()
            log.waits.append((job, submit_s, start_s, *split.tolist(), 0))
        log.end_s = max(log.end_s, end_s)
        heapq.heappush(free, (end_s, node))
    return log


@st.composite
def runs(draw: st.DrawFn) -> Played:
    """A queue of jobs played to its end, on one to three nodes."""
    times = st.floats(0.0, 1e5, allow_subnormal=False)
    rows = draw(
        st.lists(
            st.tuples(times, times, st.integers(1, GPUS_PER_NODE), st.sampled_from("abc")),
            min_size=1,
            max_size=25,
        )
    )
    rows.sort(key=lambda row: row[0])
    submit_s, duration_s, gpus, tenant = (list(column) for column in zip(*rows, strict=True))
    jobs = {"submit_s": submit_s, "duration_s": duration_s, "gpus": gpus, "tenant": tenant}
    count = draw(st.integers(1, 3))
    return Played(results(play(jobs, count), nodes(count), **jobs), jobs, count * GPUS_PER_NODE)


def value(played: Played, name: str, **of: str) -> float:
    found = played.results.metric(name, **of)
    return 0.0 if found is None else found


@some
@given(runs())
def test_shares_lie_between_nought_and_one(played: Played) -> None:
    for name in ("occupancy", "utilisation", "fragmentation", *(f"cause_{cause}_share" for cause in CAUSES)):
        assert -1e-12 <= value(played, name) <= 1.0 + 1e-12


@some
@given(runs())
def test_levels_of_the_timeline_never_leave_the_fleet(played: Played) -> None:
    timeline = played.results.tables["timeline"]
    assert timeline["gpus_allocated"].is_between(0, played.gpus).all()
    assert (timeline["jobs_queued"] >= 0).all()
    assert (timeline["jobs_running"] >= 0).all()
    assert timeline["time_s"].is_sorted()
    assert timeline["time_s"].is_unique().all()
    assert timeline.row(-1)[1:5] == (0, 0, 0, 0)


@some
@given(runs())
def test_the_area_under_the_queue_is_the_sum_of_all_waits(played: Played) -> None:
    """Little's law as an identity of a finished run: mean length x time = sum of waits."""
    timeline = played.results.tables["timeline"]
    end_s = timeline["time_s"][-1]
    area = statistics.integral(timeline["time_s"].to_numpy(), timeline["jobs_queued"].to_numpy(), 0.0, end_s)
    waits = played.results.tables["jobs"]["wait_s"].sum()
    assert area == pytest.approx(waits, rel=1e-9, abs=1e-6)
    assert value(played, "queue_length_mean") * end_s == pytest.approx(waits, rel=1e-9, abs=1e-6)


@some
@given(runs())
def test_causes_add_up_to_the_wait_of_each_job(played: Played) -> None:
    jobs = played.results.tables["jobs"]
    causes = jobs.select(f"wait_{cause}_s" for cause in CAUSES).sum_horizontal()
    assert causes.to_list() == pytest.approx(jobs["wait_s"].to_list(), rel=1e-9, abs=1e-9)


@some
@given(runs())
def test_gpu_seconds_are_those_of_the_jobs(played: Played) -> None:
    asked = sum(np.multiply(played.jobs["duration_s"], played.jobs["gpus"]).tolist())
    assert value(played, "goodput_gpu_h") * 3600 == pytest.approx(asked, rel=1e-9, abs=1e-6)
    assert value(played, "gpu_h") * 3600 == pytest.approx(asked, rel=1e-9, abs=1e-6)


@some
@given(runs())
def test_tenants_and_size_classes_add_up_to_all(played: Played) -> None:
    rows = played.results.summary["metrics"]
    for name in ("jobs", "jobs_done", "gpu_h"):
        by_tenant = sum(row["value"] for row in rows if row["name"] == name and row["tenant"])
        by_size = sum(row["value"] for row in rows if row["name"] == name and row["size_class"])
        assert by_tenant == pytest.approx(value(played, name), rel=1e-9)
        assert by_size == pytest.approx(value(played, name), rel=1e-9)


@some
@given(runs())
def test_percentiles_are_in_order_and_within_the_longest_wait(played: Played) -> None:
    levels = [value(played, f"wait_p{percent}_s") for percent in (50, 90, 95, 99)]
    assert levels == sorted(levels)
    assert levels[-1] <= played.results.tables["jobs"]["wait_s"].max()  # type: ignore[operator]


@some
@given(runs())
def test_every_job_has_its_row_in_order_of_submission(played: Played) -> None:
    jobs = played.results.tables["jobs"]
    assert jobs["submit_s"].to_list() == played.jobs["submit_s"]
    assert set(jobs["status"]) == {"done"}
    assert jobs["jct_s"].to_list() == pytest.approx(
        (jobs["wait_s"] + jobs["run_s"]).to_list(), rel=1e-9, abs=1e-9
    )


@some
@given(runs())
def test_a_run_is_written_with_the_same_bytes_twice(played: Played) -> None:
    assert dict(files(played.results, {})) == dict(files(played.results, {}))


@some
@given(runs(), st.floats(0.0, 1e6))
def test_a_warm_up_only_takes_away(played: Played, warm_up_s: float) -> None:
    later = results(
        play(played.jobs, played.gpus // GPUS_PER_NODE),
        nodes(played.gpus // GPUS_PER_NODE),
        played.results.scenario.model_copy(update={"warm_up": warm_up_s}),
        **played.jobs,
    )
    for name in ("jobs", "goodput_gpu_h", "gpu_h"):
        assert (later.metric(name) or 0.0) <= value(played, name) * (1 + 1e-9)


@given(
    st.lists(st.tuples(st.floats(0.001, 1e3), st.integers(-50, 50)), min_size=1, max_size=30),
    st.floats(0.0, 1.0),
)
def test_a_time_average_lies_between_the_least_and_the_largest_level(
    steps: list[tuple[float, int]], begin: float
) -> None:
    lasted, levels = (np.array(column) for column in zip(*steps, strict=True))
    times = np.concatenate([[0.0], np.cumsum(lasted)])
    mean = statistics.time_average(times[:-1], levels, until_s=times[-1], from_s=begin * times[-2])
    assert levels.min() - 1e-9 <= mean <= levels.max() + 1e-9


@given(st.lists(st.floats(0.0, 1e12), min_size=1, max_size=50))
def test_jains_index_lies_between_one_share_and_one(shares: list[float]) -> None:
    assert 1 / len(shares) - 1e-12 <= statistics.jain_index(shares) <= 1 + 1e-12


def test_the_player_of_this_file_makes_waits_and_fragments() -> None:
    jobs = {"submit_s": [0.0, 1.0], "duration_s": [10.0, 10.0], "gpus": [1, 4]}
    log = play(jobs, 1)
    assert log.runs[1] == run(1, 10.0, 20.0, ((0, 4),))
    assert results(log, nodes(1), **jobs).metric("fragmentation") == 1.0
