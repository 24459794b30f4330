"""The check of a log: loads with known answers, and each kind of finding."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import arrivals, trace_check, traces
from sim.trace_check import DAY_S, Finding, TraceCheck

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "traces"


def log(start_s: object = None, end_s: object = None, **columns: object) -> traces.TraceRead:
    """A log as a reader returns it; submissions are given in order."""
    jobs = arrivals.table(**({"duration_s": 1.0, "gpus": 1} | columns))  # type: ignore[arg-type]
    lines = pl.int_range(2, jobs.height + 2, eager=True).alias("line")
    recorded = pl.DataFrame(
        {
            "line": lines,
            "start_s": pl.Series([start_s] * jobs.height, dtype=pl.Float64),
            "end_s": pl.Series([end_s] * jobs.height, dtype=pl.Float64),
            "status": pl.Series([None] * jobs.height, dtype=pl.String),
        }
    )
    return traces.TraceRead("log.csv", "csv", jobs, recorded, jobs.height + 1, {"blank row": 1}, "", (), ())


def found(check: TraceCheck, name: str) -> Finding:
    return next(finding for finding in check.findings if finding.name == name)


def names(check: TraceCheck) -> list[str]:
    return [finding.name for finding in check.findings]


def test_offered_load_is_work_over_capacity() -> None:
    """100 + 300 GPU-seconds arrive in 100 s at 8 GPUs: half of what they can do."""
    check = trace_check.check(log(submit_s=[0, 100], duration_s=[25, 75], gpus=4), {None: 8})
    assert check.span_s == 100
    assert check.gpu_s == 400
    assert check.offered_load == pytest.approx(0.5)


def test_arriving_work_is_booked_at_submission_and_demand_is_spread() -> None:
    """One GPU for 150 s from 50 s on: 50 s of it in the first bucket of 100 s, 100 s in the second."""
    check = trace_check.check(log(submit_s=[0, 50, 200], duration_s=[0, 150, 0]), {None: 1}, bucket_s=100)
    fleet = check.load.filter(pl.col("scope") == "fleet")
    assert fleet["arriving_load"].to_list() == [1.5, 0.0]
    assert fleet["demand_load"].to_list() == [0.5, 1.0]


def test_an_overload_is_a_warning_for_the_fleet_its_kinds_and_its_virtual_clusters() -> None:
    read = log(
        submit_s=[0, 10, 10], duration_s=10, gpus=2, tenant=["a", "a", "b"], gpu_kind=["h100", "h100", None]
    )
    check = trace_check.check(read, {"h100": 2, "a100": 3}, partitions={"a": 2, "b": 3})
    overloads = [finding for finding in check.findings if finding.name == "offered load above 1"]
    assert [finding.explanation.split(" is offered")[0] for finding in overloads] == [
        "the fleet",
        "GPU kind h100",
        "virtual cluster a",
    ]
    assert check.findings[0].severity == "warning"
    assert overloads[1].explanation.startswith("GPU kind h100 is offered 200 % of its 2 GPUs")


def test_a_day_of_overload_in_a_quiet_log_is_a_note() -> None:
    check = trace_check.check(log(submit_s=[0, 9 * DAY_S], duration_s=[2 * DAY_S, 1]), {None: 1})
    overload = found(check, "offered load above 1 for a time")
    assert overload.severity == "note"
    assert overload.time_share == pytest.approx(1 / 9)


def test_without_a_fleet_there_is_no_load_but_everything_else() -> None:
    check = trace_check.check(log(submit_s=[0, 10], gpus=9))
    assert check.offered_load is None
    assert check.totals["arriving_load"].null_count() == check.totals.height
    assert check.totals["widest_gpus"].to_list() == [9, 9]
    assert "That is the work of 1.8 GPUs busy all the time." in check.sentences()


def test_jobs_that_can_never_start_are_found() -> None:
    read = log(
        submit_s=[0, 1, 2, 3, 4],
        gpus=[1, 9, 5, 3, 1],
        tenant=["b", "b", "a", "b", "c"],
        gpu_kind=[None, None, None, "h100", "k80"],
    )
    check = trace_check.check(read, {"h100": 2, "a100": 6}, partitions={"a": 4, "b": 100})
    assert found(check, "wider than the fleet").lines == (3,)
    assert found(check, "wider than their virtual cluster").lines == (4,)
    assert found(check, "wider than their GPU kind").lines == (5,)
    assert found(check, "GPU kind not in the fleet").lines == (6,)
    assert found(check, "tenant without a virtual cluster").lines == (6,)


def test_shares_are_of_the_jobs_and_of_their_gpu_time() -> None:
    check = trace_check.check(
        log(submit_s=[0, 1, 2, 3], duration_s=[10, 10, 10, 70], gpus=[1, 1, 1, 1], estimate_s=60)
    )
    finding = found(check, "longer than their limit")
    assert (finding.count, finding.jobs_share, finding.gpu_time_share, finding.lines) == (1, 0.25, 0.7, (5,))


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"start_s": 10, "end_s": 5}, "end before start"),
        ({"start_s": -5, "end_s": 5}, "start before submission"),
        ({"start_s": 0, "end_s": 5, "duration_s": 50}, "longer than from start to end"),
        ({"nodes": 3, "gpus": 2}, "more nodes than GPUs"),
        ({"nodes": 1, "gpus": 9}, "too few nodes for their GPUs"),
    ],
)
def test_a_contradiction_is_a_warning(columns: dict[str, object], name: str) -> None:
    check = trace_check.check(log(submit_s=[0.0], **columns), {None: 99}, gpus_per_node=8)
    assert found(check, name).severity == "warning"
    assert any(sentence.lower().startswith(name.lower()) for sentence in check.sentences())


def test_a_log_that_is_in_order_has_no_finding_and_says_so() -> None:
    read = log(submit_s=[0, 61, 130], duration_s=[5, 6, 7], start_s=200, end_s=210, nodes=1)
    check = trace_check.check(read, {None: 8}, gpus_per_node=8)
    assert check.findings == ()
    assert check.sentences()[-1] == "Nothing in the log contradicts itself."


def test_repeats_zero_durations_and_fractions_are_found() -> None:
    read = log(
        job_id=["7", "7#2", "8", "9"],
        submit_s=[0, 1, 2, 2],
        duration_s=[5, 6, 0, 0],
        gpu_fraction=[0.5, 1, 1, 1],
    )
    check = trace_check.check(read)
    assert found(check, "repeated id").count == 1
    assert found(check, "identical jobs").count == 1
    assert found(check, "zero duration").count == 2
    assert found(check, "zero duration").gpu_time_share == 0
    assert found(check, "part of a GPU").count == 1


def test_gaps_are_counted_with_their_share_of_the_time() -> None:
    check = trace_check.check(log(submit_s=[0, 3 * DAY_S + 1, 4 * DAY_S + 1], duration_s=[1, 2, 3]))
    gaps = found(check, "gaps")
    assert gaps.count == 2
    assert gaps.time_share == 1.0
    assert "the longest gap lasts 3 d" in gaps.explanation


@pytest.mark.parametrize(
    ("submissions", "name"),
    [
        ([0.0] * 100 + [7.0], "many jobs at one instant"),
        ([0.0, 60.0, 180.0], "coarse clock"),
        ([0.0, 3600.0, 7200.0], "coarse clock"),
        ([0.0, 1.7e9], "implausibly long span"),
    ],
)
def test_strange_clocks_are_found(submissions: list[float], name: str) -> None:
    assert name in names(trace_check.check(log(submit_s=submissions)))


def test_a_log_of_one_instant_has_no_load_over_time() -> None:
    check = trace_check.check(log(submit_s=[5.0], duration_s=0.0), {None: 8})
    assert check.span_s == 0
    assert check.offered_load is None
    assert len(check.sentences()) == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 300), st.integers(1, 16)), min_size=2, max_size=30
    ),
    st.sampled_from([7.0, 50.0, 1000.0]),
)
def test_the_buckets_add_up_to_the_whole(rows: list[tuple[int, int, int]], bucket_s: float) -> None:
    submit, duration, gpus = zip(*rows, strict=True)
    check = trace_check.check(
        log(submit_s=submit, duration_s=duration, gpus=gpus), {None: 8}, bucket_s=bucket_s
    )
    fleet = check.load.filter(pl.col("scope") == "fleet")
    last = max(submit)
    served = sum(g * min(d, last - s) for s, d, g in rows)
    assert fleet["arriving_gpu_s"].sum() == pytest.approx(check.gpu_s)
    assert fleet["demand_gpu_s"].sum() == pytest.approx(served, abs=1e-6)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public traces are not beside the checkout")
def test_philly_is_offered_13_per_cent_of_352_nodes() -> None:
    read = traces.read(SHARED / "philly" / "philly_jobs.csv.gz")
    clusters = pl.read_csv(SHARED / "philly" / "philly_vc_nodes.csv")
    walls = {name: nodes * 8 for name, nodes in clusters.iter_rows()}
    check = trace_check.check(read, {None: 2816}, partitions=walls, gpus_per_node=8)
    assert check.offered_load == pytest.approx(978_078.47 * 3600 / (2816 * check.span_s), rel=1e-6)
    assert check.offered_load == pytest.approx(0.133, abs=0.001)
    assert check.sentences()[0].startswith("82,247 GPU jobs in 108 d 22 h ask for 978,078 GPU h")
    assert found(check, "gaps").count == 5
    assert found(check, "tenant without a virtual cluster").count == 18
    assert all(finding.severity == "note" for finding in check.findings)
