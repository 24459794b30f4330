"""Every metric of two small runs, each number worked out by hand; the runs are told in hand_made_runs."""

import numpy as np
import pytest

from sim import metrics
from sim.log import Log
from tests.unit.hand_made_runs import (
    TIMED_OUT,
    eventful,
    nodes,
    plain,
    results,
    run,
    wait,
)

PLAIN = {
    "jobs": 3.0,
    "jobs_done": 3.0,
    "wait_mean_s": (0 + 90 + 80) / 3,
    "wait_p50_s": 80.0,
    "wait_p90_s": 88.0,  # sorted 0, 80, 90: rank 0.9 x 2 = 1.8, so 80 + 0.8 x 10
    "wait_p95_s": 89.0,
    "wait_p99_s": 89.8,
    "jct_mean_s": (100 + 140 + 110) / 3,
    "jct_p50_s": 110.0,
    "slowdown_mean": (1 + 140 / 50 + 110 / 30) / 3,
    "occupancy": (800 + 200 + 60) / (8 * 150),
    "utilisation": (800 + 200 + 60) / (8 * 150),
    "fragmentation": 60 / (1200 - 1060),  # two GPUs beside the third job, for 30 s
    "queue_length_mean": (90 + 80) / 150,
    "gpus_queued_mean": (90 * 4 + 80 * 2) / 150,
    "jobs_running_mean": (100 + 50 + 30) / 150,
    "goodput_gpu_h": 1060 / 3600,
    "gpu_h": 1060 / 3600,
    "makespan_s": 150.0,
    "offered_load": 1060 / (8 * 20),
    "cause_capacity_share": (90 + 30) / 170,
    "cause_fragmentation_share": 50 / 170,
    "cause_quota_share": 0.0,
}

EVENTFUL = {
    "jobs": 6.0,
    "jobs_done": 3.0,
    "jobs_censored": 2.0,
    "jobs_rejected": 1.0,
    "jobs_timed_out": 0.0,
    "preemptions": 1.0,
    "wait_mean_s": (20 + 0 + 85 + 140 + 0) / 5,  # the rejected job does not count
    "jct_mean_s": (135 + 20 + 0) / 3,
    "slowdown_mean": (1.35 + 1) / 2,  # the job of no duration has none
    "bounded_slowdown_mean": (1.35 + 1 + 1) / 3,
    "occupancy": (160 + 80 + 300 + 520) / 1600,
    "utilisation": (120 + 80 + 280 + 520) / 1600,
    "goodput_gpu_h": 1000 / 3600,
    "lost_preemption_gpu_h": 40 / 3600,
    "lost_time_limit_gpu_h": 0.0,
    "restart_gpu_h": 20 / 3600,
    "fragmentation": 0.0,  # one node idle, the other full
    "queue_length_mean": (20 + 85 + 140) / 200,
    "makespan_s": 135.0,
    "offered_load": (400 + 80 + 4000 + 20) / (8 * 80),
    "cause_capacity_share": (85 + 65) / 245,
    "cause_order_share": 75 / 245,
    "cause_preemption_share": 20 / 245,
    "moved_reservations": 1.0,
}


@pytest.mark.parametrize(("name", "value"), PLAIN.items(), ids=PLAIN)
def test_a_metric_of_the_plain_run_is_as_worked_out(name: str, value: float) -> None:
    assert plain().metric(name) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("name", "value"), EVENTFUL.items(), ids=EVENTFUL)
def test_a_metric_of_the_eventful_run_is_as_worked_out(name: str, value: float) -> None:
    assert eventful().metric(name) == pytest.approx(value, rel=1e-12)


def test_time_averages_and_gpu_hours_begin_when_the_warm_up_ends() -> None:
    """From 50 s: 4 GPUs to 135 s, then 8 to 200 s; `long` loads from 60 to 65 s; its loss before 50 s is
    forgotten."""
    found = eventful(warm_up="50 s")
    assert found.metric("occupancy") == pytest.approx((4 * 85 + 8 * 65) / (8 * 150))
    assert found.metric("utilisation") == pytest.approx((4 * 80 + 8 * 65) / (8 * 150))
    assert found.metric("restart_gpu_h") == pytest.approx(20 / 3600)
    assert found.metric("lost_preemption_gpu_h") == 0.0
    assert found.metric("queue_length_mean") == pytest.approx((10 + 85 + 140) / 150)


def test_a_loss_counts_when_it_was_worked_for() -> None:
    """Of the 10 s that `long` lost at 40 s, those from 35 s on lie in the window."""
    assert eventful(warm_up="35 s").metric("lost_preemption_gpu_h") == pytest.approx(20 / 3600)


def test_jobs_submitted_before_the_end_of_the_warm_up_do_not_count() -> None:
    found = eventful(warm_up="50 s")
    assert found.metric("jobs") == 4.0
    assert found.metric("wait_mean_s") == pytest.approx((85 + 140 + 0) / 3)
    assert found.metric("jct_mean_s") == 0.0
    assert found.metric("preemptions") == 0.0


def test_promised_starts_that_moved_in_the_warm_up_do_not_count() -> None:
    assert eventful(warm_up="95 s").metric("moved_reservations") == 0.0


def test_a_run_that_ends_in_the_warm_up_has_no_time_averages() -> None:
    found = plain(warm_up="1 h")
    assert [found.metric(name) for name in ("occupancy", "fragmentation", "queue_length_mean")] == [None] * 3
    assert found.metric("jobs") == 0.0
    assert found.metric("wait_p95_s") is None


def test_metrics_are_told_by_tenant() -> None:
    found = eventful()
    assert found.metric("wait_mean_s", tenant="ann") == pytest.approx((20 + 140 + 0) / 3)
    assert found.metric("wait_mean_s", tenant="bob") == pytest.approx(85 / 2)
    assert found.metric("wait_mean_s", tenant="cid") is None
    assert found.metric("jobs_rejected", tenant="cid") == 1.0
    assert found.metric("gpu_h", tenant="ann") == pytest.approx(460 / 3600)
    assert found.metric("cause_capacity_share", tenant="bob") == 1.0


def test_metrics_are_told_by_size_class_from_small_to_large() -> None:
    found = eventful()
    sizes = [row["size_class"] for row in found.summary["metrics"] if row["name"] == "jobs"]
    assert sizes == [None, None, None, None, "1 GPU", "2-4 GPUs", "5-8 GPUs", "17-64 GPUs"]
    assert found.metric("wait_mean_s", size_class="2-4 GPUs") == pytest.approx((20 + 0 + 140) / 3)


@pytest.mark.parametrize(
    ("gpus", "name"),
    [(1, "1 GPU"), (2, "2-4 GPUs"), (4, "2-4 GPUs"), (5, "5-8 GPUs"), (8, "5-8 GPUs"), (9, "9-16 GPUs"),
     (16, "9-16 GPUs"), (17, "17-64 GPUs"), (64, "17-64 GPUs"), (65, "65-512 GPUs"), (512, "65-512 GPUs"),
     (513, "513+ GPUs"), (100_000, "513+ GPUs")],
)  # fmt: skip
def test_a_size_has_its_class(gpus: int, name: str) -> None:
    assert list(metrics.SIZE_CLASSES)[metrics.size_class(np.array([gpus]))[0]] == name


def test_every_metric_has_a_unit_and_every_unit_a_metric() -> None:
    names = {row["name"]: row["unit"] for row in plain().summary["metrics"]}
    of_failures = {
        "failures", "interruptions", "lost_failure_gpu_h", "checkpoint_gpu_h", "stalled_gpu_h", "down_gpu_h",
        "availability", "effective_time", "contention_gpu_h", "power_mean_kw", "power_p99_kw",
        "power_peak_kw", "rack_p99_kw", "rack_peak_kw",
        "energy_mwh", "carbon_t", "gpu_cost", "energy_cost", "cost_per_useful_gpu_h", "cost",
    }  # fmt: skip
    assert names == {name: unit for name, unit in metrics.UNITS.items() if name not in of_failures}
    assert of_failures < set(
        metrics.UNITS
    )  # they are there where something fails: tests/unit/test_outages.py


def test_a_bounded_slowdown_takes_short_jobs_for_ten_seconds() -> None:
    flow_s, duration_s = np.array([61.0, 5.0, 0.0, 200.0]), np.array([1.0, 1.0, 0.0, 100.0])
    assert metrics.bounded_slowdown(flow_s, duration_s).tolist() == [6.1, 1.0, 1.0, 2.0]


def test_finish_time_fairness_compares_with_an_equal_share_of_the_fleet() -> None:
    """Job 0: alone on 0-10 s, with one other on 10-20 s, two on 20-100 s: 2.7 jobs, so 8 GPUs wait for 8 /
    2.7."""
    found = plain()
    sharers = (10 + 2 * 10 + 3 * 80) / 100
    first = 100 / (100 * max(1.0, 8 * sharers / 8))
    sharers = (2 * 10 + 3 * 80 + 2 * 30 + 20) / 140
    second = 140 / (50 * max(1.0, 4 * sharers / 8))
    sharers = (3 * 80 + 2 * 30) / 110
    third = 110 / (30 * max(1.0, 2 * sharers / 8))
    assert found.metric("finish_time_fairness_max") == pytest.approx(max(first, second, third), rel=1e-12)
    assert found.metric("finish_time_fairness_mean") == pytest.approx((first + second + third) / 3, rel=1e-12)
    assert found.metric("finish_time_fairness_max", tenant="bob") == pytest.approx(second, rel=1e-12)


def test_tenants_whose_jobs_are_stretched_alike_are_treated_fairly() -> None:
    """Ann's jobs are stretched by 1 and 110/30, Bob's by 140/50: means 2.333 and 2.8."""
    ann, bob = (1 + 110 / 30) / 2, 140 / 50
    index = (ann + bob) ** 2 / (2 * (ann**2 + bob**2))
    assert plain().metric("jain_fairness") == pytest.approx(index, rel=1e-12)


def test_an_unfinished_job_counts_for_fairness_with_its_time_so_far() -> None:
    """Ann: 1.35, 140/10 and 1; Bob: 1 and at least 1. Cid's only job was rejected, so Cid does not
    compare."""
    ann, bob = (1.35 + 14 + 1) / 3, 1.0
    index = (ann + bob) ** 2 / (2 * (ann**2 + bob**2))
    assert eventful().metric("jain_fairness") == pytest.approx(index, rel=1e-12)


def test_gpu_time_is_compared_per_unit_of_weight() -> None:
    """Ann held 860 GPU-seconds, Bob 200: fair if Ann weighs 4.3 times as much."""
    tenants = [{"name": "ann", "weight": 4.3}, {"name": "bob"}]
    assert plain(tenants=tenants).metric("jain_gpu_time") == pytest.approx(1.0, rel=1e-12)
    assert plain().metric("jain_gpu_time") == pytest.approx(1060**2 / (2 * (860**2 + 200**2)), rel=1e-12)


def test_all_the_work_of_a_job_killed_at_its_limit_is_lost() -> None:
    """Preempted at 40 s with 30 s of work saved, loaded for 5 s, killed at 100 s: 110 s x 4 GPUs, 20 of it
    loading.

    The 10 s that the preemption lost and the 30 s that it saved came to nothing in the end too.
    """
    log = Log(
        runs=[
            run(0, 0.0, 40.0, ((0, 4),), outcome=1, lost_s=10.0),
            (0, 40.0, 100.0, TIMED_OUT, 0.0, 55.0, 5.0, ((0, 4),), 0.0, 0.0),
        ],
        end_s=100.0,
    )
    found = results(log, submit_s=[0.0], duration_s=[500.0], gpus=[4])
    assert found.metric("goodput_gpu_h") == 0.0
    assert found.metric("lost_time_limit_gpu_h") == pytest.approx(4 * 95 / 3600)
    assert found.metric("lost_preemption_gpu_h") == 0.0
    assert found.metric("restart_gpu_h") == pytest.approx(20 / 3600)
    assert found.metric("jobs_timed_out") == 1.0
    assert found.metric("jct_mean_s") is None


def test_a_load_that_comes_all_at_once_has_no_rate() -> None:
    log = Log(runs=[run(0, 0.0, 10.0, ((0, 1),)), run(1, 0.0, 10.0, ((0, 1),))], end_s=10.0)
    assert (
        results(log, submit_s=[0.0, 0.0], duration_s=[10.0, 10.0], gpus=[1, 1]).metric("offered_load") is None
    )


def test_a_full_fleet_is_not_fragmented() -> None:
    log = Log(runs=[run(0, 0.0, 10.0, ((0, 4), (1, 4)))], end_s=10.0)
    found = results(log, submit_s=[0.0], duration_s=[10.0], gpus=[8])
    assert found.metric("fragmentation") == 0.0
    assert found.metric("occupancy") == 1.0


def test_gpus_free_on_partly_held_nodes_are_fragments() -> None:
    """One GPU held on each of two nodes for 10 s of 20: 6 GPUs x 10 s of the 140 idle GPU-seconds."""
    log = Log(runs=[run(0, 5.0, 15.0, ((0, 1), (1, 1)))], waits=[wait(0, 0.0, 5.0)], end_s=20.0)
    found = results(log, submit_s=[0.0], duration_s=[10.0], gpus=[2])
    assert found.metric("fragmentation") == pytest.approx(60 / 140)


@pytest.mark.parametrize("duration_s", [1e-79, 5e-324])
def test_a_job_that_takes_no_time_worth_the_name_has_no_slowdown(duration_s: float) -> None:
    """After a wait of 1 s: the ratio would be larger than any number."""
    log = Log(
        runs=[run(0, 0.0, 1.0, ((0, 1),)), (1, 1.0, 1.0, 0, duration_s, 0.0, 0.0, ((0, 1),), 0.0, 0.0)],
        waits=[wait(1, 0.0, 1.0)],
        end_s=1.0,
    )
    found = results(log, submit_s=[0.0, 0.0], duration_s=[1.0, duration_s], gpus=[1, 1])
    assert found.metric("slowdown_mean") == 1.0
    assert found.metric("finish_time_fairness_max") == 1.0
    assert found.metric("jct_mean_s") == 1.0


def test_a_run_without_a_job_has_counts_of_nothing() -> None:
    found = results(Log(end_s=10.0), submit_s=[], duration_s=[], gpus=[])
    assert found.metric("jobs") == 0.0
    assert found.metric("occupancy") == 0.0
    assert found.metric("makespan_s") is None
    assert found.metric("cause_capacity_share") == 0.0


def test_a_node_that_held_too_much_is_our_bug() -> None:
    log = Log(runs=[run(0, 0.0, 10.0, ((1, 3),)), run(1, 5.0, 15.0, ((1, 3),))], end_s=15.0)
    with pytest.raises(AssertionError, match="node 1 held more GPUs than it has"):
        results(log, submit_s=[0.0, 5.0], duration_s=[10.0, 10.0], gpus=[3, 3])


def test_gpus_that_change_hands_at_one_moment_are_held_once() -> None:
    log = Log(runs=[run(0, 0.0, 10.0, ((1, 3),)), run(1, 10.0, 15.0, ((1, 3),))], end_s=15.0)
    found = results(log, nodes(), submit_s=[0.0, 10.0], duration_s=[10.0, 5.0], gpus=[3, 3])
    assert found.metric("occupancy") == pytest.approx(45 / 120)
